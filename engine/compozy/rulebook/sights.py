"""What columns see of settings together: their values, and each view of them.

Settings that a table compares (`equals`), that take each other's value (`same_as`) or that a constraint names
together, are seen as one: every combination that some configuration can show is among the sights, and none that a
constraint excludes. What depends on files is taken to be either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, TypeAlias

from compozy.document import Scalar
from compozy.rulebook.domains import normalised, setting_domain, spelled
from compozy.rulebook.representatives import DEFAULT, RULE, Representative, given, of_rules, taken_over
from compozy.settings.registry import Registry, Setting
from compozy.settings.views import COMPARISONS, VIEWS, compared_with
from compozy.settings.views import Seen as Look
from compozy.tables.atoms import atoms_of
from compozy.tables.cover import MOST_STEPS, OutOfStepsError
from compozy.tables.sight import Assignment, Sight
from compozy.tables.table import Condition, Row, Source, Table

# The kind of a source whose value tables or other settings may have filled in before findings look at it.
RESOLVED = "resolved"
# The comparison that distinguishes unlisted values from each other.
EQUALS = "equals "


Seen: TypeAlias = Mapping[str, Representative]


@dataclass(frozen=True, slots=True)
class _Link:
    """Two settings that are compared by a view, or the first of which takes over the value of the second."""

    first: str
    second: str
    view: str | None

    @property
    def holds(self) -> bool:
        """Whether the comparison is true in every configuration."""
        return self.view is None


class SettingViewer:
    """Tells the table engine what the views of settings show together."""

    def __init__(self, registry: Registry, tables: Iterable[Table], never: Sequence[Row] = ()) -> None:
        self.settings = registry.settings
        self.never = tuple(row for row in never if row.when.keys() <= registry.settings.keys())
        self.named = _named_together(self.never)
        self.derived: dict[str, list[Scalar]] = {}
        for table in tables:
            for output, path in table.sets.items():
                self.derived.setdefault(path, []).extend(row.then.get(output) for row in table.rows)

    def bases(self, source: Source, *, collects: bool) -> tuple[Source, ...]:
        """Return the settings that a column looks at: as they were written or, for findings, as they were resolved."""
        compared = _compared(source)
        known = source.view is None or source.view in VIEWS or compared in self.settings
        if source.kind != "setting" or source.ref not in self.settings or not known:
            return (source,)
        paths = dict.fromkeys(path for path in (source.ref, compared) if path is not None)
        if collects:
            paths |= dict.fromkeys(other for path in paths if (other := self.settings[path].same_as) is not None)
        paths |= dict.fromkeys(other for path in paths for other in self.named.get(path, ()))
        return tuple(Source(RESOLVED if collects and self._changes(path) else "setting", path) for path in paths)

    def limits(self, source: Source) -> Sequence[Condition]:
        """Return the conditions of the constraints on the value of a source."""
        if source.kind not in ("setting", RESOLVED):
            return []
        return [row.when[source.ref] for row in self.never if source.ref in row.when]

    def _changes(self, path: str) -> bool:
        return path in self.derived or self.settings[path].same_as is not None

    def sights(
        self, bases: Sequence[Source], sources: Sequence[Source], values: Mapping[str, Sequence[Scalar]]
    ) -> Iterator[Sight]:
        """Yield what sources can show together; the least to write down comes first."""
        named = [value for base in bases for value in self._named(base.ref)] if len(bases) > 1 else []
        named += [value for base in bases for value in self._limiting(base)]
        listed = list(dict.fromkeys([*(value for base in bases for value in values.get(base.ref, ())), *named]))
        copies = 1 + len([source for source in sources if (source.view or "").startswith(EQUALS)])
        # What was resolved may be anything that was written.
        ordered = sorted(bases, key=lambda base: base.kind == RESOLVED)
        each = {base.ref: self._representatives(base, listed, copies) for base in ordered}
        linked = len(each) > 1 or any(path in row.when for row in self.never for path in each)
        for seen in self._combined(sources, each) if linked else _alone(each):
            assignment = tuple(pair for path, one in seen.items() for pair in _assigned(self.settings[path], one))
            shown = [self._shown(source, seen) for source in sources]
            yield from (Sight(combination, assignment) for combination in product(*shown))

    def _combined(self, sources: Sequence[Source], each: Mapping[str, Iterable[Representative]]) -> Iterator[Seen]:
        """Yield the combinations of representatives that their own views, or a comparison, can distinguish."""
        own = [source for source in sources if _compared(source) in (None, source.ref)]
        links = [_Link(s.ref, str(_compared(s)), s.view) for s in sources if s not in own]
        links += [_Link(path, other, None) for path in each if (other := self.settings[path].same_as or "") in each]
        answers = {path: self._by_answers(path, ones, own) for path, ones in each.items()}
        known = {path: list(ones.values()) for path, ones in answers.items()}
        distinct: dict[str, dict[tuple[object, ...], Representative]] = {path: {} for path in known}
        for path, ones in answers.items():
            for (answer, *_), one in ones.items():
                compared = (self._compared_with_all(link, path, one, known) for link in links)
                distinct[path].setdefault((answer, self._excluded(path, one), *compared), one)
        combinations = product(*(ones.values() for ones in distinct.values()))
        for steps, chosen in enumerate(combinations):
            if steps == MOST_STEPS:
                raise OutOfStepsError
            seen = dict(zip(distinct, chosen, strict=True))
            held = (self._compare(link, seen[link.first], seen[link.second]) for link in links if link.holds)
            if all(result == (True,) for result in held) and not self._are_excluded(seen):
                yield seen

    def _excluded(self, path: str, one: Representative) -> tuple[bool, ...]:
        """Return for each constraint on a setting whether a representative certainly meets its condition."""
        plain = self._read("setting", path, one).plain
        return tuple(all(map(row.when[path].matches, plain)) for row in self.never if path in row.when)

    def _are_excluded(self, seen: Seen) -> bool:
        read = {path: self._read("setting", path, one).plain for path, one in seen.items()}
        rows = (row.when for row in self.never if row.when.keys() <= read.keys())
        return any(all(all(map(when[path].matches, read[path])) for path in when) for when in rows)

    def _read(self, kind: str, path: str, one: Representative) -> Representative:
        """Return what is read of a setting: before it is resolved, only what its sources give."""
        derived = one.kind == RULE or (one.same_as and self._changes(path))
        if kind == RESOLVED or not derived:
            return one
        return of_rules(self.settings[path], self.settings[path].default, DEFAULT, ())

    def _by_answers(
        self, path: str, ones: Iterable[Representative], own: Sequence[Source]
    ) -> dict[tuple[object, ...], Representative]:
        """Keep the first of the representatives that give the same answers and are compared as the same value."""
        found: dict[tuple[object, ...], Representative] = {}
        for one in ones:
            answer = tuple(self._shown(source, {path: one}) for source in own if source.ref == path)
            found.setdefault((answer, one.plain, one.anchored, one.same_as, self._excluded(path, one)), one)
        return found

    def _compared_with_all(
        self, link: _Link, path: str, one: Representative, known: Mapping[str, Sequence[Representative]]
    ) -> tuple[object, ...]:
        forth = tuple(self._compare(link, one, o) for o in known[link.second]) if path == link.first else ()
        return forth + (tuple(self._compare(link, o, one) for o in known[link.first]) if path == link.second else ())

    def _named(self, path: str) -> Iterator[Scalar]:
        """Yield the values that rules give a setting, so that those compared with it can be equal to them."""
        setting = self.settings[path]
        for value in (setting.default, *setting.values, *self.derived.get(path, ())):
            taken = normalised(setting, value)
            if taken is not None and not isinstance(taken, tuple):
                yield taken

    def _limiting(self, base: Source) -> Iterator[Scalar]:
        """Yield values on both sides of every condition of a constraint."""
        domain, limits = setting_domain(self.settings[base.ref]), self.limits(base)
        yield from (atom.sample for atom in atoms_of(domain, limits) if not atom.other) if domain and limits else ()

    def spelled(self, source: Source, value: Scalar) -> Any:
        """Return a value as a configuration file says it, in plain data."""
        setting = self.settings.get(source.each or source.ref)
        if setting is not None and source.each is not None:
            setting = setting.items.get(source.ref)
        return value if setting is None else spelled(setting, value)

    def _representatives(self, base: Source, listed: Sequence[Scalar], copies: int) -> Iterator[Representative]:
        setting = self.settings[base.ref]
        always_derived = base.kind == RESOLVED and None not in self.derived.get(setting.path, (None,))
        yield from (one for one in given(setting, listed, copies) if one.value is not None or not always_derived)
        if base.kind != RESOLVED:
            return
        if setting.same_as is not None:
            yield from taken_over(setting, listed, copies)
        for value in dict.fromkeys(self.derived.get(setting.path, ())):
            if value is not None:
                yield of_rules(setting, value, RULE, listed)

    def _shown(self, source: Source, seen: Seen) -> tuple[Scalar, ...]:
        """Return what a source may show on some machine."""
        one, other = self._read(source.kind, source.ref, seen[source.ref]), _compared(source)
        if source.view is None:
            return one.plain
        if other is not None:
            second = self._read(source.kind, other, seen[other])
            return self._compare(_Link(source.ref, other, source.view), one, second)
        return _viewed(self.settings[source.ref], one, source.view)

    def _compare(self, link: _Link, one: Representative, other: Representative) -> tuple[Scalar, ...]:
        if link.view is None:
            return (not one.same_as or one.plain == other.plain,)
        if one.anchored != other.anchored:
            return (False, True) if _may_be_below(one, other) or _may_be_below(other, one) else (False,)
        compare = COMPARISONS[link.view.partition(" ")[0]]
        # Below one directory, what is declared alike is equal.
        pair = (one.value, other.value) if one.anchored else (one.plain[0], other.plain[0])
        return (compare(pair[0], pair[1], self.settings[link.second]),)

    @cached_property
    def fingerprint(self) -> str:
        """A text that changes with every setting and with what is derived."""
        settings = [
            (s.path, s.type, s.default, s.values, s.checked, s.memory, s.minimum, s.same_as)
            for s in self.settings.values()
        ]
        return repr((settings, self.derived, [(row.when, row.id) for row in self.never]))


def _may_be_below(one: Representative, other: Representative) -> bool:
    """Return True if the project's directory may make `other` equal to the anchored path of `one`."""
    return one.anchored and isinstance(other.value, str) and other.value.endswith(str(one.value))


