"""Readers: what a source gives for each value of the settings that it reads, and comparisons of two settings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import NamedTuple

from compozy.base.document import Scalar
from compozy.base.record import dataclass
from compozy.rulebook.representatives import DEFAULT, WRITTEN, Representative, placements
from compozy.settings.registry import Setting
from compozy.settings.views import COMPARISONS, Seen, View
from compozy.tables.observation import ORIGIN
from compozy.tables.observation import WRITTEN as WRITTEN_VALUE
from compozy.tables.table import ColumnSource

# The kind of a source that reads the resolved value of a setting: a derived one, or that of another setting, where
# nothing is written.
RESOLVED = "resolved"
EQUALS = "equals"
_UNLISTED = object()
_READING_FILES = ("path_kind", "directory_kind")


class Answered(NamedTuple):
    """A value of a setting with the answers of the sources that read it alone; values with equal keys are alike."""

    key: tuple[object, ...]
    value: Representative
    answers: Sequence[tuple[Scalar, ...]]


@dataclass(slots=True, eq=False)
class Reader:
    """A source: it reads the first setting of `chain` that has a value, and may compare it with one of `other`.

    `setting` is its own, and for a comparison `second` is the other one, which may be the same. `inspects` is true if
    its answer for a text depends on more than whether that is empty, listed or equal to another.
    """

    source: ColumnSource
    chain: tuple[str, ...]
    other: tuple[str, ...]
    setting: Setting
    second: Setting | None
    word: str
    view: View | None
    inspects: bool
    known: dict[tuple[int, int], tuple[Scalar, ...]] = field(default_factory=dict)

    def taken(self, one: Representative) -> Representative:
        """Return the value that the source reads of a setting; before resolution, nothing is derived."""
        return one if one.below is None or self.source.kind == RESOLVED else one.below

    def first(self, paths: Sequence[str], seen: Mapping[str, Answered]) -> Answered:
        """Return the first setting of a chain that has a value, the last one where none has."""
        for path in paths[:-1]:
            if self.taken(seen[path].value).value is not None:
                return seen[path]
        return seen[paths[-1]]

    def answers(self, path: str, ones: Iterable[Representative]) -> Iterator[tuple[Scalar, ...]]:
        """Yield for each value of a setting what the source may give on some machine if it reads that setting."""
        if self.source.kind == ORIGIN:
            return ((WRITTEN_VALUE if one.kind == WRITTEN else one.derived,) for one in ones)
        if self.source.kind != RESOLVED:
            ones = (one.below or one for one in ones)
        if not self.word:
            return (one.plain for one in ones)
        if self.view is None:
            return (self._comparison(one, one) for one in ones)
        look, own = self.view.look, path == self.setting.path
        return (self._observed(look, one, one.kind if own else DEFAULT) for one in ones)

    def _observed(self, look: Callable[[Seen], Scalar], one: Representative, kind: str) -> tuple[Scalar, ...]:
        """Return what a view may give; that may depend on files or on the project's directory."""
        setting = self.setting
        reads_files = self.word in _READING_FILES
        if not (reads_files or one.anchored):
            return (look(Seen(setting, one.value, kind, "/")),)
        looks = [look(Seen(setting, value, kind, "/")) for value in placements(one)]
        # Any path may be a directory; of those that are free, one is that ends with a slash.
        on_disk = reads_files and looks[0] in ("file", "directory") and not one.free
        if on_disk and not str(one.value).endswith("/"):
            return ("file", "directory")
        return tuple(dict.fromkeys(looks))

    def compared(self, one: Representative, other: Representative) -> tuple[Scalar, ...]:
        """Return what the comparison may give for two values; representatives live as long as it."""
        key = (id(one), id(other))
        if key not in self.known:
            self.known[key] = self._comparison(self.taken(one), self.taken(other))
        return self.known[key]

    def _comparison(self, one: Representative, other: Representative) -> tuple[Scalar, ...]:
        if self.second is None:
            return ()
        if one.anchored != other.anchored:
            return (False, True) if _may_be_below(one, other) or _may_be_below(other, one) else (False,)
        # Below one directory, what is declared alike is equal.
        pair = (one.value, other.value) if one.anchored else (one.plain[0], other.plain[0])
        return (COMPARISONS[self.word](pair[0], pair[1], self.second),)

    def shown(self, number: int, seen: Mapping[str, Answered]) -> tuple[Scalar, ...]:
        """Return what the source, the reader of that number, may give on some machine."""
        first = self.first(self.chain, seen)
        if not self.other:
            return first.answers[number]
        return self.compared(first.value, self.first(self.other, seen).value)

    def alike(self, answers: tuple[Scalar, ...], listed: Collection[Scalar]) -> object:
        """Return answers in a form in which all texts that no cell lists are one."""
        if self.word or self.source.kind == ORIGIN:
            return answers
        return tuple([_UNLISTED if isinstance(value, str) and value not in listed else value for value in answers])

    def compared_with_all(
        self, path: str, ones: Sequence[Answered], known: Mapping[str, Sequence[Answered]]
    ) -> list[object]:
        """Return what the comparison gives for each value of a setting with every value that it may meet."""
        seconds = [other.value for second in self.other for other in known[second]] if path in self.chain else []
        firsts = [other.value for first in self.chain for other in known[first]] if path in self.other else []
        if self.word == EQUALS and not any(one.anchored for one in (*firsts, *seconds, *[one.value for one in ones])):
            others = {self.taken(other).plain for other in (*firsts, *seconds)}
            plain = [self.taken(one.value).plain for one in ones]
            return [value if value in others else None for value in plain]
        return [
            (
                *[self.compared(one.value, other) for other in seconds],
                *[self.compared(other, one.value) for other in firsts],
            )
            for one in ones
        ]


def _may_be_below(one: Representative, other: Representative) -> bool:
    """Return True if the project's directory may make `other` equal to the anchored path of `one`."""
    return one.anchored and isinstance(other.value, str) and other.value.endswith(str(one.value))
