"""Log lines are written by a separate thread, dropped and counted while the output is not read."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO

import pytest
from tests.support.polling import eventually

from compozy.cli.logqueue import LogQueue
from compozy.cli.logs import NOTES, LineFormatter
from compozy.settings.redact import Redactor

MORE_THAN_A_PIPE_HOLDS = 3_000
LINE = "x" * 100


@dataclass
class Pipe:
    """Both ends of a pipe, unbuffered."""

    reader: FileIO
    writer: FileIO

    def lines(self) -> list[str]:
        """Return what can be read now."""
        os.set_blocking(self.reader.fileno(), False)
        return (self.reader.readall() or b"").decode().splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    read_end, write_end = os.pipe()
    with FileIO(read_end) as reader, FileIO(write_end, "w") as writer:
        yield Pipe(reader, writer)


def logger_of(handler: logging.Handler) -> logging.Logger:
    logger = logging.Logger("compozy.test")
    logger.addHandler(handler)
    return logger


def test_lines_arrive_in_order(pipe: Pipe) -> None:
    handler = LogQueue(pipe.writer.fileno())
    logger = logger_of(handler)
    for number in range(100):
        logger.warning("%d", number)
    handler.flush()

    assert pipe.lines() == [str(number) for number in range(100)]


def test_unread_output_drops_and_counts(pipe: Pipe) -> None:
    """The logging thread continues; a line reports the number of dropped lines when the output is read again."""
    handler = LogQueue(pipe.writer.fileno(), lines=100)
    logger = logger_of(handler)
    for _ in range(MORE_THAN_A_PIPE_HOLDS):
        logger.warning(LINE)
    assert handler.dropped > 0
    reported = 0

    def caught_up() -> bool:
        nonlocal reported
        reported += sum(int(line.rpartition("=")[2]) for line in pipe.lines() if "log.dropped" in line)
        logger.warning("again")
        return reported == handler.dropped

    eventually(caught_up, "the report of all dropped lines")


@pytest.mark.parametrize("kind", ["closed-pipe", "full-disk"])
def test_failing_output_drops_and_counts(pipe: Pipe, kind: str) -> None:
    with FileIO("/dev/full", "w") as full:
        handler = LogQueue(full.fileno() if kind == "full-disk" else pipe.writer.fileno())
    pipe.reader.close()
    logger_of(handler).warning(LINE)
    handler.flush()

    assert handler.dropped == 1


def test_unformattable_object_is_counted(pipe: Pipe) -> None:
    handler = LogQueue(pipe.writer.fileno())
    logger_of(handler).warning("%d", "text")

    assert handler.dropped == 1


def test_closed_handler_releases_its_descriptor(pipe: Pipe) -> None:
    handler = LogQueue(pipe.writer.fileno())
    logger_of(handler).warning("last")
    pipe.writer.close()
    handler.close()

    eventually(lambda: os.read(pipe.reader.fileno(), 100) == b"", "the end of the output")


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"msg": "a\x1b[31m\nb", "levelname": "WARNING"}, r"warning a\x1b[31m\nb"),
        ({"msg": "a", "levelname": "INFO", "field": "b\r\u202ec\x9b"}, r"info a field=b\r\u202ec\x9b"),
        ({"msg": "child.log redis: \x07", "levelname": "INFO", "name": "compozy.child"}, r"info child.log redis: \x07"),
        ({"msg": "moved to port %s", "args": ("1\x1b",), "name": NOTES}, r"note: moved to port 1\x1b"),
    ],
    ids=["message", "field", "child", "note"],
)
def test_control_characters_are_escaped(record: dict[str, object], expected: str) -> None:
    assert LineFormatter(Redactor(())).format(logging.makeLogRecord(record)).endswith(expected)


def test_traceback_keeps_its_lines_and_escapes_the_rest() -> None:
    record = logging.makeLogRecord({"msg": "a", "exc_info": (ValueError, ValueError("b\x1bc\nd"), None)})

    assert LineFormatter(Redactor(())).format(record).splitlines()[-2:] == [r"ValueError: b\x1bc", "d"]
