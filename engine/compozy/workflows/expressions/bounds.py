"""Count the steps of templates and expressions, and bound every value that they make.

A step is about a microsecond: a node of the syntax tree, a quarter of a new item, or sixteen characters. Steps are
counted before the work and depend on template and values alone, so that a replay stops at the same place.
"""

from __future__ import annotations

import json
import math
from typing import Any

from compozy.base.record import dataclass

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_KINDS = {str: "a text", list: "a list", dict: "a mapping", bool: "true or false", type(None): "null"}


@dataclass(frozen=True, slots=True)
class TemplateLimits:
    """The limits that decide results; an execution keeps those of its start payload."""

    template_chars: int = 100_000
    depth: int = 50
    brackets: int = 20
    text_chars: int = 1_000_000
    number_bits: int = 4096
    steps: int = 2_000_000
    inline_steps: int = 30_000  # in the workflow, between two pauses
    inline_steps_total: int = 1_000_000  # in the workflow of one execution, because a replay repeats them


LIMITS = TemplateLimits()


class BudgetError(Exception):
    """The rendering takes more steps than its budget has."""


def kind(value: object) -> str:
    """Return the name of a value's JSON type, with its article."""
    return _KINDS.get(type(value), "a number")


class Budget:
    """The steps that one rendering, or all that run without a pause between them, may still take."""

    __slots__ = ("_left", "limits", "most")

    def __init__(self, most: int | None = None, limits: TemplateLimits = LIMITS) -> None:
        self.limits = limits
        self.most = self._left = limits.steps if most is None else most

    @property
    def spent(self) -> int:
        """Return the steps taken so far."""
        return self.most - self._left

    def stop(self) -> None:
        """End the rendering at its next step; from any thread."""
        self._left = -1

    def spend(self, steps: int) -> None:
        """Count steps; raise BudgetError when none are left."""
        self._left -= steps
        if self._left < 0:
            raise BudgetError(f"it takes more than {self.most} steps; a tool can do that")

    def take(self, value: Any, *types: type) -> Any:
        """Count the reading of a value of one of the `types`; raise TypeError for every other one."""
        if type(value) not in types:
            raise TypeError(f"expected {_KINDS.get(types[0], 'a number')}, not {kind(value)}")
        self.spend(1 if isinstance(value, (int, float)) else 1 + len(value) // 16)
        return value

    def items(self, value: Any) -> list[Any]:
        """Return a new list: the items of a list, the keys of a mapping or the characters of a text."""
        self.spend(4 * len(self.take(value, list, dict, str)))
        return list(value)

    def search(self, text: Any, part: Any) -> str:
        """Count the search for `part` in a text; from a hundred characters on Python's search takes linear time."""
        self.spend(len(self.take(text, str)) * (1 + min(len(self.take(part, str)), 100)) // 64)
        return str(text)

    def weigh(self, *values: object) -> int:
        """Count each part of `values`, shared ones each time; return about how long they are inside a text."""
        # Without recursion, because the depth of a value is the author's.
        weight, waiting = 0, list(values)
        while waiting:
            value = waiting.pop()
            size = len(value) if isinstance(value, str) else value.bit_length() // 3 if isinstance(value, int) else 4
            if isinstance(value, dict):
                waiting += (*value, *value.values())
            elif isinstance(value, list):
                waiting += value
            weight += size
            self.spend(1 + size // 16)
        return weight

    def fits(self, length: int) -> None:
        """Raise OverflowError when a text that is about to be made is too long."""
        # Before the text is made: a repetition or a join could otherwise take all memory first.
        if length > self.limits.text_chars:
            raise OverflowError(f"the text is longer than {self.limits.text_chars} characters")

    def json(self, value: object) -> str:
        """Return the JSON of a value."""
        self.fits(self.weigh(value))
        return _encode(value)

    def string(self, value: object) -> str:
        """Return how a value reads inside a text: texts as they are, everything else as JSON."""
        return value if isinstance(value, str) else self.json(value)

    def result(self, value: object) -> object:
        """Return a new value; raise OverflowError for a long text, a large number, and one that is not finite."""
        if isinstance(value, str):
            self.fits(len(value))
            self.spend(1 + len(value) // 16)
        elif isinstance(value, float) and not math.isfinite(value):
            raise OverflowError("the result is not a finite number")
        elif isinstance(value, int) and value.bit_length() > self.limits.number_bits:
            raise OverflowError("the number is too large")
        return value
