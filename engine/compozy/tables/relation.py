"""Which combinations of decisions some settings can bring about, table after table.

What comes in: tables in the order of evaluation, the last of which only reads. What goes out: the
combinations of values that its columns can have together, each with settings that lead there.

Settings are chosen one after the other. Of what was chosen only the rows that still can decide are
kept, a bit set for each table; choices that leave the same rows are one. So what grows is the number of
ways in which the tables can still go on, not that of the configurations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import and_
from typing import TypeAlias

from compozy.tables.alive import Narrowing, Undecided
from compozy.tables.atoms import Atom, atoms_of, samples_in
from compozy.tables.decide import RuleSet
from compozy.tables.index import ColumnIndex
from compozy.tables.link import produced_domain
from compozy.tables.sight import WRITTEN, Assignment, Sight
from compozy.tables.table import Column, Condition, Domain, Identity, Scalar, Source, Table, identity

Relation: TypeAlias = dict[tuple[int, ...], Assignment]
Move: TypeAlias = tuple[int, int, Narrowing]


@dataclass(frozen=True, slots=True)
class Step:
    """A table, the columns of it that matter, and where each of them reads; outputs are named."""

    table: Table
    columns: tuple[Column, ...]
    sources: tuple[Source, ...]


@dataclass(frozen=True, eq=False)
class Variable:
    """A source's values: atoms that no reader can tell apart are one choice; equal to itself only."""

    choices: tuple[tuple[Atom, ...], ...]
    domain: Domain

    def rows_at(self, index: ColumnIndex) -> list[int]:
        """Return for each choice the rows of a column that hold there."""
        return [index.rows_at(choice[0].sample) for choice in self.choices]

    def samples(self, most: int) -> list[Scalar]:
        """Return up to `most` values of each atom, those aside that stand for all unlisted texts."""
        atoms = (atom for choice in self.choices for atom in choice if not atom.other)
        return [value for atom in atoms for value in samples_in(atom, self.domain, most)]

    def choice_of(self, value: Scalar) -> int | None:
        """Return the choice that holds a value; `None` when it is outside the domain."""
        key = identity(value)
        if key not in self._places:
            self._places[key] = self._place(value)
        return self._places[key]

    @cached_property
    def _places(self) -> dict[Identity, int | None]:
        return {
            identity(atom.sample): number
            for number, choice in enumerate(self.choices)
            for atom in choice
            if not atom.other
        }

    def _place(self, value: Scalar) -> int | None:
        """Return the choice of a value that is no atom's sample."""
        atoms = ((number, atom) for number, choice in enumerate(self.choices) for atom in choice)
        return next((n for n, atom in atoms if (atom.other and isinstance(value, str)) or _inside(atom, value)), None)


def _inside(atom: Atom, value: Scalar) -> bool:
    if atom.interval is None or not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return atom.interval.contains(value)


@dataclass(frozen=True, slots=True)
class Family:
    """Sources that look at one underlying value; a member is a choice of each of them, seen together."""

    sources: tuple[Source, ...]
    members: tuple[tuple[tuple[int, ...], Assignment], ...]


def plain_family(source: Source, variable: Variable) -> Family:
    """Return the family of a source that nothing else looks at: each choice by itself."""
    samples = (choice[0].sample for choice in variable.choices)
    return Family((source,), tuple(((number,), ((source, sample),)) for number, sample in enumerate(samples)))


def seen_family(sources: Sequence[Source], variables: Mapping[Source, Variable], sights: Iterable[Sight]) -> Family:
    """Return what sources show together, the first sight of each combination counts."""
    members: dict[tuple[int, ...], Assignment] = {}
    for sight in sights:
        choices = [variables[source].choice_of(seen) for source, seen in zip(sources, sight.seen, strict=True)]
        # What lies outside a domain is reported where it is written, and no row can ask for it.
        if None not in choices:
            members.setdefault(tuple(choice for choice in choices if choice is not None), sight.said)
    return Family(tuple(sources), tuple(members.items()))


