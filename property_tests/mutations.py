"""Change every shipped row in every small way, and see that each change is noticed.

The result is a score. A mutant is caught by verification, or because some
combination of settings has another result than in `oracle`; the property tests ask the same questions.

    python -m property_tests.mutations            # everything, with the survivors
    python -m property_tests.mutations redis      # tables and rows whose name contains a word
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from property_tests.branching import Scan, answers, completed
from property_tests.choices import Choice, variables
from property_tests.contract_messages import message_faults, named
from property_tests.mutations_rows import ORACLE, SURVIVED, VERIFIED, row_mutants, row_verdict
from property_tests.oracle import DECISIONS, PROBLEMS, PROMISES, Facts, mode_row

from compozy.base.document import Scalar
from compozy.rulebook import load_rulebook
from compozy.tables.atoms import Atom, atoms_of
from compozy.tables.cells import condition_words, scalar_words
from compozy.tables.decide import RuleSet, compile_leniently
from compozy.tables.difference import compare_tables
from compozy.tables.table import ANY, Condition, Domain, Interval, Row, Table, is_number
from compozy.tables.verify import verify

EQUIVALENT = "equivalent"
# Mutants that agree with the contract in every combination, and that the comparison of tables cannot prove equivalent.
_ONLY_A_PORT = "without a host and a url the server is on this machine, which vector_store.transport decides"
PROVEN_ELSEWHERE = {
    **{
        f"validate.transport.vector_stores/vector_store.{row}: named widened to {words}": _ONLY_A_PORT
        for row in ("redis.password.clear", "pgvector.password.unprotected", "api_key.clear")
        for words in ("true or false", "any")
    },
    "validate.concurrency/worker.concurrency.sqlite: limit widened to 0 or > 10 or unset": (
        "the limit is never unset there: a table derives it where it is not set"
    ),
    "validate.transport.models/model.api_key.clear: url widened to clear or unverified": (
        "the url of a model is one of http, which is clear, or https, which is verified"
    ),
}


@dataclass(frozen=True)
class Mutant:
    """One changed table; `name` describes change and place: in the row at `at`, the cell of `column` if any."""

    name: str
    table: Table
    at: int
    column: str = ""
    same_severity: bool = False


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
        for words, outcome in _changed_outcomes(row, table):
            same_severity = outcome.body != row.body and outcome.body.get("severity") == row.body.get("severity")
            yield Mutant(f"{where}: {words}", _with(table, at, outcome), at, same_severity=same_severity)


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
    """Return the union of a condition with an atom; None if no condition expresses it."""
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
    removed = atom.interval or _point(atom.sample)
    intervals = condition.intervals if removed is None else _cut(condition.intervals, removed)
    return Condition.of(kept, intervals)


def _point(value: Scalar) -> Interval | None:
    return Interval(value, value) if is_number(value) else None


def _cut(intervals: Sequence[Interval], removed: Interval) -> Iterator[Interval]:
    for interval in intervals:
        below = Interval(interval.low, removed.low, interval.low_open, not removed.low_open)
        above = Interval(removed.high, interval.high, not removed.high_open, interval.high_open)
        if not interval.contains(removed.low if removed.low is not None else float("-inf")):
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
    for words, body in _changed_messages(row.body):
        yield words, replace(row, body=body)


def _changed_messages(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the finding about another key, and with each value, number or setting in its texts lost or changed."""
    if "key" in body:
        yield "key changed", {**body, "key": "version"}
    for column in ("text", "hint"):
        words = str(body.get(column, ""))
        if not words:
            continue
        yield f"{column} dropped", {**body, column: ""}
        for found in re.finditer(r"(?<!\{)\{\w[^}]*\}", words):
            yield f"{column} without {found[0]}", {**body, column: words[: found.start()] + words[found.end() :]}
        for number in dict.fromkeys(re.findall(r"(?<![\w.-])\d+(?![\w.])", words)):
            yield f"{column} with another {number}", {**body, column: words.replace(number, str(int(number) + 1))}
        for setting in sorted(named(words)):
            yield f"{column} without {setting}", {**body, column: words.replace(setting, "executions.retention")}


def verdict(ruleset: RuleSet, mutant: Mutant) -> str:
    """Return what notices a mutant, or that it is equivalent, or that it survived."""
    if is_wrong(mutant):
        return ORACLE
    tables = {**ruleset.tables, mutant.table.id: mutant.table}
    if not verify(compile_leniently(tables.values(), _Known(ruleset))).valid:
        return VERIFIED
    equivalent = mutant.name in PROVEN_ELSEWHERE or is_equivalent(ruleset, mutant)
    return EQUIVALENT if equivalent else SURVIVED


