"""Every combination of texts, divided only where an answer depends on it.

A question is a function of a choice. It is asked with nothing decided; when it reads a setting, the question is
repeated once for each option of that setting. Each answer therefore stands for every combination of the settings
that it never read, and the numbers of combinations add up to the whole space: nothing is left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeVar

from property_tests.choices import DIRECTORY, Choice, Text, Variable, choice_of, read_flag, size

from compozy.base.place import DEFAULT, Origin
from compozy.resolution.resolve import UNSET, ListElement, Value, cell, named_elements
from compozy.rulebook import Rulebook
from compozy.settings.identity_key import ById
from compozy.settings.origin import Candidate
from compozy.settings.registry import Registry
from compozy.settings.values import from_text
from compozy.tables.table import ColumnSource, Decision, Row, Table

T = TypeVar("T")


class UndecidedError(Exception):
    """A question read a setting or a fact that was not decided yet."""

    def __init__(self, ref: str) -> None:
        super().__init__(ref)
        self.ref = ref


class _Texts(Mapping[str, str]):
    """The decided texts of settings, or the decided words of facts; `options` are of all that may be decided."""

    def __init__(self, decided: Mapping[str, Text], options: Mapping[str, Sequence[Text]]) -> None:
        self.decided, self.options = decided, options

    def __getitem__(self, ref: str) -> str:
        text = self.decided.get(ref)
        if text is not None:
            return text
        if ref not in self.decided and ref in self.options:
            raise UndecidedError(ref)
        raise KeyError(ref)

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError("a question names what it reads")

    def __len__(self) -> int:
        raise NotImplementedError("a question names what it reads")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """An answer, what was decided when it was given, and the number of combinations that it stands for."""

    decided: Mapping[str, Text]
    value: T
    combinations: int


def answers(variables: Sequence[Variable], question: Callable[[Choice], T]) -> Iterator[Answer[T]]:
    """Yield the answers to a question over every combination of the options of the variables."""
    options = {variable.source.ref: variable.options for variable in variables}
    branches: list[tuple[dict[str, Text], int]] = [({}, size(variables))]
    while branches:
        decided, combinations = branches.pop()
        texts = _Texts(decided, options)
        try:
            yield Answer(decided, question(Choice(texts, texts)), combinations)
        except UndecidedError as undecided:
            found = options[undecided.ref]
            share = combinations // len(found)
            branches += [({**decided, undecided.ref: option}, share) for option in reversed(found)]


def completed(variables: Sequence[Variable], answer: Answer[T], seed: int) -> Choice:
    """Return one of the combinations that an answer stands for, with about half of the other settings unset."""
    draw = random.Random(seed)
    texts = {
        variable.source.ref: draw.choice(variable.options) if draw.random() < 0.5 else variable.options[0]
        for variable in variables
    }
    return choice_of(variables, {**texts, **answer.decided})


class Computed(dict[str, T]):
    """A mapping whose values are computed when they are first read."""

    def __init__(self, compute: Callable[[str], T]) -> None:
        self.compute = compute

    def __missing__(self, key: str) -> T:
        self[key] = self.compute(key)
        return self[key]

    def get(self, key: str, default: object = None) -> T:
        return self[key]


class Scan:
    """The tables of a rulebook under a choice: rows are scanned in order, and settings read when a cell needs them."""

    def __init__(self, rulebook: Rulebook, choice: Choice, tables: Mapping[str, Table]) -> None:
        self.rulebook, self.choice, self.tables = rulebook, choice, tables
        self.settings = rulebook.registry.settings
        self.given = Computed(self._given)
        self.accepted = Computed(self._accepted)
        self.values = Computed(self._effective)
        self.facts = Computed(self._fact)
        self.decisions = Computed(self._decide)

    def matching(self, table: Table) -> Iterator[Row]:
        """Yield the rows that match, of a table for each element of a list the rows that match some element."""
        elements = self._elements(table.for_each) if table.for_each else [None]
        for row in table.rows:
            if any(self._matches(table, row, element) for element in elements):
                yield row

    def _elements(self, path: str) -> Sequence[ListElement]:
        return named_elements(self.settings[path], self.values[path].value)

    def _matches(self, table: Table, row: Row, element: ListElement | None) -> bool:
        for column in table.columns:
            condition = row.when.get(column.name)
            if condition is None:
                continue
            source = column.source
            if source.kind == "decision":
                fed = self.tables[source.ref]
                about = self._about(fed, element) if fed.for_each and element is not None else self.decisions[fed.id]
                seen = about.outputs[source.output] if source.output else next(iter(about.outputs.values()))
            else:
                values = self.values if source.kind == "item" else self._read(table, source)
                seen = cell(column, values, self.settings, self.decisions, self.facts, DIRECTORY, element)
            if not condition.matches(seen):
                return False
        return True

    def _read(self, table: Table, source: ColumnSource) -> Mapping[str, Value]:
        if table.stage != "resolve":
            return self.values
        return self.accepted if source.view is None or " " in source.view else self.given

    def _decide(self, name: str) -> Decision:
        """Return a decision; of a table for each element of a list that about the first one, if there is one."""
        table = self.tables[name]
        if not table.for_each:
            row = next(self.matching(table))
            return Decision(name, (row,), {}, row.then)
        elements = self._elements(table.for_each)
        return self._about(table, elements[0]) if elements else Decision(name, (), {}, {})

    def _about(self, table: Table, element: ListElement) -> Decision:
        row = next(row for row in table.rows if self._matches(table, row, element))
        return Decision(table.id, (row,), {}, row.then)

    def _fact(self, name: str) -> str:
        return self.choice.facts.get(name, self.rulebook.registry.facts[name].values[0])

    def _given(self, path: str) -> Value:
        emptied: Value | None = None
        for spelled in (path, *_linked(ById(self.rulebook.registry), path)):
            text = self.choice.settings.get(spelled)
            found = read_flag(self.rulebook, spelled, text).candidates.get(path) if text is not None else None
            if found and found[0].origin.kind == "flag":
                if found[0].value != "":
                    return Value(found[0].value, found[0].origin)
                emptied = Value("", found[0].origin)
        return emptied or self._default(path)

    def _default(self, path: str) -> Value:
        found: tuple[Candidate, ...] = read_flag(self.rulebook, None, "").candidates.get(path, ())
        return Value(found[0].value, found[0].origin) if found else UNSET

    def _accepted(self, path: str) -> Value:
        value = self.given[path]
        rejected = value.value is not None and not self.settings[path].accepts(value.value)
        return self._default(path) if rejected else value

    def _effective(self, path: str) -> Value:
        given, setting = self.given[path], self.settings[path]
        if given.value is not None and given.origin.kind == "flag":
            return given
        derived = self._derived(path)
        found = given if derived is None else derived
        if found.value is None and setting.same_as:
            return Value(self.values[setting.same_as].value, DEFAULT)
        return found

    def _derived(self, path: str) -> Value | None:
        for table in self.tables.values():
            for output, target in table.sets.items():
                value = self.decisions[table.id].outputs[output] if target == path else None
                if value is not None:
                    anchored = from_text(self.settings[path], value, DIRECTORY) if isinstance(value, str) else value
                    return Value(anchored, Origin("rule", table=table.id))
        return None


@cache
def _linked(key: ById[Registry], path: str) -> tuple[str, ...]:
    """Return the other settings whose text is a value of `path` as well."""
    settings = key.record.settings
    splitting = [setting.path for setting in settings.values() if path in setting.splits]
    sharing = [setting.path for setting in settings.values() if setting.shares and setting.same_as == path]
    own = settings[path]
    stating = [setting.path for setting in settings.values() if path in setting.parts.values()]
    return (*splitting, *sharing, *stating, *([own.same_as] if own.shares and own.same_as else []))