class Cutter:
    """Cuts sources into variables, once for the same readers."""

    def __init__(self, ruleset: RuleSet) -> None:
        self._ruleset = ruleset
        self._known: dict[object, Variable] = {}

    def variables(self, steps: Sequence[Step], agreements: Mapping[Source, Source]) -> dict[Source, Variable]:
        """Cut every source that the steps read, so finely that no reader distinguishes more."""
        readers: dict[Source, list[tuple[str, str]]] = {}
        for step in steps:
            for column, source in zip(step.columns, step.sources, strict=True):
                readers.setdefault(source, []).append((step.table.id, column.name))
        found = {source: self._variable(source, reading) for source, reading in readers.items()}
        for origin, decision in agreements.items():
            found[decision] = self._variable(decision, ())
            found[origin] = self._origin(origin, found[decision].domain)
        return found

    def _variable(self, source: Source, readers: Sequence[tuple[str, str]]) -> Variable:
        # What a table decides is cut the same way for every reader.
        key = source if source.kind == "decision" else tuple(readers)
        known = self._known.get(key)
        if known is None:
            decided = source.kind == "decision"
            known = self._known[key] = self._decided(source) if decided else self._cut(source, readers)
        return known

    def _origin(self, origin: Source, decided: Domain) -> Variable:
        known = self._known.get(origin)
        if known is None:
            domain = Domain.finite([*decided.values, WRITTEN], optional=decided.optional)
            known = self._known[origin] = _listed(domain)
        return known

    def _decided(self, source: Source) -> Variable:
        return _listed(produced_domain(self._ruleset.tables[source.ref], source.output or ""))

    def _cut(self, source: Source, readers: Sequence[tuple[str, str]]) -> Variable:
        table_id, column = readers[0]
        domain = self._ruleset.domains[table_id][column]
        tables = self._ruleset.tables
        conditions: list[Condition] = [row.condition(name) for t, name in readers for row in tables[t].rows]
        if self._ruleset.viewer is not None:
            conditions += self._ruleset.viewer.limits(source)
        indexes = [self._ruleset.compiled[t].index(name) for t, name in readers]
        alike: dict[tuple[int, ...], list[Atom]] = {}
        for atom in atoms_of(domain, conditions):
            alike.setdefault(tuple(index.rows_at(atom.sample) for index in indexes), []).append(atom)
        return Variable(tuple(tuple(atoms) for atoms in alike.values()), domain)


def _listed(domain: Domain) -> Variable:
    """Return the variable whose every value is a choice."""
    return Variable(tuple((atom,) for atom in atoms_of(domain, ())), domain)


def combine(
    opened: Opened,
    steps: Sequence[Step],
    variables: Mapping[Source, Variable],
    families: Mapping[Source, Family],
    agreements: Mapping[Source, Source],
    most: int,
) -> Relation | None:
    """Return the combinations of choices of the last step's columns, by position in its columns.

    `agreements` maps the origin of a value to the decision that gives it where nothing is written. A combination for
    which a table has no row is dropped: that gap is the feeding table's own. Returns `None` when more than `most`
    combinations would have to be looked at together.
    """
    walk = _Walk(opened, steps, variables, agreements, most)
    for number, step in enumerate(steps):
        for source in step.sources:
            if source not in walk.chosen and not walk.choose(families[source]):
                return None
        if number < len(steps) - 1:
            walk.decide(number)
    return walk.relation_of(steps[-1].sources)