def is_wrong(mutant: Mutant) -> bool:
    """Return True if the contract promises another severity, or another answer in some combination."""
    table = mutant.table
    if _severities(table) != _promised(table):
        return True
    if mutant.same_severity:
        return next(message_faults(table, table.rows[mutant.at]), None) is not None
    if table.for_each == "problems":
        return any(_reported(table, {"problem": kind}) != {name} for name, (kind, _) in PROBLEMS.items())
    same = _same_decision if table.hit != "collect" else _same_finding
    rulebook = load_rulebook()
    tables = {**rulebook.ruleset.tables, table.id: table}
    row = rulebook.ruleset.tables[table.id].rows[mutant.at].id
    if table.hit == "collect":
        table = _alone(table, row)

    def question(choice: Choice) -> bool:
        return same(Scan(rulebook, choice, tables), table, row, Facts(choice))

    # Which row is asked about matters only where the rows of a table are independent of each other.
    if not all(question(choice) for choice in quick_choices(table.id, row if table.hit == "collect" else "")):
        return True
    return not all(answer.value for answer in answers(variables(load_rulebook()), question))


@cache
def quick_choices(table_id: str, row: str) -> tuple[Choice, ...]:
    """Return combinations of many different answers; most mutants are wrong in one of these."""
    rulebook = load_rulebook()
    table = rulebook.ruleset.tables[table_id]

    def question(choice: Choice) -> bool:
        facts = Facts(choice)
        scan = Scan(rulebook, choice, rulebook.ruleset.tables)
        return _same_decision(scan, table, row, facts) if table.hit != "collect" else PROMISES[row].when(facts)

    found = list(answers(variables(load_rulebook()), question))
    positive = [answer for answer in found if answer.value]
    sampled = [*positive[:: 1 + len(positive) // 20], *found[:: 1 + len(found) // 40]]
    return tuple(completed(variables(load_rulebook()), answer, seed) for seed, answer in enumerate(sampled))


def _alone(table: Table, row: str) -> Table:
    """Return a collecting table with one of its rows: the rows of such a table are independent of each other."""
    return replace(table, rows=tuple(found for found in table.rows if found.id == row))


def _same_decision(scan: Scan, table: Table, row: str, facts: Facts) -> bool:
    decided = next(scan.matching(table), None)
    if decided is None or decided.then != DECISIONS[table.id](facts):
        return False
    return table.id != "mode" or decided.id == mode_row(facts)


def _same_finding(scan: Scan, table: Table, row: str, facts: Facts) -> bool:
    return any(scan.matching(table)) == PROMISES[row].when(facts)


def _reported(table: Table, inputs: Mapping[str, Scalar]) -> set[str]:
    return {row.id for row in table.rows if all(cell.matches(inputs[name]) for name, cell in row.when.items())}


def is_equivalent(ruleset: RuleSet, mutant: Mutant) -> bool:
    """Return True if no configuration shows a difference between a mutant and the shipped table."""
    assert ruleset.viewer is not None
    tables = {**ruleset.tables, mutant.table.id: mutant.table}
    return compare_tables(ruleset.tables, tables, _Known(ruleset), ruleset.viewer).same


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


def run(word: str = "", report: Callable[[str], None] = lambda line: None) -> Counter[str]:
    """Try every mutant of the tables and rows whose name contains `word`; return counts by verdict."""
    ruleset = load_rulebook().ruleset
    counts: Counter[str] = Counter()
    for table in ruleset.tables.values():
        for mutant in mutants_of(ruleset, table) if word in table.id else ():
            found = verdict(ruleset, mutant)
            counts[found] += 1
            if found in (EQUIVALENT, SURVIVED):
                report(f"{found}: {mutant.name} {PROVEN_ELSEWHERE.get(mutant.name, '')}".rstrip())
    return counts


def run_rows(word: str = "", report: Callable[[str], None] = lambda line: None) -> Counter[str]:
    """Try every mutant of the rows outside of tables whose name contains `word`; return counts by verdict."""
    counts: Counter[str] = Counter()
    for mutant in row_mutants():
        if word in mutant.name:
            found = row_verdict(mutant)
            counts[found] += 1
            if found == SURVIVED:
                report(f"{found}: {mutant.name}")
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