def _named_together(never: Iterable[Row]) -> Mapping[str, frozenset[str]]:
    """Return for each setting of a constraint those that it depends on, through further constraints as well."""
    named: dict[str, frozenset[str]] = {}
    for row in never:
        joined = frozenset(row.when).union(*(named.get(path, frozenset()) for path in row.when))
        named.update(dict.fromkeys(joined, joined))
    return named


def _alone(each: Mapping[str, Iterable[Representative]]) -> Iterator[Seen]:
    # Lazily, because a caller that asks for one view has mostly seen everything after a few representatives.
    return ({path: one} for path, ones in each.items() for one in ones)


def _compared(source: Source) -> str | None:
    """Return the setting with which a source compares its own."""
    return compared_with(source.view) if source.kind != "item" else None


def _viewed(setting: Setting, one: Representative, view: str) -> tuple[Scalar, ...]:
    found = VIEWS[view].look(Look(setting, one.value, one.kind, "/"))
    # Any path may be a directory; of those that are free, one is that ends with a slash.
    depends_on_files = view == "path_kind" and found in ("file", "directory") and not one.free
    return ("file", "directory") if depends_on_files and not str(one.value).endswith("/") else (found,)


def _assigned(setting: Setting, one: Representative) -> Assignment:
    source = Source("setting", setting.path)
    if one.kind == RULE:
        return ((Source("derived", setting.path), one.value),)
    if one.kind == DEFAULT:
        return ((source, None),)
    if one.plain in ((one.value,), (setting.default,)) or isinstance(one.value, tuple):
        return ((source, one.value),)
    # Rejected, so that the file below the flag decides.
    return ((source, one.plain[0]), (Source("flag", setting.path), one.value))
