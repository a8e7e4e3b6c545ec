"""What one rendering of a template may take: steps, work and size.

What comes in: the values that a template handles. What goes out: the same values, or an OverflowError before they are
too large. A template runs where nothing may take long, and a worker serves others as well.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jinja2.runtime import LoopContext, Undefined

MAX_TEXT = 1_000_000
MAX_WEIGHT = 10_000_000
MAX_STEPS = 100_000
MAX_WORK = 50_000_000
MAX_BITS = 4096
MAX_DIGITS_BITS = 16_384  # as many as a number has that Python reads from text
_CALL_WORK = 100
_ITEM_WORK = 15
_SCALAR_WEIGHT = 3


class Budget:
    """What one rendering has left.

    Work is counted in tens of nanoseconds, or characters. The weight of a value is about its length as text, in which
    what is shared counts each time; it is known for each container that was seen, because templates cannot change one.
    """

    __slots__ = ("_emitted", "_steps", "_weights", "_work")

    def __init__(self) -> None:
        self._steps = MAX_STEPS
        self._work = MAX_WORK
        self._emitted = 0
        self._weights: dict[int, tuple[Any, int]] = {}

    def step(self) -> None:
        """Count one turn of a loop or one call.

        Raises:
            OverflowError: the template takes more than `MAX_STEPS`.
        """
        self._steps -= 1
        if self._steps < 0:
            raise OverflowError(f"the template takes more than {MAX_STEPS} steps")

    def work(self, units: int) -> None:
        """Count work before it is done.

        Raises:
            OverflowError: the template does more than `MAX_WORK`.
        """
        self._work -= units
        if self._work < 0:
            raise OverflowError("the template does too much work for values of this size; a tool may do that")

    def call(self, *values: Any) -> None:
        """Count the work of something that looks at each part of each of `values` once.

        Raises:
            OverflowError: the template does more than `MAX_WORK`.
        """
        self.work(_CALL_WORK + sum(len(value) for value in values if isinstance(value, (str, list, tuple, dict))))

    def emit(self, text: str) -> None:
        """Count what is written; a part of it may be captured and thrown away.

        Raises:
            OverflowError: it is more than `MAX_WEIGHT` in all.
        """
        self._emitted += len(text)
        if self._emitted > MAX_WEIGHT:
            raise too_long()

    def weight(self, value: Any) -> int:
        """Return the weight of a value.

        Raises:
            TypeError: it is not JSON.
            OverflowError: looking at all of it is too much work.
        """
        if isinstance(value, str):
            return len(value)
        if isinstance(value, int):
            return value.bit_length() // 3 + 1
        if value is None or isinstance(value, (float, Undefined)):
            return _SCALAR_WEIGHT
        if isinstance(value, range):
            return _SCALAR_WEIGHT * len(value)
        if isinstance(value, (list, tuple, Mapping)):
            return self._weight_of_parts(value)
        raise TypeError(f"the value is a {type(value).__name__}, which is not JSON")

    def keep(self, value: Any) -> Any:
        """Return a result when it is of a sane size; what is computed when it is asked for becomes a list.

        Raises:
            OverflowError: it is too large.
            TypeError: something in it is not JSON.
        """
        if isinstance(value, str):
            self.work(len(value))  # what is not needed any more counts as well, so that this bounds the memory
            return bounded(value)
        if isinstance(value, Iterator | KeysView | ValuesView | ItemsView) and not isinstance(value, LoopContext):
            return self._listed(value)
        if isinstance(value, int) and value.bit_length() > MAX_DIGITS_BITS:
            raise OverflowError("the number is too large")
        if isinstance(value, (list, tuple, Mapping)) and self.weight(value) > MAX_WEIGHT:
            raise OverflowError(f"the value is too large: more than {MAX_WEIGHT} characters in all")
        return value

    def _weight_of_parts(self, value: Any) -> int:
        known = self._weights.get(id(value))
        if known is not None:
            return known[1]
        self.work(_ITEM_WORK * len(value))
        weight = 2 * len(value) + 2 + sum(map(self.weight, value))
        if isinstance(value, Mapping):
            weight += sum(map(self.weight, value.values()))
        # The value is kept as well, so that its identity stays its own.
        self._weights[id(value)] = (value, weight)
        return weight

    def _listed(self, items: Iterable[Any]) -> list[Any]:
        listed: list[Any] = []
        weight = 0
        for item in items:
            listed.append(item)
            weight += 2 + self.weight(item)
            if weight > MAX_WEIGHT:
                raise OverflowError(f"the list is too large: more than {MAX_WEIGHT} characters in all")
        return self.keep(listed)  # type: ignore[no-any-return]


_CURRENT: ContextVar[Budget] = ContextVar("compozy_template_budget")


def current() -> Budget:
    """Return the budget of the rendering that goes on."""
    return _CURRENT.get()


@contextmanager
def spending() -> Iterator[None]:
    """Give the rendering inside a budget of its own; out of reach of the names that a template may set."""
    token = _CURRENT.set(Budget())
    try:
        yield
    finally:
        _CURRENT.reset(token)


def bounded(text: Any) -> Any:
    """Return `text` when it is of a sane size.

    Raises:
        OverflowError: it has more than `MAX_TEXT` characters.
    """
    if len(text) > MAX_TEXT:
        raise too_long()
    return text


def too_long() -> OverflowError:
    """Return the error of a text that is, or would be, too long."""
    return OverflowError(f"the text is longer than {MAX_TEXT} characters")
