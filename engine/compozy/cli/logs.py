"""Log lines of the command line: one line an event on stderr, its fields as key=value, without secrets.

What comes in: records of the logger `compozy` and of those below it. What goes out: text on stderr.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from compozy.settings.redact import Redactor

CHILDREN = "compozy.child"
LEVELS = ("debug", "info", "warning", "error")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LineFormatter(logging.Formatter):
    """`12:00:00 warning redis child.restarted pid=12`; secrets are replaced in the whole line."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; line breaks in fields are written as `\\n`."""
        fields = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.name == CHILDREN:
            fields = {}  # their message holds the whole line already
        shown = " ".join(f"{key}={_shown(value)}" for key, value in fields.items())
        when = self.formatTime(record, "%H:%M:%S")
        line = f"{when} {record.levelname.lower()} {record.getMessage()} {shown}".rstrip()
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return self._redactor.text(line)


def _shown(value: Any) -> str:
    text = str(value).replace("\n", "\\n")
    return f'"{text}"' if " " in text else text


def log_to_stderr(level: str, redactor: Redactor) -> None:
    """Send what the product logs to stderr, from `level` upwards."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(redactor))
    logger = logging.getLogger("compozy")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
    # The client library tells of failed tools with a traceback; ours tells the same in one line.
    logging.getLogger("temporalio").setLevel(logging.CRITICAL if level != "debug" else logging.DEBUG)
    # The embedded servers warn about what a user cannot change; `--log-level info` shows it.
    logging.getLogger(CHILDREN).setLevel("ERROR" if level == "warning" else level.upper())