class _Walk:
    """The ways in which tables can still go on: for each table what is left of it, for each kept source its choice.

    A kept source counts as a table with a row for each choice, so that both are narrowed alike.
    """

    def __init__(
        self,
        opened: Opened,
        steps: Sequence[Step],
        variables: Mapping[Source, Variable],
        agreements: Mapping[Source, Source],
        most: int,
    ) -> None:
        self.most = most
        self.chosen: set[Source] = set()
        pairs = [opened.table(step, variables) for step in steps[:-1]]
        self.outcomes = [outcomes for outcomes, _ in pairs]
        self.slots = [undecided for _, undecided in pairs]
        self.kept = {source: len(self.slots) + number for number, source in enumerate(dict.fromkeys(steps[-1].sources))}
        for source in self.kept:
            rows = range(len(variables[source].choices))
            self.slots.append(Undecided.of({source: [1 << row for row in rows]}, rows))
        self.slots += [_agreement(o, d, len(variables[d].choices)) for o, d in agreements.items()]
        self.readers: dict[Source, list[int]] = {}
        for position, slot in enumerate(self.slots):
            for source in slot.held:
                self.readers.setdefault(source, []).append(position)
        self.relation: Relation = {tuple(slot.start for slot in self.slots): ()}

    def choose(self, family: Family) -> bool:
        """Let a setting be anything, with all that looks at it; tell whether that is not too much."""
        if len(self.relation) * len(family.members) > self.most:
            return False
        self.chosen.update(family.sources)
        moves = self._moves(family.sources, [choices for choices, _ in family.members])
        options = [(moved, said) for moved, (_, said) in zip(moves, family.members, strict=True)]
        after: Relation = {}
        for state, witness in self.relation.items():
            for moved, said in options:
                _advance(after, list(state), moved, witness, said)
        self.relation = after
        return True

    def decide(self, number: int) -> None:
        """Let a table decide; its outputs are chosen by that."""
        outcomes, table = self.outcomes[number], self.slots[number]
        self.chosen.update(outcomes.sources)
        moves = self._moves(outcomes.sources, outcomes.choices)
        after: Relation = {}
        decided: dict[int, int | None] = {}
        for state, witness in self.relation.items():
            left = state[number]
            if left not in decided:
                decided[left] = table.decision(left)
            decision = decided[left]
            if decision is not None:
                _advance(after, [*state[:number], 0, *state[number + 1 :]], moves[decision], witness, ())
        self.relation = after

    def _moves(self, sources: Sequence[Source], members: Iterable[Sequence[int]]) -> list[list[Move]]:
        """Return what each member leaves of every slot that reads one of the sources."""
        reading: dict[int, list[tuple[int, Sequence[int]]]] = {}
        for number, source in enumerate(sources):
            for position in self.readers[source]:
                reading.setdefault(position, []).append((number, self.slots[position].held[source]))
        narrowing = [(at, self.slots[at].narrowing(self.chosen), reads) for at, reads in reading.items()]
        return [
            [(at, reduce(and_, [held[choices[n]] for n, held in reads]), narrow) for at, narrow, reads in narrowing]
            for choices in members
        ]

    def relation_of(self, sources: Sequence[Source]) -> Relation:
        """Return the choices of sources that were kept, with settings that lead there."""
        reads = [(self.kept[source], self.slots[self.kept[source]]) for source in sources]
        found: Relation = {}
        for state, witness in self.relation.items():
            found.setdefault(tuple([slot.decision(state[at]) or 0 for at, slot in reads]), witness)
        return found


def _advance(after: Relation, state: list[int], moves: Sequence[Move], witness: Assignment, said: Assignment) -> None:
    for position, mask, narrowed in moves:
        left = narrowed[state[position] & mask]
        if not left:
            return
        state[position] = left
    key = tuple(state)
    if key not in after:
        after[key] = witness + said


def _agreement(origin: Source, decision: Source, decided: int) -> Undecided[Source]:
    """Return a table that has a row where a value was written, and where it is the one of the decision."""
    # The choices of the origin are those of the decision, and behind them that something was written.
    held = {
        origin: [1 << number for number in range(decided + 1)],
        decision: [1 << number | 1 << decided for number in range(decided)],
    }
    return Undecided.of(held, [0] * (decided + 1))


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """What a table decides: a choice for each of `sources`, `decided` the number of it for each row."""

    sources: tuple[Source, ...]
    choices: tuple[tuple[int, ...], ...]
    decided: tuple[int, ...]


class Opened:
    """Tables before anything is chosen, made once for the same variables."""

    def __init__(self, ruleset: RuleSet) -> None:
        self._ruleset = ruleset
        self._known: dict[object, tuple[_Outcomes, Undecided[Source]]] = {}

    def table(self, step: Step, variables: Mapping[Source, Variable]) -> tuple[_Outcomes, Undecided[Source]]:
        """Return what a table can decide of what later tables read, and what is left of it: everything."""
        read = tuple(source for source in variables if source.kind == "decision" and source.ref == step.table.id)
        key = (step.table.id, read, *(variables[source] for source in step.sources))
        known = self._known.get(key)
        if known is None:
            outcomes = _outcomes(step.table, read, variables)
            known = self._known[key] = (outcomes, Undecided.of(self._held(step, variables), outcomes.decided))
        return known

    def _held(self, step: Step, variables: Mapping[Source, Variable]) -> dict[Source, list[int]]:
        """Return the rows that hold at each choice of each source that a table reads."""
        compiled = self._ruleset.compiled[step.table.id]
        held: dict[Source, list[int]] = {}
        for column, source in zip(step.columns, step.sources, strict=True):
            rows = variables[source].rows_at(compiled.index(column.name))
            before = held.get(source)
            held[source] = rows if before is None else [a & b for a, b in zip(before, rows, strict=True)]
        return held


def _outcomes(table: Table, sources: tuple[Source, ...], variables: Mapping[Source, Variable]) -> _Outcomes:
    """Tell apart what later tables read, and nothing else."""
    found: dict[tuple[int, ...], int] = {}
    decided = [
        found.setdefault(tuple(variables[s].choice_of(row.then[s.output or ""]) or 0 for s in sources), len(found))
        for row in table.rows
    ]
    return _Outcomes(sources, tuple(found), tuple(decided))
