"""Notes for people: useful, and never a reason to fail."""

from __future__ import annotations

import errno
import io

import pytest

from compozy.cli.output import print_note


class Unreadable(io.StringIO):
    """A stream whose reader has closed it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def write(self, text: str) -> int:
        raise OSError(self._number, "it cannot be written")


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EBADF, errno.ENOSPC, errno.EIO])
def test_unwritable_note_is_dropped(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start or a shutdown continues with its terminal closed, its pipe broken or its disk full."""
    monkeypatch.setattr("sys.stderr", Unreadable(number))
    print_note("stopping")


def test_note_to_a_closed_stream_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python itself refuses to write to it."""
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr("sys.stderr", stream)
    print_note("stopping")
