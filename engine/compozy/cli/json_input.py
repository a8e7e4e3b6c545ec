"""JSON that a user gives to a command: as an argument, in a file, or on stdin."""

from __future__ import annotations

import sys

from compozy.base.source_file import UnreadableError, read_source
from compozy.base.strict_json import strict_json
from compozy.errors import UsageError


def parse_json(text: str, what: str, hint: str | None = None) -> object:
    """Return the value of a JSON text; `what` names it in messages.

    Raises:
        UsageError: it is not JSON, an object in it has a key twice, or a number cannot be kept.
    """
    try:
        return strict_json(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what} is not JSON: {error}", hint=hint) from error


def read_argument(text: str, what: str) -> str:
    """Return an argument itself, or with `@` the text of the file that it names, or with `@-` that of stdin.

    Raises:
        UsageError: the file cannot be read.
    """
    return read_text_of(text[1:], f"{what} {text}") if text.startswith("@") else text


def read_text_of(file: str, what: str) -> str:
    """Return the text of a file, `-` for stdin.

    Raises:
        UsageError: it cannot be read; the message begins with `what`.
    """
    try:
        return sys.stdin.read() if file == "-" else read_source(file, own=False)
    except (UnreadableError, UnicodeDecodeError) as error:
        raise UsageError(f"{what} cannot be read: {error}", hint="check its path, permissions and encoding") from error
