"""Which combinations of decisions some settings can bring about, table after table.

What comes in: tables in the order of evaluation, the last of which only reads. What goes out: the
combinations of values that its columns can have together, each with settings that lead there. Values
are forgotten as soon as no later table reads them, so a long chain stays small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TypeAlias

from compozy.tables.atoms import Atom, atoms_of
from compozy.tables.decide import RuleSet
from compozy.tables.index import ColumnIndex
from compozy.tables.table import Column, Condition, Scalar, Source, Table, identity

Assignment: TypeAlias = tuple[tuple[Source, Scalar], ...]
Relation: TypeAlias = dict[tuple[int, ...], Assignment]


@dataclass(frozen=True, slots=True)
class Step:
    """A table, the columns of it that matter, and where each of them reads; outputs are named."""

    table: Table
    columns: tuple[Column, ...]
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A source's values: atoms that no reader can tell apart are one choice."""

    choices: tuple[tuple[Atom, ...], ...]

    def rows_at(self, index: ColumnIndex) -> list[int]:
        """Return for each choice the rows of a column that hold there."""
        return [index.rows_at(choice[0].sample) for choice in self.choices]


def variables_of(ruleset: RuleSet, steps: Sequence[Step]) -> dict[Source, Variable]:
    """Cut every source that the steps read, so finely that no reader distinguishes more."""
    readers: dict[Source, list[tuple[Table, Column]]] = {}
    for step in steps:
        for column, source in zip(step.columns, step.sources, strict=True):
            readers.setdefault(source, []).append((step.table, column))
    return {source: _variable(ruleset, source, reading) for source, reading in readers.items()}


def _variable(ruleset: RuleSet, source: Source, readers: Sequence[tuple[Table, Column]]) -> Variable:
    table, column = readers[0]
    domain = ruleset.domains[table.id][column.name]
    if source.kind == "decision":
        return Variable(tuple((atom,) for atom in atoms_of(domain, ())))
    conditions: list[Condition] = [row.condition(c.name) for t, c in readers for row in t.rows]
    indexes = [ruleset.compiled[t.id].index(c.name) for t, c in readers]
    alike: dict[tuple[int, ...], list[Atom]] = {}
    for atom in atoms_of(domain, conditions):
        alike.setdefault(tuple(index.rows_at(atom.sample) for index in indexes), []).append(atom)
    return Variable(tuple(tuple(atoms) for atoms in alike.values()))


def combine(
    ruleset: RuleSet, steps: Sequence[Step], variables: Mapping[Source, Variable], most: int
) -> Relation | None:
    """Return the combinations of choices of the last step's columns, by position in its columns.

    A combination for which a table has no row is dropped: that gap is the feeding table's own. Returns
    `None` when more than `most` combinations would have to be looked at together.
    """
    last_read = {source: number for number, step in enumerate(steps) for source in step.sources}
    live: list[Source] = []
    relation: Relation | None = {(): ()}
    for number, step in enumerate(steps):
        for source in step.sources:
            if source not in live and relation is not None:
                relation = _crossed(relation, source, variables[source], most)
                live.append(source)
        if relation is None:
            return None
        if number < len(steps) - 1:
            kept = [source for source in live if last_read[source] > number]
            relation, live = _decided(ruleset, step, variables, relation, live, kept)
    return _projected(relation or {}, [live.index(source) for source in steps[-1].sources])


def _crossed(relation: Relation, source: Source, variable: Variable, most: int) -> Relation | None:
    if len(relation) * len(variable.choices) > most:
        return None
    return {
        (*values, number): (*witness, (source, choice[0].sample))
        for values, witness in relation.items()
        for number, choice in enumerate(variable.choices)
    }


def _decided(
    ruleset: RuleSet,
    step: Step,
    variables: Mapping[Source, Variable],
    relation: Relation,
    live: Sequence[Source],
    kept: Sequence[Source],
) -> tuple[Relation, list[Source]]:
    """Let a table decide every combination; its outputs join the values that are kept."""
    compiled = ruleset.compiled[step.table.id]
    readers = [
        (live.index(source), variables[source].rows_at(compiled.index(column.name)))
        for column, source in zip(step.columns, step.sources, strict=True)
    ]
    outputs = [source for source in variables if source.kind == "decision" and source.ref == step.table.id]
    decided = _decisions(step.table, outputs, variables)
    kept_of = _picker([live.index(source) for source in kept])
    after: Relation = {}
    for values, witness in relation.items():
        rows = compiled.everything
        for position, held in readers:
            rows &= held[values[position]]
        if rows:
            row = (rows & -rows).bit_length() - 1
            after.setdefault(kept_of(values) + decided[row], witness)
    return after, [*kept, *outputs]


def _decisions(table: Table, outputs: Sequence[Source], variables: Mapping[Source, Variable]) -> list[tuple[int, ...]]:
    """Return for each row the choices that it decides, one an output."""
    numbers = [
        {identity(choice[0].sample): number for number, choice in enumerate(variables[source].choices)}
        for source in outputs
    ]
    names = [source.output or "" for source in outputs]
    return [
        tuple(known[identity(row.then[name])] for known, name in zip(numbers, names, strict=True)) for row in table.rows
    ]


def _projected(relation: Relation, positions: Sequence[int]) -> Relation:
    pick = _picker(positions)
    projected: Relation = {}
    for values, witness in relation.items():
        projected.setdefault(pick(values), witness)
    return projected


def _picker(positions: Sequence[int]) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    # The loops above run for every combination: an itemgetter takes half the time of a comprehension.
    if len(positions) > 1:
        return itemgetter(*positions)
    return lambda values: tuple(values[position] for position in positions)
