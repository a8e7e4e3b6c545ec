"""What columns see of settings together: their values, and each view of them.

Settings that a table compares (`equals`), that take each other's value (`same_as`) or that a constraint names
together, are seen as one: every combination that some configuration can show is among the sights, and none that a
constraint excludes. What depends on files is taken to be either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, product
from typing import Any, TypeAlias

from compozy.base.document import Scalar
from compozy.rulebook.domains import normalised, setting_domain, spelled
from compozy.rulebook.representatives import DEFAULT, RULE, WRITTEN, Representative, given, of_rules, placements
from compozy.settings.registry import Registry, Setting
from compozy.settings.views import COMPARISONS, VIEWS, compared_with
from compozy.settings.views import Seen as Look
from compozy.tables import sight
from compozy.tables.atoms import atoms_of
from compozy.tables.cover import MOST_STEPS, OutOfStepsError
from compozy.tables.sight import ORIGIN, Assignment, Sight
from compozy.tables.table import Condition, Row, Source, Table

# The kind of a source that reads what resolving makes of a setting: a derived value, or that of another setting,
# where nothing is written.
RESOLVED = "resolved"
EQUALS = "equals"
_TEXTUAL = ("text", "choice", "path", "url", "host", "listen_address")
_UNLISTED = object()
# Values of settings that are seen together; every two of them may have to be compared.
_MOST_COMPARED = 1_000

Seen: TypeAlias = Mapping[str, Representative]
# A representative, and what the sources that read its setting alone show of it.
Answered: TypeAlias = tuple[tuple[object, ...], Representative]


@dataclass(frozen=True, slots=True)
class _Reader:
    """A source: it reads the first setting of `chain` that has a value, and may compare it with one of `other`.

    `setting` is its own, and for a comparison `second` is the other one, which may be the same.
    """

    source: Source
    chain: tuple[str, ...]
    other: tuple[str, ...]
    setting: Setting
    second: Setting | None
    word: str
    answers: dict[tuple[str, int], tuple[Scalar, ...]] = field(default_factory=dict)

    @property
    def inspects(self) -> bool:
        """Whether what is shown of a text depends on more than that it is empty, listed or equal to another."""
        view = VIEWS.get(self.word)
        return view.reads_text and self.word != "known" if view else self.word in COMPARISONS and self.word != EQUALS

    def taken(self, one: Representative) -> Representative:
        """Return the value of a setting as it is read; before resolving, nothing is derived."""
        return one if one.below is None or self.source.kind == RESOLVED else one.below

    def first(self, paths: Sequence[str], seen: Seen) -> str:
        """Return the first setting of a chain that has a value, the last one where none has."""
        return next((path for path in paths[:-1] if self.taken(seen[path]).value is not None), paths[-1])

    def shown(self, seen: Seen) -> tuple[Scalar, ...]:
        """Return what the source may show on some machine."""
        path = self.first(self.chain, seen) if len(self.chain) > 1 else self.chain[0]
        if not self.other:
            return self.answer(path, seen[path])
        return self.compared(self.taken(seen[path]), self.taken(seen[self.first(self.other, seen)]))

    def answer(self, path: str, one: Representative) -> tuple[Scalar, ...]:
        """Return what the source shows if it takes its value from one setting; representatives live as long as it."""
        key = (path, id(one))
        if key not in self.answers:
            self.answers[key] = self._answer(path, one)
        return self.answers[key]

    def _answer(self, path: str, one: Representative) -> tuple[Scalar, ...]:
        if self.source.kind == ORIGIN:
            return (sight.WRITTEN if one.kind == WRITTEN else one.derived,)
        one = self.taken(one)
        if not self.word:
            return one.plain
        if self.second is not None:
            return self.compared(one, one)
        kind, view = one.kind if path == self.setting.path else DEFAULT, VIEWS[self.word]
        if one.anchored:
            looks = (view.look(Look(self.setting, value, kind, "/")) for value in placements(one))
            found = tuple(dict.fromkeys(looks))
        else:
            found = (view.look(Look(self.setting, one.value, kind, "/")),)
        # Any path may be a directory; of those that are free, one is that ends with a slash.
        depends_on_files = (
            self.word in ("path_kind", "directory_kind") and found[0] in ("file", "directory") and not one.free
        )
        return ("file", "directory") if depends_on_files and not str(one.value).endswith("/") else found

    def compared(self, one: Representative, other: Representative) -> tuple[Scalar, ...]:
        """Return what the comparison gives for two values."""
        if self.second is None:
            return ()
        if one.anchored != other.anchored:
            return (False, True) if _may_be_below(one, other) or _may_be_below(other, one) else (False,)
        # Below one directory, what is declared alike is equal.
        pair = (one.value, other.value) if one.anchored else (one.plain[0], other.plain[0])
        return (COMPARISONS[self.word](pair[0], pair[1], self.second),)


class SettingViewer:
    """Tells the table engine what the views of settings show together."""

    def __init__(self, registry: Registry, tables: Iterable[Table], never: Sequence[Row] = ()) -> None:
        self.settings = registry.settings
        self.never = tuple(row for row in never if row.when.keys() <= registry.settings.keys())
        self.named = _named_together(self.never)
        self.derived: dict[str, dict[Scalar, None]] = {}
        self._filled: dict[str, Source] = {}
        self._readers: dict[Source, _Reader] = {}
        self._made: dict[object, list[Representative]] = {}
        for table in tables:
            for output, path in table.sets.items() if table.hit != "collect" else ():
                values = (row.then.get(output) for row in table.rows)
                self.derived.setdefault(path, {}).update((value, None) for value in values if value is not None)
                self._filled[path] = Source("decision", table.id, None, output)

    def look(self, source: Source, *, collects: bool) -> sight.Look:
        """Return the settings that a column looks at: as they were written or, for findings, as they were resolved."""
        compared = _compared(source)
        known = source.view is None or source.view in VIEWS or compared in self.settings
        if source.kind != "setting" or source.ref not in self.settings or not known:
            return sight.Look(source, (source,))
        own = [path for path in (source.ref, compared) if path is not None]
        chains = [self._chain(RESOLVED if collects else source.kind, path) for path in own]
        paths = dict.fromkeys(path for chain in chains for path in chain)
        filled = {Source("setting", path): self._filled[path] for path in paths if collects and path in self._filled}
        kind = RESOLVED if filled or any(len(chain) > 1 for chain in chains) else source.kind
        paths |= dict.fromkeys(other for path in paths for other in self.named.get(path, ()))
        return sight.Look(source._replace(kind=kind), tuple(Source("setting", path) for path in paths), filled)

    def limits(self, source: Source) -> Sequence[Condition]:
        """Return the conditions of the constraints on the value of a source."""
        if source.kind not in ("setting", RESOLVED):
            return []
        return [row.when[source.ref] for row in self.never if source.ref in row.when]

    def _chain(self, kind: str, path: str) -> tuple[str, ...]:
        """Return the settings of which the first that has a value gives a setting its own."""
        found = [path]
        while kind == RESOLVED and (setting := self.settings[found[-1]]).default is None:
            following = setting.same_as
            if following is None or following not in self.settings or following in found:
                break
            found.append(following)
        return tuple(found)

    def sights(
        self, bases: Sequence[Source], sources: Sequence[Source], values: Mapping[str, Sequence[Scalar]]
    ) -> Iterator[Sight]:
        """Yield what sources can show together; the least to write down comes first."""
        paths = [base.ref for base in bases]
        named = [value for path in paths for value in self._named(path)] if len(paths) > 1 else []
        named += [value for base in bases for value in self._limiting(base)]
        listed = dict.fromkeys([*(value for path in paths for value in values.get(path, ())), *named])
        resolved = any(source.kind in (RESOLVED, ORIGIN) for source in sources)
        readers = [self._reader(source) for source in sources]
        # Only equality distinguishes texts that no cell lists; what a view shows of one it shows of its equal.
        equal = any(reader.other and reader.word == EQUALS for reader in readers)
        copies = len(paths) if equal else 1
        inspected = {path for reader in readers if reader.inspects for path in (paths if equal else reader.chain)}
        each = {
            path: self._representatives(path, listed, copies, resolved=resolved, inspected=path in inspected)
            for path in paths
        }
        each = self._of_other_types(each) if equal else each
        known: set[tuple[Scalar, ...]] = set()
        linked = len(paths) > 1 or any(self.limits(base) for base in bases)
        for seen in self._combined(readers, each, listed) if linked else _alone(each):
            for combination in product(*[reader.shown(seen) for reader in readers]):
                if combination not in known:
                    known.add(combination)
                    yield Sight(combination, tuple(pair for path in seen for pair in self._assigned(path, seen[path])))

    def _reader(self, source: Source) -> _Reader:
        known = self._readers.get(source)
        if known is not None:
            return known
        compared = _compared(source)
        chain = () if compared in (None, source.ref) else self._chain(source.kind, str(compared))
        word = (source.view or "").partition(" ")[0]
        setting, second = self.settings[source.ref], self.settings.get(compared or "")
        made = _Reader(source, self._chain(source.kind, source.ref), chain, setting, second, word)
        self._readers[source] = made
        return made

    def _combined(
        self, readers: Sequence[_Reader], each: Mapping[str, Iterable[Representative]], listed: Collection[Scalar]
    ) -> Iterator[Seen]:
        """Yield the combinations of representatives that their own views, or a comparison, can distinguish."""
        answered: dict[str, list[Answered]] = {}
        for path, ones in each.items():
            reading = [reader for reader in readers if not reader.other and path in reader.chain]
            found: dict[object, Answered] = {}
            for one in ones:
                answers = self._answers(reading, path, one, listed)
                # What is read plainly is what is compared.
                found.setdefault((answers, one.plain, one.anchored), (answers, one))
            answered[path] = list(found.values())
        known = _told_apart(answered)
        if len(known) > 1 and sum(map(len, known.values())) > _MOST_COMPARED:
            raise OutOfStepsError
        links = [reader for reader in readers if reader.other]
        for path, pairs in known.items():
            kept: dict[object, Answered] = {}
            for answers, one in pairs:
                compared = tuple([_compared_with_all(link, path, one, known) for link in links])
                kept.setdefault((answers, compared), (answers, one))
            known[path] = list(kept.values())
        for steps, chosen in enumerate(product(*known.values())):
            if steps == MOST_STEPS:
                raise OutOfStepsError
            seen = {path: one for path, (_, one) in zip(known, chosen, strict=True)}
            if not self._are_excluded(seen):
                yield seen

    def _excluded(self, path: str, one: Representative) -> tuple[bool, ...]:
        """Return for each constraint on a setting whether a representative certainly meets its condition."""
        plain = (one.below or one).plain
        return tuple(all(map(row.when[path].matches, plain)) for row in self.never if path in row.when)

    def _are_excluded(self, seen: Seen) -> bool:
        rows = [row.when for row in self.never if row.when.keys() <= seen.keys()]
        read = {path: (one.below or one).plain for path, one in seen.items()} if rows else {}
        return any(all(all(map(when[path].matches, read[path])) for path in when) for when in rows)

    def _answers(
        self, readers: Sequence[_Reader], path: str, one: Representative, listed: Collection[Scalar]
    ) -> tuple[object, ...]:
        """Return what sources show of a value, where all texts that no cell lists are one."""
        found: list[object] = [one.value is None, self._excluded(path, one)]
        for reader in readers:
            shown = reader.answer(path, one)
            if reader.word or reader.source.kind == ORIGIN:
                found.append(shown)
            else:
                found += [_UNLISTED if isinstance(value, str) and value not in listed else value for value in shown]
        return tuple(found)

    def _named(self, path: str) -> Iterator[Scalar]:
        """Yield the values that rules give a setting, so that those compared with it can be equal to them."""
        setting = self.settings[path]
        for value in (setting.default, *setting.values, *self.derived.get(path, ())):
            taken = None if value is None else normalised(setting, value)
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

    def _representatives(
        self, path: str, listed: Collection[Scalar], copies: int, *, resolved: bool, inspected: bool
    ) -> list[Representative]:
        key = (path, tuple(listed), copies, resolved, inspected)
        if key not in self._made:
            setting, values = self.settings[path], self.derived.get(path, {}) if resolved else {}
            found = self._made[key] = []
            for one in given(setting, listed, copies, inspected=inspected):
                found.append(one)
                if one.kind == DEFAULT:
                    derived = ((value, of_rules(setting, value, RULE, listed)) for value in values)
                    found += [made._replace(derived=value, below=one) for value, made in derived]
        return self._made[key]

    def _of_other_types(self, each: Mapping[str, list[Representative]]) -> dict[str, list[Representative]]:
        """Add to each text what it may be equal to: a text may be a path or an address."""
        texts = {path: ones for path, ones in each.items() if self.settings[path].type in _TEXTUAL}
        if len({self.settings[path].type for path in texts}) < 2:
            return dict(each)
        free = {one.value: one for ones in texts.values() for one in ones if one.free and one.plain == (one.value,)}
        found = dict(each)
        for path, ones in texts.items():
            known, setting = {one.value for one in ones}, self.settings[path]
            legal = [value for value in free if setting.accepts(value) and (value or not setting.ignores_empty)]
            fitting = (free[value] for value in legal if value not in known)
            found[path] = ones + [one for one in fitting if normalised(setting, one.value) == one.value]
        return found

    def _assigned(self, path: str, one: Representative) -> Assignment:
        setting, source = self.settings[path], Source("setting", path)
        if one.kind == RULE:
            return ((Source("derived", path), one.value),)
        if one.kind == DEFAULT:
            return ((source, None),)
        if one.plain in ((one.value,), (setting.default,)) or isinstance(one.value, tuple):
            return ((source, one.value),)
        # Rejected, so that the file below the flag decides.
        return ((source, one.plain[0]), (Source("flag", path), one.value))

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


def _compared_with_all(
    link: _Reader, path: str, one: Representative, known: Mapping[str, Sequence[Answered]]
) -> tuple[tuple[Scalar, ...], ...]:
    """Return what a comparison gives for a value and every value that it may be compared with."""
    seen = link.taken(one)
    seconds = chain.from_iterable(known[other] for other in link.other) if path in link.chain else ()
    firsts = chain.from_iterable(known[other] for other in link.chain) if path in link.other else ()
    return (
        *[link.compared(seen, link.taken(other)) for _, other in seconds],
        *[link.compared(link.taken(other), seen) for _, other in firsts],
    )


def _told_apart(answered: Mapping[str, Sequence[Answered]]) -> dict[str, list[Answered]]:
    """Leave out free values that show nothing new: as many as there are settings are enough to be all different."""
    alike: dict[tuple[Scalar, ...], list[object]] = {}
    for path, pairs in answered.items():
        for answers, one in pairs:
            if one.free:
                alike.setdefault(one.plain, []).append((path, answers))
    count, left_out = Counter[tuple[object, ...]](), set()
    for plain, shown in alike.items():
        count[tuple(shown)] += 1
        if count[tuple(shown)] > len(answered):
            left_out.add(plain)
    return {
        path: [(answers, one) for answers, one in pairs if not one.free or one.plain not in left_out]
        for path, pairs in answered.items()
    }
