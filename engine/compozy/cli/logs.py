"""Log lines of the command line: one line for each event on stderr, its fields as key=value, without secrets."""

from __future__ import annotations

import logging
import sys
from typing import Any

from compozy.base.control import escape_control, escape_line
from compozy.cli.logqueue import LogQueue
from compozy.settings.redact import Redactor

CHILDREN = "compozy.child"
NOTES = "compozy.note"  # lines for people, which have no level and no time
LEVELS = ("debug", "info", "warning", "error")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LineFormatter(logging.Formatter):
    """`12:00:00 warning redis child.restarted pid=12`; secrets are replaced in the whole line."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, its control characters escaped; a traceback follows on lines of its own."""
        if record.name == NOTES:
            return self._redactor.text(f"note: {escape_control(record.getMessage())}")
        fields = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.name == CHILDREN:
            fields = {}  # their message holds the whole line already
        shown = " ".join(f"{key}={_shown(value)}" for key, value in fields.items())
        when = self.formatTime(record, "%H:%M:%S")
        line = f"{when} {record.levelname.lower()} {escape_line(record.getMessage())} {shown}".rstrip()
        if record.exc_info:
            line += "\n" + escape_control(self.formatException(record.exc_info))
        return self._redactor.text(line)


def _shown(value: Any) -> str:
    text = escape_line(str(value))
    return f'"{text}"' if " " in text else text


def log_to_stderr(level: str, redactor: Redactor) -> None:
    """Send log records to stderr through a thread of its own: ours from `level`, those of libraries from warning."""
    handler = _handler()
    handler.setFormatter(LineFormatter(redactor))
    root = logging.getLogger()  # without a handler there, libraries print on stderr themselves
    for earlier in [one for one in root.handlers if isinstance(one, LogQueue)]:
        root.removeHandler(earlier)
        earlier.close()
    root.addHandler(handler)
    logging.getLogger("compozy").setLevel(level.upper())
    logging.getLogger(NOTES).setLevel(logging.INFO)
    # A failed tool is logged with a traceback by the client library; ours is one line.
    logging.getLogger("temporalio").setLevel(logging.CRITICAL if level != "debug" else logging.DEBUG)
    # What a client sends is not an event for the operator.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # The embedded servers warn about what a user cannot change; `--log-level info` shows it.
    logging.getLogger(CHILDREN).setLevel("ERROR" if level == "warning" else level.upper())


def note_later(text: str) -> None:
    """Print a line for people on stderr without waiting for its reader."""
    logging.getLogger(NOTES).info("%s", text)


def _handler() -> logging.Handler:
    try:
        return LogQueue(sys.stderr.fileno())
    except (OSError, ValueError):  # stderr is closed, or in memory
        return logging.NullHandler()
