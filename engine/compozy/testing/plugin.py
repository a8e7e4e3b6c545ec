"""Fixtures for projects that run on Compozy: what a mode provides, fresh for each test.

pytest loads the plugin in every session of the environment, so nothing is imported before a fixture or option is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from compozy.provisioning.provision import Runtime
    from compozy.testing.databases import Databases
    from compozy.testing.skipped_time import SkippedTimeWorkflows
    from compozy.testing.testbed import Testbed
    from compozy.testing.time_skipping import TimeSkipping

VARIABLE = "COMPOZY_TEST_MODE"
_MARKER = "compozy(mode=None, settings=None): the mode of the test, and settings by their path"


def percentage(text: str) -> float:
    """Return a percentage of the command line.

    Raises:
        ValueError: it is not a number from 0 to 100; NaN is none.
    """
    value = float(text)
    if not 0 <= value <= 100:
        raise ValueError(text)
    return value


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of rule coverage."""
    group = parser.getgroup("compozy", "rules of Compozy")
    group.addoption("--compozy-cover", action="store_true", help="Report which rows of the rules decided in this run.")
    group.addoption(
        "--compozy-cover-min", type=percentage, metavar="PERCENT",
        help="Fail the run when fewer rows decided; implies --compozy-cover. Default: no threshold.",
    )  # fmt: skip
    group.addoption(
        "--compozy-cover-file", metavar="FILE",
        help="Merge the recording into FILE, and report on all of it. Default: a temporary file.",
    )  # fmt: skip
    group.addoption(
        "--compozy-cover-rules", metavar="DIR", action="append",
        help="Directory of a rule pack, beside those of the project; may be repeated.",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and record where rule coverage is asked for."""
    config.addinivalue_line("markers", _MARKER)
    if config.getoption("--compozy-cover") or config.getoption("--compozy-cover-min") is not None:
        from compozy.testing.covered import RuleCover

        config.pluginmanager.register(RuleCover(config), "compozy-cover")


@pytest.fixture(scope="session")
def compozy_testbed() -> Iterator[Testbed]:
    """The testbed that the session shares; servers start at their first use."""
    from compozy.testing.testbed import Testbed

    with Testbed() as testbed:
        yield testbed


@pytest.fixture(scope="session")
def compozy_postgres(compozy_testbed: Testbed) -> Databases:
    """A real PostgreSQL server; `with compozy_postgres.database() as url` gives an empty database."""
    return compozy_testbed.databases


@pytest.fixture
def compozy_mode(request: pytest.FixtureRequest) -> str:
    """The mode of the test: its parameter, its marker, `COMPOZY_TEST_MODE`, or `memory`."""
    chosen = getattr(request, "param", None) or _marked(request, "mode", 0)
    return str(chosen or os.environ.get(VARIABLE) or "memory")


@pytest.fixture
def compozy_settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of the test, by their path, from its marker."""
    return dict(_marked(request, "settings", 1) or {})


@pytest.fixture
def compozy_runtime(
    compozy_testbed: Testbed,
    compozy_mode: str,
    compozy_settings: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Runtime]:
    """A provisioned runtime in the mode of the test, in a directory of its own."""
    directory = str(tmp_path_factory.mktemp("compozy"))
    with ExitStack() as stack:
        with _errors_as_failures():
            runtime = stack.enter_context(compozy_testbed.runtime(compozy_mode, directory, compozy_settings))
        yield runtime


@pytest.fixture
def database_for_mode(
    compozy_testbed: Testbed, compozy_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Any]]:
    """A function that opens the fresh, migrated peewee database of a mode; closed after the test."""
    with ExitStack() as stack:

        def open_database(mode: str) -> Any:
            directory = str(tmp_path_factory.mktemp("compozy"))
            return stack.enter_context(compozy_testbed.database(mode, directory, compozy_settings))

        yield open_database


@pytest.fixture
def compozy_database(database_for_mode: Callable[[str], Any], compozy_mode: str) -> Any:
    """The fresh, migrated peewee database of the mode of the test."""
    with _errors_as_failures():
        return database_for_mode(compozy_mode)


@pytest.fixture
def temporal_time_skipping(compozy_testbed: Testbed) -> Iterator[TimeSkipping]:
    """A Temporal whose clock jumps to the next timer: `client`, `environment` and `call(coroutine)`."""
    with compozy_testbed.time_skipping.environment() as skipping:
        yield skipping


@pytest.fixture
def compozy_workflows(
    compozy_testbed: Testbed,
    compozy_mode: str,
    compozy_settings: dict[str, Any],
    temporal_time_skipping: TimeSkipping,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SkippedTimeWorkflows]:
    """The workflows of the project below pytest's root directory; timers take no time."""
    directory, project = str(tmp_path_factory.mktemp("compozy")), str(request.config.rootpath)
    with ExitStack() as stack:
        with _errors_as_failures():
            opened = compozy_testbed.workflows(
                temporal_time_skipping, compozy_mode, directory, compozy_settings, project=project
            )
            workflows = stack.enter_context(opened)
        yield workflows


@contextmanager
def _errors_as_failures() -> Iterator[None]:
    """Fail the test with the text of an error, without its traceback."""
    from compozy.errors import CompozyError

    try:
        yield
    except CompozyError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _marked(request: pytest.FixtureRequest, name: str, position: int) -> Any:
    """Return an argument of the closest marker `compozy`."""
    for marker in request.node.iter_markers("compozy"):
        if name in marker.kwargs:
            return marker.kwargs[name]
        if len(marker.args) > position:
            return marker.args[position]
    return None
