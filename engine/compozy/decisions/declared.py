"""Decision tables with the inputs that they declare, independent of the settings of Compozy.

They are verified and compared by the same engine as the shipped rules.
"""

from __future__ import annotations

from collections.abc import Mapping

from compozy.base.findings import Finding
from compozy.base.record import dataclass
from compozy.tables.decide import RuleSet, compile_leniently
from compozy.tables.difference import Comparison, JoinedCatalogue, compare_tables
from compozy.tables.table import ColumnSource, Domain, Table
from compozy.tables.verify import Verification, verify


@dataclass(frozen=True, slots=True)
class Decisions:
    """Tables over declared inputs; `findings` are those of reading, whose tables are left out."""

    inputs: Mapping[str, Domain]
    tables: tuple[Table, ...]
    findings: tuple[Finding, ...] = ()

    def domain(self, source: ColumnSource) -> Domain | None:
        """Return the domain of a declared input, None for any other source."""
        return self.inputs.get(source.ref) if source.kind == "input" and source.view is None else None

    @property
    def ruleset(self) -> RuleSet:
        """The tables, compiled; faults of links are in it."""
        return compile_leniently(self.tables, self)


def verify_decisions(decisions: Decisions) -> Verification:
    """Verify the tables and return the findings of reading and verification."""
    verified = verify(decisions.ruleset)
    return Verification((*decisions.findings, *verified.findings), verified.tables, verified.rows)


def compare_decisions(old: Decisions, new: Decisions) -> Comparison:
    """Compare what two versions of the tables decide."""
    both = JoinedCatalogue(old, new)
    return compare_tables(old.ruleset.tables, new.ruleset.tables, both, None)
