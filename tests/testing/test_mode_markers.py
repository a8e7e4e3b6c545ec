"""The marker of a test follows from its fixtures and parameters."""

from __future__ import annotations

import pytest
from tests.conftest import MODES, needed_mode


@pytest.mark.parametrize(
    ("fixtures", "parameters", "mode"),
    [
        ({"tmp_path"}, "", "memory"),
        ({"tmp_path"}, "distributed]", "memory"),
        ({"testbed", "tmp_path"}, "", "memory"),
        ({"testbed"}, "distributed]", "distributed"),
        ({"opened"}, "postgres]", "distributed"),
        ({"shell"}, "persistent]", "persistent"),
        ({"archive"}, "", "persistent"),
        ({"archive", "postgres_server"}, "", "distributed"),
    ],
)
def test_mode_follows_from_fixtures_and_parameters(fixtures: set[str], parameters: str, mode: str) -> None:
    assert needed_mode(fixtures, parameters) == mode


def test_each_test_has_one_mode(request: pytest.FixtureRequest) -> None:
    for item in request.session.items:
        assert [mode for mode in MODES if item.get_closest_marker(mode)] != [], item.nodeid


def test_fixture_of_postgresql_makes_a_test_distributed(request: pytest.FixtureRequest) -> None:
    for item in request.session.items:
        if "postgres_server" in getattr(item, "fixturenames", ()):
            assert item.get_closest_marker("distributed"), item.nodeid
