"""Draw the input space of a decision table with two inputs, as verification sees it.

A field is one combination of cells; grey fields are not feasible. Fields without a row, and fields of a `unique` table
with several rows, are the faults that verification reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from html import escape
from itertools import product
from operator import and_, attrgetter
from typing import TypeAlias

from compozy.decisions import Decisions
from compozy.tables.atoms import Atom, condition_of
from compozy.tables.axes import Axis, AxisBuilder
from compozy.tables.cells import condition_words
from compozy.tables.table import Table

# The choices of both inputs, each as a set of atoms.
Field: TypeAlias = tuple[tuple[Atom, ...], ...]

WIDTH, HEIGHT, LEFT, TOP, LINE = 124, 66, 84, 52, 16
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2933;text-anchor:middle}"
    ".title{font-size:15px;font-weight:600;text-anchor:start}.first{font-weight:600}"
    ".row{fill:#eef4fb;stroke:#3b6ea5}.fault{fill:#fde2e1;stroke:#b42318}.none{fill:#e4e7eb;stroke:#9aa5b1}"
)


def space_svg(decisions: Decisions, table_id: str) -> str:
    """Return a picture of the space of a table: the first input from left to right, the second one downwards."""
    ruleset = decisions.ruleset
    table = ruleset.tables[table_id]
    axes = AxisBuilder(ruleset).axes(table, {})
    rows = _fields(axes)
    atoms = [found for axis in axes for found in axis.atoms]
    across, down = [sorted({field[n] for field in rows}, key=lambda choice: choice[0].order) for n in (0, 1)]
    width, height = LEFT + WIDTH * len(across) + 14, TOP + HEIGHT * len(down) + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="Input space of table {escape(table_id)}">',
        f'<style>{_STYLE}</style><rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text class="title" x="14" y="22">{escape(_title(table))}</text>',
        *(_text(LEFT + WIDTH * (n + 0.5), TOP - 8, _words(one, atoms[0])) for n, one in enumerate(across)),
        *(_text(LEFT / 2, TOP + HEIGHT * (n + 0.5) + 4, _words(one, atoms[1])) for n, one in enumerate(down)),
    ]
    for (x, one), (y, other) in product(enumerate(across), enumerate(down)):
        parts += _field_svg(table, rows.get((one, other)), LEFT + WIDTH * x, TOP + HEIGHT * y)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _title(table: Table) -> str:
    first, second = [column.name for column in table.columns]
    return f"{table.id} (hit policy {table.hit}): {first} across, {second} down"


def _fields(axes: Sequence[Axis]) -> Mapping[Field, int]:
    """Return the rows that match in each feasible field, as a bit set."""
    points = product(*([point for cell in axis.cells for point in cell] for axis in axes))
    return {
        tuple([choice for point in chosen for choice in point.choices]): reduce(and_, map(attrgetter("rows"), chosen))
        for chosen in points
    }


def _words(choice: Sequence[Atom], atoms: Sequence[Atom]) -> str:
    return condition_words(condition_of(choice, atoms))


def _field_svg(table: Table, rows: int | None, left: float, top: float) -> Iterator[str]:
    names = [row.id for number, row in enumerate(table.rows) if rows is not None and rows >> number & 1]
    kind = "none" if rows is None else "fault" if not names or (table.hit == "unique" and names[1:]) else "row"
    lines = names or ["not feasible" if rows is None else "no row"]
    yield f'<rect class="{kind}" x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}"/>'
    for number, line in enumerate(lines):
        first = kind == "row" and number == 0
        yield _text(left + WIDTH / 2, top + HEIGHT / 2 + LINE * (number - (len(lines) - 1) / 2) + 4, line, first=first)


def _text(x: float, y: float, text: str, *, first: bool = False) -> str:
    mark = ' class="first"' if first else ""
    return f'<text{mark} x="{x:g}" y="{y:g}">{escape(text)}</text>'
