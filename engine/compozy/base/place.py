"""The place of something in a text: file, line and column."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """Where something stands: file name, line and column, both counted from 1; `length` in characters."""

    file: str
    line: int
    column: int
    length: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"
