"""Log lines of the command line: one line for each event, on stderr or in a file, without secrets."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from compozy.base.control import escape_control, escape_line
from compozy.base.output_file import open_appended
from compozy.base.record import dataclass
from compozy.base.system_hints import hint_for
from compozy.cli.logqueue import LogQueue
from compozy.errors import DriverError
from compozy.settings.redact import Redactor

CHILDREN = "compozy.child"
# Lines for people, which have no level and no time.
NOTES = "compozy.note"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "event"}


@dataclass(frozen=True, slots=True)
class LogSettings:
    """From which level to log, in which form (`text` or `json`), and to which file; None is stderr."""

    level: str = "warning"
    format: str = "text"
    file: str | None = None


class LineFormatter(logging.Formatter):
    """`12:00:00 warning redis child.restarted pid=12`; secrets are replaced in the whole line."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, its control characters escaped; a traceback follows on lines of its own."""
        if record.name == NOTES:
            return self._redactor.text(f"note: {escape_control(record.getMessage())}")
        # The message of an embedded server's line holds the whole line already.
        fields = {} if record.name == CHILDREN else _fields(record)
        shown = " ".join(f"{key}={_shown(value)}" for key, value in fields.items())
        when = self.formatTime(record, "%H:%M:%S")
        line = f"{when} {record.levelname.lower()} {escape_line(record.getMessage())} {shown}".rstrip()
        if record.exc_info:
            line += "\n" + escape_control(self.formatException(record.exc_info))
        return self._redactor.text(line)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (ISO 8601, UTC), level, logger, event and the event's fields; secrets are replaced.

    A line of an embedded server has the event `child.log` and the logger `compozy.child.NAME`; an event whose line of
    text is a sentence has it in the field `text`.
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        fields, text, logger = _fields(record), record.getMessage(), record.name
        event = "note" if record.name == NOTES else record.__dict__.get("event", text)
        if record.name == CHILDREN:
            logger = f"{CHILDREN}.{fields.pop('child')}"
        elif event != text:
            fields["text"] = text
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": when, "level": record.levelname.lower(), "event": event, "logger": logger, **fields}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps({key: self._redacted(value) for key, value in line.items()})

    def _redacted(self, value: object) -> object:
        if isinstance(value, list | tuple):
            return [self._redacted(one) for one in value]
        return value if value is None or isinstance(value, int | float) else self._redactor.text(str(value))


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields of an event; its name is the message, unless the message is a text for people."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _shown(value: object) -> str:
    text = escape_line(str(value))
    return f'"{text}"' if " " in text else text


FORMATTERS: Mapping[str, type[LineFormatter | JsonFormatter]] = {"text": LineFormatter, "json": JsonFormatter}


def start_logging(settings: LogSettings, redactor: Redactor) -> None:
    """Send log records to stderr or a file through a thread of its own: ours from a level, libraries' from warning.

    Raises:
        DriverError: the file cannot be written.
    """
    made = [_stderr_handler() if settings.file is None else _file_handler(settings.file)]
    made[0].setFormatter(FORMATTERS[settings.format](redactor))
    # Only for programs: lines for people stay where people see them.
    if settings.file is not None:
        made[0].addFilter(lambda record: record.name != NOTES)
        made.append(_stderr_handler())
        made[1].addFilter(lambda record: record.name == NOTES)
        made[1].setFormatter(LineFormatter(redactor))
    _replace_handlers(made)
    logging.getLogger("compozy").setLevel(settings.level.upper())
    logging.getLogger(NOTES).setLevel(logging.INFO)
    # A failed tool is logged with a traceback by the client library; ours is one line.
    logging.getLogger("temporalio").setLevel(logging.CRITICAL if settings.level != "debug" else logging.DEBUG)
    # What a client sends is not an event for the operator.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # The embedded servers warn about what a user cannot change; `--log-level info` shows it.
    logging.getLogger(CHILDREN).setLevel("ERROR" if settings.level == "warning" else settings.level.upper())


def _replace_handlers(made: Iterable[logging.Handler]) -> None:
    # Without a handler there, libraries print on stderr themselves.
    root = logging.getLogger()
    for earlier in [one for one in root.handlers if isinstance(one, LogQueue)]:
        root.removeHandler(earlier)
        earlier.close()
    for handler in made:
        root.addHandler(handler)


def note_later(text: str) -> None:
    """Print a line for people on stderr without waiting for its reader."""
    logging.getLogger(NOTES).info("%s", text)


def _stderr_handler() -> logging.Handler:
    try:
        return LogQueue(sys.stderr.fileno())
    # stderr is closed, or in memory.
    except (OSError, ValueError):
        return logging.NullHandler()


def _file_handler(file: str) -> LogQueue:
    try:
        descriptor = open_appended(file)
    except OSError as error:
        hint = hint_for(error) or "name a file in a directory that exists and may be written"
        raise DriverError(f"log.file: {file} cannot be written: {error.strerror}", hint=hint) from error
    try:
        return LogQueue(descriptor)
    finally:
        os.close(descriptor)
