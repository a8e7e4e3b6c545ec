"""Variables: the values of sources, cut into choices that no reader distinguishes.

The values of settings that several sources read are partitioned by the choices that these sources have together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import repeat
from math import prod
from typing import TypeAlias

from compozy.base.record import dataclass
from compozy.tables.atoms import Atom, atoms_of, samples_in, samples_of
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

    @cached_property
    def choices(self) -> Mapping[ColumnSource, tuple[int, ...]]:
        """The choices of each source, one for each member."""
        columns = zip(*[choices for choices, _ in self.members], strict=True) if self.members else repeat(())
        return dict(zip(self.sources, columns, strict=False))

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
                # Every combination was found, so that further observations can only repeat them.
                if len(members) == most:
                    break
        return cls(tuple(sources), tuple(variables), tuple(members.items()), level)


class SourceVariables:
    """Cuts sources into variables, once for the same readers."""

    def __init__(self, ruleset: RuleSet) -> None:
        self._ruleset = ruleset
        self._known: dict[object, Variable] = {}
        self._of_rows: dict[ColumnSource, list[int]] = {}

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

    def choices_of_rows(self, decision: ColumnSource) -> list[int]:
        """Return for each row of a decision's table the choice of its output."""
        found = self._of_rows.get(decision)
        if found is None:
            place, output = self.decided(decision).choice_of, decision.output or ""
            found = [place(row.then[output]) for row in self._ruleset.tables[decision.ref].rows]
            self._of_rows[decision] = found
        return found

    def rows_of_origins(self, decision: ColumnSource) -> list[int]:
        """Return for each choice of the origin of a value the rows of the decision that may be behind it, as bits."""
        variable, output = self.origin(decision), decision.output or ""
        # -1 has every bit: a written value may stand beside each row of the decision.
        found = [-1 if choice[0].sample == WRITTEN else 0 for choice in variable.choices]
        for number, row in enumerate(self._ruleset.tables[decision.ref].rows):
            found[variable.choice_of(row.then[output])] |= 1 << number
        return found

    def _listed(self, key: ColumnSource, widen: Callable[[Domain], Domain]) -> Variable:
        if key not in self._known:
            domain = widen(produced_domain(self._ruleset.tables[key.ref], key.output or ""))
            self._known[key] = Variable(tuple((atom,) for atom in atoms_of(domain, ())), domain)
        return self._known[key]

    def _cut(self, source: ColumnSource, readers: Sequence[Reader]) -> Variable:
        table_id, column = readers[0]
        domain = self._ruleset.domains[table_id][column]
        compiled = self._ruleset.compiled
        conditions: list[Condition] = []
        if domain.kind != "finite":
            conditions += [r.when[name] for t, name in readers for r in compiled[t].table.rows if name in r.when]
            conditions += [] if self._ruleset.viewer is None else self._ruleset.viewer.limits(source)
        samples = samples_of(domain, conditions)
        indexes = [compiled[table_id].index(name) for table_id, name in readers]
        numbers: dict[tuple[int, ...], int] = {}
        held = zip(*[map(index.rows_at, samples) for index in indexes], strict=True)
        cut = tuple([numbers.setdefault(rows, len(numbers)) for rows in held])
        # Readers that distinguish the same have the same variable.
        key = (source, domain, cut, *dict.fromkeys(conditions))
        found = self._known.get(key)
        if found is None:
            alike: list[list[Atom]] = [[] for _ in numbers]
            for number, atom in zip(cut, atoms_of(domain, conditions), strict=True):
                alike[number].append(atom)
            found = self._known[key] = Variable(tuple(map(tuple, alike)), domain)
        return found
