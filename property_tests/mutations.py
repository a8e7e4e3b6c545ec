"""Change every shipped row in every small way, and see that each change is noticed.

What comes in: the shipped rules. What goes out: a score. A mutant is caught by verification, or because some
combination of settings is answered otherwise than `oracle` says; the property tests ask the same questions.

    python -m property_tests.mutations            # everything, with the survivors
    python -m property_tests.mutations redis      # tables and rows whose name contains a word
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from property_tests.choices import Choice, inputs_of, pool, resolved_of
from property_tests.mutations_rows import ORACLE, SURVIVED, VERIFIED, row_mutants, row_verdict
from property_tests.oracle import PROBLEMS, PROMISES, Facts, decisions_of, facts_of, findings_of, rows_of

from compozy.document import Scalar
from compozy.rulebook import load_rulebook
from compozy.tables.atoms import Atom, atoms_of
from compozy.tables.cells import condition_words, scalar_words
from compozy.tables.decide import RuleSet, compile_leniently
from compozy.tables.table import ANY, Condition, Domain, Interval, Row, Table, is_number
from compozy.tables.verify import verify

EQUIVALENT = "equivalent"


@dataclass(frozen=True)
class Mutant:
    """One changed table; `name` says what was changed where: in the row at `at`, the cell of `column` if any."""

    name: str
    table: Table
    at: int
    column: str = ""


def mutants_of(ruleset: RuleSet, table: Table) -> Iterator[Mutant]:
    """Yield every mutant of a table: rows deleted, cells widened, outputs and severities changed."""
    for at, row in enumerate(table.rows):
        where = f"{table.id}/{row.id}"
        yield Mutant(f"{where}: deleted", _with(table, at, None), at)
        for column in row.when:
            domain = ruleset.domains[table.id][column]
            conditions = [other.condition(column) for other in table.rows]
            for words, condition in _wider(row.when[column], domain, conditions):
                when = {**row.when, column: condition}
                changed = _with(table, at, replace(row, when=when))
                yield Mutant(f"{where}: {column} widened to {words}", changed, at, column)
        for words, changed in _changed_outcomes(row, table):
            yield Mutant(f"{where}: {words}", _with(table, at, changed), at)


def _with(table: Table, at: int, row: Row | None) -> Table:
    rows = (*table.rows[:at], *([row] if row else []), *table.rows[at + 1 :])
    return replace(table, rows=rows)


def _wider(condition: Condition, domain: Domain, conditions: Sequence[Condition]) -> Iterator[tuple[str, Condition]]:
    """Yield the condition with one more atom of its domain, and without any restriction."""
    outside = [atom for atom in atoms_of(domain, conditions) if not condition.matches(atom.sample)]
    for atom in outside:
        wider = _joined(condition, atom)
        if wider is not None:
            yield condition_words(wider), wider
    if outside:
        yield "any", ANY


def _joined(condition: Condition, atom: Atom) -> Condition | None:
    """Return the union of a condition with an atom; None where no condition can say it."""
    if atom.other:
        return None
    if condition.negated:
        return _without(condition.inverted(), atom).inverted()
    values = [*condition.values, *([None] if condition.unset else [])]
    if atom.interval is not None:
        return Condition.of(values, [*condition.intervals, atom.interval])
    return Condition.of([*values, atom.sample], condition.intervals)


def _without(condition: Condition, atom: Atom) -> Condition:
    values = [*condition.values, *([None] if condition.unset else [])]
    kept = [value for value in values if (value.__class__, value) != (atom.sample.__class__, atom.sample)]
    gone = atom.interval or _point(atom.sample)
    intervals = condition.intervals if gone is None else _cut(condition.intervals, gone)
    return Condition.of(kept, intervals)


def _point(value: Scalar) -> Interval | None:
    return Interval(value, value) if is_number(value) else None


def _cut(intervals: Sequence[Interval], gone: Interval) -> Iterator[Interval]:
    for interval in intervals:
        below = Interval(interval.low, gone.low, interval.low_open, not gone.low_open)
        above = Interval(gone.high, interval.high, not gone.high_open, interval.high_open)
        if not interval.contains(gone.low if gone.low is not None else float("-inf")):
            yield interval
        else:
            yield from (part for part in (below, above) if not part.empty)


def _changed_outcomes(row: Row, table: Table) -> Iterator[tuple[str, Row]]:
    for output, value in row.then.items():
        domain = table.outputs[output]
        for other in [*domain.values, *([None] if domain.optional else [])]:
            if (other.__class__, other) != (value.__class__, value):
                words = f"{output} changed to {scalar_words(other)}"
                yield words, replace(row, then={**row.then, output: other})
    severity = row.body.get("severity")
    if severity is not None:
        other_severity = "warning" if severity == "error" else "error"
        yield f"severity changed to {other_severity}", replace(row, body={**row.body, "severity": other_severity})


Question = tuple[dict[str, Scalar], object]


@cache
def questions(table_id: str) -> tuple[Question, ...]:
    """Return what the property tests ask a table, each different question once, with the answer of the contract."""
    rulebook = load_rulebook()
    table = rulebook.ruleset.tables[table_id]
    if table.for_each == "problems":
        return tuple(({"problem": kind}, {name}) for name, (kind, _) in PROBLEMS.items())
    found: dict[tuple[object, ...], Question] = {}
    for choice in pool(rulebook, [table]):
        facts = facts_of(choice)
        for inputs in inputs_of(resolved_of(rulebook, choice), table):
            key = tuple((value.__class__, value) for value in inputs.values())
            if key not in found:
                found[key] = (inputs, _answer(table, facts))
    return tuple(found.values())


def _answer(table: Table, facts: Facts) -> object:
    if table.hit == "collect":
        return findings_of(facts) & {row.id for row in table.rows}
    return decisions_of(facts)[table.id], rows_of(facts).get(table.id)


def verdict(ruleset: RuleSet, mutant: Mutant) -> str:
    """Return what notices a mutant, or that it is equivalent, or that it survived."""
    tables = {**ruleset.tables, mutant.table.id: mutant.table}
    changed = compile_leniently(tables.values(), _Known(ruleset))
    if not verify(changed).valid:
        return VERIFIED
    if any(_given(changed, mutant.table, inputs) != answer for inputs, answer in questions(mutant.table.id)):
        return ORACLE
    if _severities(mutant.table) != _promised(mutant.table):
        return ORACLE
    return EQUIVALENT if reason(ruleset, mutant) else SURVIVED


def _given(ruleset: RuleSet, table: Table, inputs: Mapping[str, Scalar]) -> object:
    decision = ruleset.decide(table.id, inputs)
    if table.hit == "collect":
        return {row.id for row in decision.rows}
    return dict(decision.outputs), decision.rows[0].id if table.id in _ROWS_SEEN else None


_ROWS_SEEN = frozenset(rows_of(facts_of(Choice())))


def reason(ruleset: RuleSet, mutant: Mutant) -> str:
    """Return why a mutant decides exactly as the shipped table does; empty when that is not proven."""
    if not mutant.column:
        return ""
    table = ruleset.tables[mutant.table.id]
    before, after = (found.rows[mutant.at].condition(mutant.column) for found in (table, mutant.table))
    atoms = atoms_of(ruleset.domains[table.id][mutant.column], [before, after])
    added = [atom.sample for atom in atoms if after.matches(atom.sample) and not before.matches(atom.sample)]
    earlier = [row.condition(mutant.column) for row in table.rows[: mutant.at]]
    if table.hit == "first" and len(table.columns) == 1:
        taken = all(any(condition.matches(value) for condition in earlier) for value in added)
        return "an earlier row takes the values" if taken else ""
    if added == [None] and table.stage != "resolve" and _always_set(ruleset, table, mutant.column):
        return "a table always derives the setting, so it is never unset"
    if added == [None] and table.stage != "resolve" and _set_beside(ruleset, mutant):
        return "a table derives the setting wherever the other cells hold"
    return ""


def _set_beside(ruleset: RuleSet, mutant: Mutant) -> bool:
    """Tell whether a derived setting has a value in every question for which the other cells of the row hold."""
    table = ruleset.tables[mutant.table.id]
    path = next(found.source.ref for found in table.columns if found.name == mutant.column)
    derived = {target for other in ruleset.tables.values() for target in other.sets.values()}
    others = {name: cell for name, cell in table.rows[mutant.at].when.items() if name != mutant.column}
    asked = [
        inputs for inputs, _ in questions(table.id) if all(cell.matches(inputs[name]) for name, cell in others.items())
    ]
    return path in derived and bool(others and asked) and all(inputs[mutant.column] is not None for inputs in asked)


def _always_set(ruleset: RuleSet, table: Table, column: str) -> bool:
    path = next(found.source.ref for found in table.columns if found.name == column)
    return any(
        target == path and not other.outputs[output].optional
        for other in ruleset.tables.values()
        for output, target in other.sets.items()
    )


def _severities(table: Table) -> dict[str, str]:
    return {row.id: str(row.body["severity"]) for row in table.rows if row.body}


def _promised(table: Table) -> dict[str, str]:
    promised = {name: promise.severity for name, promise in PROMISES.items()}
    promised |= {name: severity for name, (_, severity) in PROBLEMS.items()}
    return {row.id: promised[row.id] for row in table.rows if row.body}


class _Known:
    """Answers with the domains that were found for the shipped tables."""

    def __init__(self, ruleset: RuleSet) -> None:
        self._domains = {
            column.source: ruleset.domains[table.id][column.name]
            for table in ruleset.tables.values()
            for column in table.columns
        }

    def domain(self, source: Any) -> Domain | None:
        """Return the domain of a source; targets of `sets` are known to exist."""
        return self._domains.get(source, Domain.text())


def run(word: str = "", say: Callable[[str], None] = lambda line: None) -> Counter[str]:
    """Try every mutant of the tables and rows whose name contains `word`; return counts by verdict."""
    ruleset = load_rulebook().ruleset
    counts: Counter[str] = Counter()
    for table in ruleset.tables.values():
        for mutant in mutants_of(ruleset, table) if word in table.id else ():
            found = verdict(ruleset, mutant)
            counts[found] += 1
            if found in (EQUIVALENT, SURVIVED):
                say(f"{found}: {mutant.name} {reason(ruleset, mutant)}".rstrip())
    return counts


def run_rows(word: str = "", say: Callable[[str], None] = lambda line: None) -> Counter[str]:
    """Try every mutant of the rows outside of tables whose name contains `word`; return counts by verdict."""
    counts: Counter[str] = Counter()
    for mutant in row_mutants():
        if word in mutant.name:
            found = row_verdict(mutant)
            counts[found] += 1
            if found == SURVIVED:
                say(f"{found}: {mutant.name}")
    return counts


def main() -> None:
    """Print the score."""
    word = "".join(sys.argv[1:2])
    for what, tried in (("table cells", run), ("other rows", run_rows)):
        began = time.perf_counter()
        counts = tried(word, _say)
        _say(
            f"{what}: {sum(counts.values())} mutants, {counts[VERIFIED]} caught by verification, {counts[ORACLE]} by "
            f"the contract's oracle, {counts[EQUIVALENT]} equivalent, {counts[SURVIVED]} survived "
            f"({time.perf_counter() - began:.1f} s)"
        )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
