"""Keep secrets out of errors, notes and tracebacks of a command.

The secrets are those of every configuration that the command has read, and of variables whose names are those of
secrets: a bug may show before a configuration is complete.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compozy.resolution.configuration import Configuration

# Every shell sets these; their names sound like those of passwords.
_DIRECTORIES = ("PWD", "OLDPWD")
_read: list[Configuration] = []


def remember(configuration: Configuration) -> None:
    """Redact the secrets of `configuration` from now on; the last few are kept."""
    _read[:] = [*_read[-3:], configuration]


def redacted(text: str) -> str:
    """Return `text` without the known secrets."""
    from compozy.resolution.configuration import secrets_of
    from compozy.settings.redact import Redactor, is_secret_name

    known = {value for name, value in os.environ.items() if is_secret_name(name) and name not in _DIRECTORIES}
    for configuration in _read:
        known |= secrets_of(configuration)
    return Redactor(known).text(text)


def install_hooks() -> None:
    """Print every traceback of the process without secrets, those of threads included."""
    sys.excepthook = print_traceback
    threading.excepthook = lambda found: print_traceback(found.exc_type, found.exc_value, found.exc_traceback)


def print_traceback(kind: type[BaseException], error: BaseException | None, frames: TracebackType | None) -> None:
    """Print the traceback of a bug on stderr; its messages are left out when the secrets cannot be determined."""
    from compozy.cli.output import print_line

    try:
        lines = redacted("".join(traceback.format_exception(kind, error, frames)))
    except Exception:  # noqa: BLE001 - the bug may be in the code that collects secrets
        lines = "".join(traceback.format_tb(frames)) + kind.__name__
    print_line(lines.rstrip(), err=True)
