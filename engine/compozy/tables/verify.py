"""Verify rule tables without a configuration: gaps, conflicts, masked and unreachable rows, values never decided.

Tables with faults are verified as well; no fault of a table raises an exception.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from compozy.base.findings import WARNING, Finding
from compozy.base.record import dataclass
from compozy.tables.atoms import atoms_of
from compozy.tables.axes import MOST_COMBINATIONS, Axis, AxisBuilder
from compozy.tables.cells import condition_words, scalar_words
from compozy.tables.cover import MOST_STEPS, OutOfStepsError
from compozy.tables.decide import RuleSet
from compozy.tables.gaps import gap_findings
from compozy.tables.pairs import masked_findings, masked_rows, pair_findings
from compozy.tables.row_reach import RowReach
from compozy.tables.subject import Subject
from compozy.tables.sweep import is_faultless
from compozy.tables.table import Identity, Row, Scalar, Table, identity

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
_TOO_MANY = "too many combinations of settings to distinguish"
_EXAMPLE_KEYS = ("severity", "text", "good", "bad")


@dataclass(frozen=True, slots=True)
class Verification:
    """All findings on a rule set, in the order of the tables, and how much was verified."""

    findings: tuple[Finding, ...]
    tables: int
    rows: int

    @property
    def valid(self) -> bool:
        """True if the list of findings is empty."""
        return not self.findings


def verify(
    ruleset: RuleSet,
    *,
    limit: int = 100,
    most: int = MOST_COMBINATIONS,
    steps: int = MOST_STEPS,
) -> Verification:
    """Verify a rule set.

    `limit` bounds how many findings of one kind are listed a table. Columns that depend on common
    settings are combined in at most `most` steps an operation; beyond that, each column counts with all values of
    its feeder, and findings on what may be unreachable are marked.
    Each search takes at most `steps`; a question that it leaves open is the finding `unproven`.
    """
    findings = [replace(fault, message=f'table "{fault.key}": {fault.message}') for fault in ruleset.faults]
    # A cell with an unknown value is reported once, and not again because it never holds.
    faulty = {place for fault in ruleset.faults if fault.id == "unknown-value" for place in fault.places}
    builder = AxisBuilder(ruleset, most)
    reach = RowReach(ruleset, builder)
    produced: dict[tuple[str, str], Sequence[Scalar]] = {}
    ordered = set(ruleset.order)
    names = (*ruleset.order, *[name for name in ruleset.tables if name not in ordered])
    # Tables of findings come last: no table reads them, and their proofs use that others decide.
    for name in sorted(names, key=lambda name: ruleset.tables[name].hit == "collect"):
        table = ruleset.tables[name]
        if reach.proves(table, produced):
            found, values = _reported(table, [], table.rows)
        else:
            try:
                found, values = _verify_table(ruleset, table, builder.axes(table, produced, lazily=True), limit, steps)
            except OutOfStepsError:  # too many points to report on
                found, values = _verify_table(ruleset, table, builder.axes(table, produced), limit, steps)
        if not found:
            reach.completed(table)
        findings += [finding for finding in found if not faulty.issuperset(finding.places)]
        produced.update({(name, output): of_output for output, of_output in values.items()})
    position = {name: number for number, name in enumerate(ruleset.tables)}
    findings.sort(key=lambda finding: position[finding.key])
    return Verification(tuple(findings), len(ruleset.tables), sum(len(t.rows) for t in ruleset.tables.values()))


def verify_table(ruleset: RuleSet, name: str) -> list[Finding]:
    """Verify one table of a rule set; of the tables that it reads, every output value counts."""
    table = ruleset.tables[name]
    return _verify_table(ruleset, table, AxisBuilder(ruleset).axes(table, {}), 100, MOST_STEPS)[0]


def _verify_table(
    ruleset: RuleSet, table: Table, axes: Sequence[Axis], limit: int, steps: int
) -> tuple[list[Finding], Mapping[str, Sequence[Scalar]]]:
    """Return the findings on a table, and the values of each output that rows of it can decide."""
    found: list[Finding] = []
    firing: Iterable[Row] = table.rows
    if not is_faultless(table, axes):
        found, firing = _searched(Subject.of(ruleset, table, axes, limit, steps))
    return _reported(table, found, firing)


def _reported(
    table: Table, found: list[Finding], firing: Iterable[Row]
) -> tuple[list[Finding], Mapping[str, Sequence[Scalar]]]:
    values = _produced_values(table, firing)
    return [*found, *_unproduced_findings(table, values), *_incomplete_findings(table)], values


def _searched(subject: Subject) -> tuple[list[Finding], list[Row]]:
    """Return the faults that a search finds, and the rows that can decide."""
    rows = subject.table.rows
    dead = [number for number in range(len(rows)) if not subject.fires(number)]
    masked, proven = masked_rows(subject)
    hidden = {*dead, *masked}
    found = [] if subject.table.hit == "collect" else gap_findings(subject)
    found += [_dead_finding(subject, number) for number in dead]
    found += masked_findings(subject, masked)
    found += [] if proven else [subject.unproven("whether each row can decide")]
    found += [] if subject.proven else [subject.unproven("whether each row can be reached", _TOO_MANY)]
    found += pair_findings(subject)
    return found, [row for number, row in enumerate(rows) if number not in hidden]


def _dead_finding(subject: Subject, number: int) -> Finding:
    row = subject.table.rows[number]
    for name, condition in row.when.items():
        atoms = atoms_of(subject.domains[name], [condition])
        if not any(condition.matches(atom.sample) for atom in atoms):
            message = f'row "{row.id}": no value of input "{name}" satisfies {condition_words(condition)}'
            place = row.cells.get(name, row.place)
            return Finding.at("contradiction", f'table "{subject.table.id}": {message}', place, key=subject.table.id)
    names = _unreached_inputs(subject, number)
    fed = any(column.source.kind == "decision" for column in subject.table.columns if column.name in names)
    why = "the tables that feed it never give" if fed else "no value shows"
    inputs = ", ".join(f"{name}: {condition_words(row.condition(name))}" for name in names)
    return subject.finding("unreachable", f'no settings reach row "{row.id}": {why} {inputs}', [row])


def _unreached_inputs(subject: Subject, number: int) -> list[str]:
    row = subject.table.rows[number]
    return [
        name
        for axis, cells in zip(subject.axes, subject.box(number), strict=True)
        if not cells
        for name in axis.columns
        if name in row.when
    ]


def _produced_values(table: Table, firing: Iterable[Row]) -> Mapping[str, Sequence[Scalar]]:
    values: dict[str, dict[Identity, Scalar]] = {output: {} for output in table.outputs}
    for row in firing if values else ():
        for output, value in row.then.items():
            values[output][value.__class__ is bool, value] = value
    return {output: tuple(known.values()) for output, known in values.items()}


def _unproduced_findings(table: Table, produced: Mapping[str, Sequence[Scalar]]) -> Iterator[Finding]:
    for output, domain in table.outputs.items():
        known = set(map(identity, produced[output]))
        missing = [value for value in domain.listed if identity(value) not in known]
        if missing:
            words = ", ".join("null" if value is None else scalar_words(value) for value in missing)
            message = f'table "{table.id}": no row that can decide gives output "{output}" the value {words}'
            yield Finding.at("unproduced", message, table.place, key=table.id, severity=WARNING)


def _incomplete_findings(table: Table) -> Iterator[Finding]:
    for row in table.rows:
        if row.body and None in map(row.body.get, _EXAMPLE_KEYS):
            missing = [key for key in _EXAMPLE_KEYS if row.body.get(key) is None]
            message = f'table "{table.id}": the finding of row "{row.id}" has no {", ".join(missing)}'
            yield Finding.at("incomplete-finding", message, row.place, key=table.id)
