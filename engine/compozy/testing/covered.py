"""Rule coverage of a pytest session: which rows decided in its tests, over all of its processes."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from compozy.cli.rulecover import cover_text, measured
from compozy.errors import CompozyError
from compozy.resolution.configuration import packs_in_force
from compozy.rulebook.recording import write_recording
from compozy.settings.sources import COVERAGE_VARIABLE, make_inputs


class RuleCover:
    """Records while the session runs, then reports, and fails a run below the threshold.

    Processes that tests start, xdist's among them, find the file in their environment and merge into it.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._minimum: float | None = config.getoption("--compozy-cover-min")
        self._reports = not hasattr(config, "workerinput")
        self._text = ""
        if self._reports:
            self._record()

    def _record(self) -> None:
        given = self._config.getoption("--compozy-cover-file") or os.environ.get(COVERAGE_VARIABLE)
        if not given:
            folder = TemporaryDirectory(prefix="compozy-cover-")
            self._config.add_cleanup(folder.cleanup)
            given = str(Path(folder.name) / "rows.json")
        if not os.path.isdir(os.path.dirname(os.path.abspath(given))):
            raise pytest.UsageError(f"--compozy-cover-file: the directory of {given} does not exist")
        environment = pytest.MonkeyPatch()
        self._config.add_cleanup(environment.undo)
        environment.setenv(COVERAGE_VARIABLE, os.path.abspath(given))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write what this process recorded; the last process of the session also judges."""
        if not self._judged() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _judged(self) -> bool:
        """Prepare the report; return False below the threshold, and where nothing can be written or measured."""
        file = os.environ[COVERAGE_VARIABLE]
        try:
            write_recording()
            if not self._reports:
                return True
            packs = packs_in_force(
                make_inputs(os.environ, directory=str(self._config.rootpath)),
                self._config.getoption("--compozy-cover-rules") or (),
            )
            data = [file] if os.path.exists(file) else []
            coverage = measured(packs, data, examples=False, shipped=not packs)
        except CompozyError as error:
            self._text = str(error)
            return False
        self._text = cover_text(coverage, self._minimum)
        return self._minimum is None or coverage.percent >= self._minimum

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the report."""
        if self._text:
            terminalreporter.section("rule coverage")
            terminalreporter.line(self._text)
