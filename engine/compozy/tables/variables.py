"""Variables: the values of sources, cut into choices that no reader distinguishes.

The values of settings that several sources read are partitioned by the choices that these sources have together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from math import prod
from typing import TypeAlias

from compozy.base.record import dataclass
from compozy.tables.atoms import Atom, atoms_of, samples_in
from compozy.tables.decide import RuleSet
from compozy.tables.index import ColumnIndex
from compozy.tables.link import produced_domain
from compozy.tables.observation import ORIGIN, WRITTEN, Assignment, Observation
from compozy.tables.table import ColumnSource, Condition, Domain, Identity, Scalar, identity

# A column of a table, by the names of both.
Reader: TypeAlias = tuple[str, str]
# The choice of a value that is not in the domain.
OUTSIDE = -1


@dataclass(frozen=True, eq=False)
class Variable:
    """A source's values: atoms that no reader distinguishes are one choice; equal to itself only."""

    choices: tuple[tuple[Atom, ...], ...]
    domain: Domain

    def rows_at(self, index: ColumnIndex) -> list[int]:
        """Return for each choice the rows of a column that hold there."""
        return [index.rows_at(choice[0].sample) for choice in self.choices]

    def samples(self, most: int) -> list[Scalar]:
        """Return up to `most` values of each atom, those aside that stand for all unlisted texts."""
        atoms = (atom for choice in self.choices for atom in choice if not atom.other)
        return [value for atom in atoms for value in samples_in(atom, self.domain, most)]

    def choice_of(self, value: Scalar) -> int:
        """Return the choice that holds a value, or `OUTSIDE`."""
        key = identity(value)
        if key not in self._places:
            self._places[key] = self._place(value)
        return self._places[key]

    @cached_property
    def _places(self) -> dict[Identity, int]:
        return {
            identity(atom.sample): number
            for number, choice in enumerate(self.choices)
            for atom in choice
            if not atom.other
        }

    def _place(self, value: Scalar) -> int:
        """Return the choice of a value that is not the sample of an atom."""
        atoms = ((number, atom) for number, choice in enumerate(self.choices) for atom in choice)
        return next(
            (n for n, atom in atoms if (atom.other and isinstance(value, str)) or _inside(atom, value)), OUTSIDE
        )


def _inside(atom: Atom, value: Scalar) -> bool:
    if atom.interval is None or not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return atom.interval.contains(value)


@dataclass(frozen=True, eq=False)
class Partition:
    """The values of settings that sources read in common, partitioned by the choices of the sources.

    A member is a feasible combination of choices, one for each source, with settings that lead to it.
    `level` is the position of the partition among the variables of decision diagrams.
    """

    sources: tuple[ColumnSource, ...]
    variables: tuple[Variable, ...]
    members: tuple[tuple[tuple[int, ...], Assignment], ...]
    level: int

    @classmethod
    def of_one(cls, source: ColumnSource, variable: Variable, level: int) -> Partition:
        """Return the partition of a source that alone reads a setting and can have each of its values."""
        samples = (choice[0].sample for choice in variable.choices)
        members = tuple(((number,), ((source, sample),)) for number, sample in enumerate(samples))
        return cls((source,), (variable,), members, level)

    @classmethod
    def of_observed(
        cls,
        sources: Sequence[ColumnSource],
        variables: Sequence[Variable],
        observations: Iterable[Observation],
        level: int,
    ) -> Partition:
        """Return the partition that observations give; the first observation of a combination counts."""
        members: dict[tuple[int, ...], Assignment] = {}
        most = prod(len(variable.choices) for variable in variables)
        for observation in observations:
            found = tuple(map(Variable.choice_of, variables, observation.values))
            # A value outside a domain is reported where it is written, and no row can ask for it.
            if OUTSIDE not in found and found not in members:
                members[found] = observation.assignment
                if len(members) == most:
                    break
        return cls(tuple(sources), tuple(variables), tuple(members.items()), level)


class SourceVariables:
    """Cuts sources into variables, once for the same readers."""

    def __init__(self, ruleset: RuleSet) -> None:
        self._ruleset = ruleset
        self._known: dict[object, Variable] = {}

    def read(self, source: ColumnSource, readers: Sequence[Reader]) -> Variable:
        """Return the variable of a source, cut so finely that no reader distinguishes more."""
        key = tuple(readers)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._cut(source, readers)
        return found

    def decided(self, decision: ColumnSource) -> Variable:
        """Return the variable of an output, of which each value is a choice."""
        return self._listed(decision, lambda domain: domain)

    def origin(self, decision: ColumnSource) -> Variable:
        """Return the variable of the origin of a value that a decision may give."""
        return self._listed(
            decision._replace(kind=ORIGIN),
            lambda domain: Domain.finite([*domain.values, WRITTEN], optional=domain.optional),
        )

    def _listed(self, key: ColumnSource, widen: Callable[[Domain], Domain]) -> Variable:
        if key not in self._known:
            domain = widen(produced_domain(self._ruleset.tables[key.ref], key.output or ""))
            self._known[key] = Variable(tuple((atom,) for atom in atoms_of(domain, ())), domain)
        return self._known[key]

    def _cut(self, source: ColumnSource, readers: Sequence[Reader]) -> Variable:
        table_id, column = readers[0]
        domain = self._ruleset.domains[table_id][column]
        tables = self._ruleset.tables
        conditions: list[Condition] = [r.when[name] for t, name in readers for r in tables[t].rows if name in r.when]
        if self._ruleset.viewer is not None:
            conditions += self._ruleset.viewer.limits(source)
        # Readers with the same conditions distinguish the same.
        key = (source, domain, *dict.fromkeys(conditions))
        found = self._known.get(key)
        if found is None:
            indexes = [self._ruleset.compiled[t].index(name) for t, name in readers]
            alike: dict[tuple[int, ...], list[Atom]] = {}
            for atom in atoms_of(domain, conditions):
                alike.setdefault(tuple([index.rows_at(atom.sample) for index in indexes]), []).append(atom)
            found = self._known[key] = Variable(tuple(map(tuple, alike.values())), domain)
        return found
