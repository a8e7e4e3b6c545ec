"""Records of the place in a text and of the origin of a value, problem or finding."""

from __future__ import annotations

from typing import NamedTuple

from compozy.base.control import escape_line
from compozy.base.record import dataclass


class Place(NamedTuple):
    """A place in a file: its name, line and column, both counted from 1; `length` in characters.

    Line 0 is the place of a value without lines, such as a part of a JSON document.
    """

    file: str
    line: int
    column: int
    length: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def as_json(self) -> dict[str, object]:
        """Return file, line and column."""
        return {"file": self.file, "line": self.line, "column": self.column}


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a value.

    `kind` is one of `default`, `file`, `dotenv`, `env`, `flag`, `machine`, `rule`, and `document` for what has no
    lines, as a JSON document. `place` goes with `file` and `dotenv`; `name` with `dotenv`, `env`, `flag`, `machine`
    and `document`; `table` and `row` with `rule`. `variables` names the variables that were expanded in the value.
    """

    kind: str
    place: Place | None = None
    name: str | None = None
    table: str | None = None
    row: str | None = None
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == "rule":
            return f"rule {self.table}/{self.row}"
        parts = [self.kind, self.name, str(self.place) if self.place else None]
        return escape_line(" ".join(part for part in parts if part))

    def as_json(self) -> dict[str, object]:
        """Return the origin in the form of the command line's JSON."""
        result: dict[str, object] = {"kind": self.kind, **(self.place.as_json() if self.place else {})}
        named = {"name": self.name, "table": self.table, "row": self.row}
        result |= {key: value for key, value in named.items() if value is not None}
        return result | ({"variables": list(self.variables)} if self.variables else {})


DEFAULT = Origin("default")
NOWHERE = Origin("")
