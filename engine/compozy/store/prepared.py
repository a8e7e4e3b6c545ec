"""Compile the statements that write an execution once for each number of tasks, which takes longer than to run them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from operator import attrgetter

import peewee

from compozy.store.records import TaskExecution

_KEPT = 32
_FIELDS = TaskExecution.__slots__
_values = attrgetter(*_FIELDS)

Build = Callable[[Mapping[str, object], Sequence[TaskExecution] | None], Iterable[peewee.Query]]
Statement = tuple[str, Sequence[object]]


class _Slot(int):
    """The place of a value in a compiled statement: its number among the values of the execution and its tasks."""


class Prepared:
    """The statements that `build` makes for the row of an execution, with these columns, and its tasks."""

    def __init__(self, build: Build, columns: Sequence[str]) -> None:
        self._compiled = lru_cache(_KEPT)(partial(_compile, build, columns))

    def bind(self, row: Mapping[str, object], tasks: Sequence[TaskExecution] | None) -> list[Statement]:
        """Return the statements with the values of `row`, whose columns are in order, and of `tasks`."""
        given = [*row.values(), *(value for task in tasks or () for value in _values(task))]
        compiled = self._compiled(None if tasks is None else len(tasks))
        return [(sql, [given[one] if isinstance(one, _Slot) else one for one in slots]) for sql, slots in compiled]


def _compile(build: Build, columns: Sequence[str], count: int | None) -> list[Statement]:
    row = {name: _Slot(number) for number, name in enumerate(columns)}
    return statements(build(row, None if count is None else [_task(len(columns), number) for number in range(count)]))


def _task(first: int, number: int) -> TaskExecution:
    begin = first + number * len(_FIELDS)
    return TaskExecution(*map(_Slot, range(begin, begin + len(_FIELDS))))  # type: ignore[arg-type]  # slots, no values


def statements(queries: Iterable[peewee.Query]) -> list[Statement]:
    """Return the texts of queries and their values."""
    return [query.sql() for query in queries]
