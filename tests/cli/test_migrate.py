"""`compozy migrate schema`: list, apply and revert the migrations of the configured database."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.store.test_migrations import NAMES

from compozy.cli.main import run
from compozy.state.presence import Presence, announced
from compozy.testing.postgres_server import PostgresServer

Migrate = Callable[..., Any]


@pytest.fixture(params=["sqlite", "postgres"])
def migrate(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Migrate]:  # fmt: skip
    """Return a function that runs the command on an empty database and returns its JSON."""
    with contextlib.ExitStack() as stack:
        chosen = {"database.path": str(tmp_path / "x" / "compozy.db"), "database.driver": request.param}
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            chosen["database.url"] = stack.enter_context(server.database())
        flags = [flag for path, value in chosen.items() for flag in ("--set", f"{path}={value}")]

        def command(*args: str, code: int = 0) -> Any:
            assert run(["migrate", "schema", "--cwd", str(tmp_path), *flags, "--format", "json", *args]) == code
            return json.loads(capsys.readouterr().out)

        yield command


def applied(shown: Any) -> tuple[str, ...]:
    return tuple(one["name"] for one in shown["migrations"] if one["applied_at"])


def test_migrations_are_listed_applied_and_reverted(migrate: Migrate) -> None:
    """A list changes nothing; forward applies once; back reverts the newest."""
    assert applied(migrate("--list")) == ()
    assert migrate()["applied"] == list(NAMES)
    assert applied(migrate("--list")) == NAMES
    assert migrate()["applied"] == []
    assert migrate("--back", "--yes")["reverted"] == [NAMES[-1]]
    assert applied(migrate("--list")) == NAMES[:-1]


def test_list_creates_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A project that was never started stays as it is."""
    assert run(["migrate", "schema", "--list", "--mode", "persistent", "--cwd", str(tmp_path)]) == 0
    assert "missing" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_revert_needs_confirmation(migrate: Migrate) -> None:
    """Without a terminal the option --yes confirms that data is deleted."""
    migrate()
    assert "--yes" in str(migrate("--back", code=2))
    assert applied(migrate("--list")) == NAMES


def test_unknown_migration_is_refused(migrate: Migrate) -> None:
    """The error names it."""
    assert "0000_nothing" in migrate("--to", "0000_nothing", code=2)["error"]["message"]


def test_memory_mode_has_no_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Memory mode has no schema, and the error lists the modes that have a schema."""
    assert run(["migrate", "schema", "--cwd", str(tmp_path)]) == 2
    assert "--mode persistent or distributed" in capsys.readouterr().err


def test_mode_of_the_running_server_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a flag the command asks for the database of the server, which memory mode does not keep."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    command = ["migrate", "schema", "--list", "--cwd", str(tmp_path)]
    assert run(command) == 2
    with announced(Presence(os.getpid(), "http://127.0.0.1:1", "persistent", str(tmp_path), 1.0)):
        assert run(command) == 0
    assert NAMES[0] in capsys.readouterr().out
