"""One table under verification: its axes and space, and findings about boxes of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compozy.base.findings import ERROR, WARNING, Evidence, Finding
from compozy.base.place import Origin
from compozy.base.record import dataclass
from compozy.tables.axes import Axis
from compozy.tables.cover import MOST_STEPS, Box, CellIndex, Space
from compozy.tables.decide import RuleSet
from compozy.tables.observation import Assignment, Viewer
from compozy.tables.regions import witness_of
from compozy.tables.table import Domain, Row, Table
from compozy.tables.witness import witness_yaml

UNPROVEN = "; it may be unreachable: too many combinations to prove"


@dataclass(frozen=True, slots=True)
class Subject:
    """A table with its space; axis k of the space is `axes[k]`. At most `limit` findings are listed."""

    table: Table
    domains: dict[str, Domain]
    axes: tuple[Axis, ...]
    space: Space
    limit: int
    viewer: Viewer | None

    @classmethod
    def of(cls, ruleset: RuleSet, table: Table, axes: Sequence[Axis], limit: int, steps: int = MOST_STEPS) -> Subject:
        """Build the space of a table from its axes."""
        rows = len(table.rows)
        space = Space([CellIndex(axis.rows, rows) for axis in axes], rows, steps)
        return cls(table, dict(ruleset.domains[table.id]), tuple(axes), space, limit, ruleset.viewer)

    @property
    def proven(self) -> bool:
        """True if every point of the space is feasible."""
        return all(axis.exact for axis in self.axes)

    def box(self, number: int) -> Box:
        """Return the box of a row."""
        return self.space.row(number)

    def fires(self, number: int) -> bool:
        """Return True if a feasible input matches the row by itself."""
        return all(self.box(number))

    def meeting(self, first: int, second: int) -> Box:
        """Return what two rows share."""
        return tuple(a & b for a, b in zip(self.box(first), self.box(second), strict=True))

    def witness(self, box: Box) -> str | None:
        """Return settings that lead into a box, as YAML; `None` for an empty box."""
        return self.written(witness_of(self.axes, box)) if all(box) else None

    def written(self, assignment: Assignment) -> str:
        """Return an assignment as a configuration file, in YAML."""
        spell = {"spell": self.viewer.spelled} if self.viewer else {}
        return witness_yaml(assignment, for_each=self.table.for_each, **spell)

    def name(self, number: int) -> str:
        """Return a row's id in quotes."""
        return f'"{self.table.rows[number].id}"'

    def unproven(self, what: str, why: str = "") -> Finding:
        """Build the finding that the search for an answer was stopped."""
        reason = why or f"the search was stopped after {self.space.steps} steps"
        return self.finding("unproven", f"{what} could not be proven: {reason}", severity=WARNING)

    def finding(
        self,
        kind: str,
        message: str,
        rows: Iterable[Row] = (),
        *,
        box: Box | None = None,
        shown: int = 1,
        total: int = 1,
        proven: bool = True,
        severity: str = ERROR,
    ) -> Finding:
        """Build a finding on rows of the table, or on the table itself."""
        places = tuple(row.place for row in rows) or (self.table.place,)
        text = f'table "{self.table.id}": {message}' + ("" if proven else UNPROVEN)
        witness = self.witness(box) if box is not None else None
        return Finding(
            kind,
            severity if proven else WARNING,
            text,
            key=self.table.id,
            where=Origin("file", places[0]),
            also=places[1:],
            evidence=Evidence(witness, None, shown, total),
        )
