"""What verification hands back: reports, and a cache so that the same content is verified once.

What comes in: facts found by the checks. What goes out: frozen records. It must not check anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from compozy.tables.table import Place

UNPROVEN = "; it may be unreachable: too many combinations to prove"
KINDS = {
    "cycle": "tables that decide each other in a circle",
    "unknown-input": "a setting, machine fact, item or view that does not exist",
    "unknown-decision": "a table or an output of a table that does not exist",
    "unknown-value": "a value that an input can never have",
    "gap": "values for which no row decides",
    "conflict": "two rows that match together and decide differently",
    "overlap": "two rows that match together and decide the same",
    "duplicate": "two rows with the same conditions that decide the same",
    "subsumed": "a row that lies within another one that decides the same",
    "masked": "a row that never decides, because rows before it take all it matches",
    "contradiction": "a row with a cell that no value satisfies",
    "unreachable": "a row that no settings reach, because of the tables or the views between",
    "unproduced": "an output value that no row produces",
    "unproven": "a question about a table that its search could not answer within its budget of steps",
    "incomplete-finding": "a finding without text, severity, good or bad example",
}


@dataclass(frozen=True, slots=True)
class Report:
    """One fault of one table.

    `kind` is one of `KINDS`. `places` are those of the rows concerned, or of the table. `witness` is a
    YAML snippet that shows the fault when pasted as a configuration, `proposal` a row that would mend
    it. `shown` of `total` reports of this kind and table are listed; `exact` is false where the search
    stopped at `total`. `proven` is false where perhaps no settings lead to it.
    """

    kind: str
    message: str
    table: str
    places: tuple[Place, ...]
    witness: str | None = None
    proposal: str | None = None
    shown: int = 1
    total: int = 1
    exact: bool = True
    proven: bool = True

    @property
    def extent(self) -> str:
        """`first N of M` where not all are listed, else empty.

        >>> Report("gap", "", "t", (), shown=100, total=400, exact=False).extent
        'first 100 of at least 400'
        """
        if self.shown == self.total and self.exact:
            return ""
        return f"first {self.shown} of {'' if self.exact else 'at least '}{self.total}"


@dataclass(frozen=True, slots=True)
class Verification:
    """All reports on a rule set, in the order of the tables, and how much was verified."""

    reports: tuple[Report, ...]
    tables: int
    rows: int

    @property
    def valid(self) -> bool:
        """Whether there is nothing to report."""
        return not self.reports


@dataclass(slots=True)
class VerificationCache:
    """Verifications by content; one object may be shared by a whole process."""

    known: dict[str, Verification] = field(default_factory=dict)
