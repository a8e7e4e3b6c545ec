"""Read `.env` files: variables beside a configuration, for settings and for `${VAR}`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from compozy.base.source_file import UnreadableError

if TYPE_CHECKING:
    from compozy.settings.sources import Inputs

# The parser needs some 15 microseconds a line, and looks for the end of a quote in all that follows.
LIMIT_CHARACTERS = 250_000
_MANY_MALFORMED = 100

_REFERENCE = re.compile(r"\$\{[A-Za-z_]\w*")


class DotenvLine(NamedTuple):
    """An entry of a `.env` file; the name is None where the line is malformed. `number` counts from 1.

    `reference` is the beginning of a `${VAR}` that stands in it without single quotes, or empty.
    """

    name: str | None
    value: str | None
    number: int
    reference: str = ""


class Variables:
    """Variables for `${VAR}`: the environment first, then `.env`, which is read only when needed.

    `used` are the entries of `.env` that were asked for, by name, each with its file.
    """

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.dotenv: Mapping[str, tuple[str, DotenvLine]] | None = None
        self.used: dict[str, tuple[str, DotenvLine]] = {}

    def get(self, name: str) -> str | None:
        """Return the value of a variable, or None when it is not set."""
        found = self.inputs.environment.get(name)
        if found is not None:
            return found
        if self.dotenv is None:
            lines = [(file, line) for file in reversed(self.inputs.dotenv) for line in self._lines(file)]
            self.dotenv = {line.name: (file, line) for file, line in lines if line.name and line.value is not None}
        if name not in self.dotenv:
            return None
        self.used[name] = self.dotenv[name]
        return self.dotenv[name][1].value

    def _lines(self, name: str) -> list[DotenvLine]:
        try:
            return dotenv_lines(dotenv_text(self.inputs, name))
        except UnreadableError:
            return []


def dotenv_text(inputs: Inputs, name: str) -> str:
    """Return the text of the `.env` file `name` of a project.

    Raises:
        UnreadableError: it is missing, no text, or longer than `LIMIT_CHARACTERS`.
        TrustError: another user controls it.
    """
    text = inputs.files.text(os.path.join(inputs.directory, name))
    if len(text) > LIMIT_CHARACTERS:
        raise UnreadableError(f"it is longer than {LIMIT_CHARACTERS} characters")
    return text


def dotenv_lines(text: str) -> list[DotenvLine]:
    """Return the entries of a `.env` file; reading stops after 100 malformed lines."""
    if not text:
        return []
    from io import StringIO

    from dotenv.parser import parse_stream

    found, malformed = list[DotenvLine](), 0
    for binding in parse_stream(StringIO(text)):
        # The parser counts blank lines before an entry as a part of it.
        skipped = len(binding.original.string) - len(binding.original.string.lstrip("\n"))
        if binding.key is not None or binding.error:
            number = binding.original.line + skipped
            found.append(
                DotenvLine(binding.key, binding.value, number, _reference(binding.original.string, binding.value))
            )
        malformed += binding.key is None and binding.error
        if malformed == _MANY_MALFORMED:
            break
    return found


def _reference(written: str, value: str | None) -> str:
    found = _REFERENCE.search(value or "")
    quoted = written.partition("=")[2].lstrip().startswith("'")
    return found[0] + "}" if found and not quoted else ""
