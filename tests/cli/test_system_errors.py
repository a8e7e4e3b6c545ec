"""Exhausted resources of the operating system: the exit code distinguishes the output from other resources."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from io import StringIO
from pathlib import Path
from types import ModuleType

import click
import pytest

from compozy.cli.main import COMMANDS, run


def failing(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    """Add the command `fails`, which ends with an error of the system."""

    @click.command(name="fails")
    def command() -> None:
        raise error

    module = ModuleType("compozy_test_failing")
    module.command = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(COMMANDS, "fails", (module.__name__, "Fails."))


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        pytest.param(errno.ENOSPC, "free some space", id="disk"),
        pytest.param(errno.EDQUOT, "quota", id="quota"),
        pytest.param(errno.EROFS, "can be written", id="read-only"),
        pytest.param(errno.EMFILE, "ulimit -n", id="open-files"),
    ],
)
def test_exhausted_resource_exits_4_with_place_and_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, fix: str
) -> None:
    """It is recognized by errno, never reported as an output that cannot be written."""
    failing(monkeypatch, OSError(number, os.strerror(number), "/data/x"))
    assert run(["fails"]) == 4
    shown = capsys.readouterr().err
    assert "(/data/x)" in shown
    assert fix in shown
    assert "output" not in shown


def test_other_system_error_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file that no code expected has a traceback."""
    failing(monkeypatch, FileNotFoundError(errno.ENOENT, "x", "/data/x"))
    with pytest.raises(FileNotFoundError):
        run(["fails"])


def test_full_standard_output_is_reported_as_such(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Standard output on a full device is a mistake of the call."""
    with contextlib.suppress(OSError), Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run(["config", "show", "--cwd", str(tmp_path)]) == 2
        assert "the output cannot be written: No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize("streams", [("stdout",), ("stderr",), ("stdout", "stderr")], ids="-".join)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE], ids=["full-disk", "closed-pipe"])
@pytest.mark.parametrize("format_", ["text", "json", "sarif"])
def test_unprintable_failure_keeps_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, format_: str, number: int, streams: tuple[str, ...]
) -> None:
    """A failure is reported where it can be, and a failure to report it is not a bug."""
    for name in streams:
        monkeypatch.setattr(sys, name, Unwritable(number))
    assert run(["workflow", "shw", "--format", format_]) == 2


class Unwritable(StringIO):
    """A stream whose other end takes nothing."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def write(self, _text: str) -> int:
        raise OSError(self._number, os.strerror(self._number))
