"""What is left of a table while its inputs are chosen one after the other.

What comes in: for each input of a table the rows that hold at each choice, and what each row decides. What
goes out: bit sets of what is left, in a form that is equal wherever the table will go on equally. It must
not know where choices come from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Generic, TypeVar

Key = TypeVar("Key")


class Narrowing(dict[int, int]):
    """What is left by what was left; a dictionary that fills itself, because it is asked for every combination.

    `rows` counts the rows, `rows_of` are those of each decision, `certain` those that will match in any case.
    """

    def __init__(self, rows: int, rows_of: Sequence[int], certain: int) -> None:
        super().__init__()
        self._rows = rows
        self._rows_of = rows_of
        self._certain = certain

    def __missing__(self, left: int) -> int:
        found = self[left] = self._narrowed(left)
        return found

    def _narrowed(self, left: int) -> int:
        sure = left & self._certain
        if left >> self._rows or not sure:
            return left
        # A row that will match for certain is the last one that can decide.
        first = sure & -sure
        left &= first | (first - 1)
        for number, rows in enumerate(self._rows_of):
            if not left & ~rows:
                return 1 << (self._rows + number)
        return left


@dataclass(frozen=True, slots=True)
class Undecided(Generic[Key]):
    """A table whose first matching row decides; bit i is row i, and behind the rows bit k is decision k.

    `held` are for each input what may be left at each choice, `rows_of` the rows of each decision.
    """

    rows: int
    held: Mapping[Key, Sequence[int]]
    rows_of: Sequence[int]

    @classmethod
    def of(cls, held: Mapping[Key, Sequence[int]], decided: Sequence[int]) -> Undecided[Key]:
        """Build it from the rows that hold at each choice of each input, and the decision of each row."""
        rows_of = [0] * (max(decided, default=-1) + 1)
        for row, decision in enumerate(decided):
            rows_of[decision] |= 1 << row
        made = ((1 << len(rows_of)) - 1) << len(decided)
        # A decision that has been made stands, whatever is chosen afterwards.
        open_held = {key: [rows | made for rows in held_at] for key, held_at in held.items()}
        return cls(len(decided), open_held, rows_of)

    @property
    def start(self) -> int:
        """What is left before anything is chosen: every row."""
        return (1 << self.rows) - 1

    def narrowing(self, chosen: Collection[Key]) -> Narrowing:
        """Return what is left once what can no longer decide is struck, after the inputs `chosen` are known."""
        waiting = [reduce(and_, held) for key, held in self.held.items() if key not in chosen and held]
        return Narrowing(self.rows, self.rows_of, reduce(and_, waiting, self.start))

    def decision(self, left: int) -> int | None:
        """Return the decision, once all inputs are chosen; `None` where no row matches."""
        made = left >> self.rows
        if not made and not self.held:
            # Without any input, nothing was narrowed on the way.
            made = Narrowing(self.rows, self.rows_of, left)[left] >> self.rows
        return made.bit_length() - 1 if made else None
