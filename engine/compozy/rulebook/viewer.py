"""Observations of settings: the feasible combinations of their values and of the views of them.

Settings that a table compares (`equals`), that take each other's value (`same_as`) or that a constraint names are
observed together: every combination that some configuration leads to is among the observations, and none that a
constraint excludes. What depends on files may be either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import TypeAlias

from compozy.base.document import Scalar
from compozy.rulebook.domains import normalised, setting_domain, spelled
from compozy.rulebook.reader import EQUALS, RESOLVED, Answered, Reader
from compozy.rulebook.representatives import DEFAULT, RULE, Representative, given, of_rules
from compozy.settings.registry import Registry
from compozy.settings.row_faults import TEXTS
from compozy.settings.views import COMPARISONS, VIEWS, compared_with
from compozy.tables.atoms import atoms_of
from compozy.tables.cover import MOST_STEPS, OutOfStepsError
from compozy.tables.observation import ORIGIN, Assignment, ColumnReading, Observation
from compozy.tables.table import ColumnSource, Condition, Row, Table

# Values of settings that are observed together; every two of them may have to be compared.
_MOST_COMPARED = 1_000


# The values of settings, and what each source may read of them.
Shown: TypeAlias = tuple[Mapping[str, Answered], Sequence[tuple[Scalar, ...]]]


class SettingViewer:
    """Describes settings and the views of them to the table engine."""

    def __init__(self, registry: Registry, tables: Iterable[Table], never: Sequence[Row] = ()) -> None:
        self.settings = registry.settings
        self.never = tuple(row for row in never if row.when.keys() <= registry.settings.keys())
        self.named = _named_together(self.never)
        self.derived: dict[str, dict[Scalar, None]] = {}
        self._filled: dict[str, ColumnSource] = {}
        self._readers: dict[ColumnSource, Reader] = {}
        self._made: dict[object, list[Representative]] = {}
        for table in tables:
            for output, path in table.sets.items() if table.hit != "collect" else ():
                values = (row.then.get(output) for row in table.rows)
                self.derived.setdefault(path, {}).update((value, None) for value in values if value is not None)
                self._filled[path] = ColumnSource("decision", table.id, None, output)

    def reading(self, source: ColumnSource, *, collects: bool) -> ColumnReading:
        """Return how a column reads settings: as they are written or, for findings, as they are resolved."""
        compared = None if source.view is None else _compared(source)
        known = source.view is None or source.view in VIEWS or compared in self.settings
        if source.kind != "setting" or source.ref not in self.settings or not known:
            return ColumnReading(source, (source,))
        own: tuple[str, ...] = (source.ref,) if compared is None else (source.ref, compared)
        paths = own
        filled: dict[ColumnSource, ColumnSource] = {}
        # Neither a derived value nor that of another setting counts as given.
        if collects and source.view != "given":
            paths = tuple([path for each in own for path in self._chain(RESOLVED, each)])
            filled = {ColumnSource("setting", path): self._filled[path] for path in paths if path in self._filled}
            if filled or len(paths) > len(own):
                source = ColumnSource(RESOLVED, *source[1:])
        if self.named:
            paths = (*paths, *[other for path in paths for other in self.named.get(path, ())])
        bases = tuple([ColumnSource("setting", path) for path in dict.fromkeys(paths)])
        return ColumnReading(source, bases, filled)

    def limits(self, source: ColumnSource) -> Sequence[Condition]:
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

    def observations(
        self, bases: Sequence[ColumnSource], sources: Sequence[ColumnSource], values: Mapping[str, Sequence[Scalar]]
    ) -> Iterator[Observation]:
        """Yield the feasible combinations of the values of sources; the shortest assignments come first."""
        readers = [self._reader(source) for source in sources]
        resolved = any(source.kind in (RESOLVED, ORIGIN) for source in sources)
        if len(bases) > 1 or any(map(self.limits, bases)):
            yield from self._linked(bases, readers, values, resolved)
            return
        base, path = bases[0], bases[0].ref
        words = frozenset([reader.word for reader in readers if reader.inspects])
        ones = self._representatives(path, dict.fromkeys(values.get(path, ())), 1, words, resolved)
        known: set[tuple[Scalar, ...]] = set()
        # Answers are asked for one value after the other, because a caller may have enough after the first ones.
        for one, *shown in zip(ones, *[reader.answers(path, ones) for reader in readers], strict=True):
            for combination in product(*shown):
                if combination not in known:
                    known.add(combination)
                    yield Observation(combination, self._assigned(base, one))

    def _linked(
        self,
        bases: Sequence[ColumnSource],
        readers: Sequence[Reader],
        values: Mapping[str, Sequence[Scalar]],
        resolved: bool,
    ) -> Iterator[Observation]:
        """Yield the observations of settings that are compared, or limited by constraints."""
        # Only equality distinguishes texts that no cell lists; a view gives the same for equal texts.
        equal = any(reader.other and reader.word == EQUALS for reader in readers)
        listed, copies, each = self._listed(bases, values, equal), len(bases) if equal else 1, {}
        for _, path, *_ in bases:
            words = [r.word for r in readers if r.inspects and (equal or path in r.chain or path in r.other)]
            each[path] = self._representatives(path, listed, copies, frozenset(words), resolved)
        each = self._of_other_types(each) if equal else each
        never = [row.when for row in self.never if row.when.keys() <= each.keys()]
        known: set[tuple[Scalar, ...]] = set()
        for seen, shown in self._combined(readers, each, listed):
            for combination in product(*shown):
                if combination not in known and not any(map(partial(_is_excluded, seen), never)):
                    known.add(combination)
                    yield Observation(
                        combination,
                        tuple([pair for base in bases for pair in self._assigned(base, seen[base.ref].value)]),
                    )

    def _listed(
        self, bases: Sequence[ColumnSource], values: Mapping[str, Sequence[Scalar]], equal: bool
    ) -> dict[Scalar, None]:
        """Return the values of settings that cells, constraints and, for those that are `equal`, rules distinguish."""
        listed = [value for base in bases for value in values.get(base.ref, ())]
        if equal:
            listed += [value for base in bases for value in self._named(base.ref)]
        if self.never:
            listed += [value for base in bases for value in self._limiting(base)]
        return dict.fromkeys(listed)

    def _reader(self, source: ColumnSource) -> Reader:
        known = self._readers.get(source)
        if known is not None:
            return known
        compared = _compared(source)
        other = () if compared in (None, source.ref) else self._chain(source.kind, str(compared))
        word = (source.view or "").partition(" ")[0]
        setting, view = self.settings[source.ref], VIEWS.get(word)
        inspects = word in COMPARISONS and word != EQUALS if view is None else view.reads_text and word != "known"
        second = None if compared is None else self.settings.get(compared)
        chain = self._chain(source.kind, source.ref)
        made = self._readers[source] = Reader(source, chain, other, setting, second, word, view, inspects)
        return made

    def _combined(
        self, readers: Sequence[Reader], each: Mapping[str, Sequence[Representative]], listed: Collection[Scalar]
    ) -> Iterator[Shown]:
        """Yield the combinations of representatives that views or comparisons distinguish."""
        links = [reader for reader in readers if reader.other]
        known = {path: self._answered(readers, path, ones, listed) for path, ones in each.items()}
        if not any(link.inspects for link in links):
            known = _without_interchangeable(known)
        if len(known) > 1 and sum(map(len, known.values())) > _MOST_COMPARED:
            raise OutOfStepsError
        for path, found in known.items() if links else ():
            compared = zip(*[link.compared_with_all(path, found, known) for link in links], strict=True)
            kept: dict[object, Answered] = {}
            for one, results in zip(found, compared, strict=True):
                kept.setdefault((one.key, results), one)
            known[path] = list(kept.values())
        for steps, chosen in enumerate(product(*known.values())):
            if steps == MOST_STEPS:
                raise OutOfStepsError
            seen = dict(zip(known, chosen, strict=True))
            yield seen, [reader.shown(number, seen) for number, reader in enumerate(readers)]

    def _answered(
        self, readers: Sequence[Reader], path: str, ones: Sequence[Representative], listed: Collection[Scalar]
    ) -> list[Answered]:
        """Return the answers of the sources that read one setting, each different one once."""
        found: dict[object, Answered] = {}
        columns = [
            [()] * len(ones) if reader.other or path not in reader.chain else reader.answers(path, ones)
            for reader in readers
        ]
        for one, answers in zip(ones, zip(*columns, strict=True), strict=True):
            key = (
                one.value is None,
                self._excluded(path, one),
                *[r.alike(given, listed) for r, given in zip(readers, answers, strict=True)],
            )
            # Comparisons use the plain value.
            found.setdefault((key, one.plain, one.anchored), Answered(key, one, answers))
        return list(found.values())

    def _excluded(self, path: str, one: Representative) -> tuple[bool, ...]:
        """Return for each constraint on a setting whether a representative certainly meets its condition."""
        return tuple([all(map(row.when[path].matches, one.unresolved)) for row in self.never if path in row.when])

    def _named(self, path: str) -> Iterator[Scalar]:
        """Yield the values that rules give a setting, so that those compared with it can be equal to them."""
        setting = self.settings[path]
        for value in (setting.default, *setting.values, *self.derived.get(path, ())):
            taken = None if value is None else normalised(setting, value)
            if taken is not None and not isinstance(taken, tuple):
                yield taken

    def _limiting(self, base: ColumnSource) -> Iterator[Scalar]:
        """Yield values on both sides of every condition of a constraint."""
        domain, limits = setting_domain(self.settings[base.ref]), self.limits(base)
        yield from (atom.sample for atom in atoms_of(domain, limits) if not atom.other) if domain and limits else ()

    def spelled(self, source: ColumnSource, value: Scalar) -> object:
        """Return a value in the spelling of a configuration file, as plain data."""
        setting = self.settings.get(source.each or source.ref)
        if setting is not None and source.each is not None:
            setting = setting.items.get(source.ref)
        return value if setting is None else spelled(setting, value)

    def _representatives(
        self, path: str, listed: Mapping[Scalar, None], copies: int, inspected: frozenset[str], resolved: bool
    ) -> list[Representative]:
        key = (path, tuple(listed), copies, inspected, resolved)
        found = self._made.get(key)
        if found is None:
            setting, derived = self.settings[path], self.derived.get(path, ()) if resolved else ()
            found = given(setting, listed, copies, inspected)
            if derived:
                # The shortest assignments come first.
                defaults, rest = [o for o in found if o.kind == DEFAULT], [o for o in found if o.kind != DEFAULT]
                made = [(value, of_rules(setting, value, RULE, listed)) for value in derived]
                found = [*defaults, *[o._replace(derived=v, below=one) for v, o in made for one in defaults], *rest]
            self._made[key] = found
        return found

    def _of_other_types(self, each: Mapping[str, list[Representative]]) -> dict[str, list[Representative]]:
        """Add to each text what it may be equal to: a text may be a path or an address."""
        texts = {path: ones for path, ones in each.items() if self.settings[path].type in (*TEXTS, "choice")}
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

    def _assigned(self, base: ColumnSource, one: Representative) -> Assignment:
        if one.kind == RULE:
            return ((ColumnSource("derived", base.ref), one.value),)
        if one.kind == DEFAULT:
            return ((base, None),)
        if one.plain in ((one.value,), (self.settings[base.ref].default,)) or isinstance(one.value, tuple):
            return ((base, one.value),)
        # Rejected, so that the file below the flag decides.
        return ((base, one.plain[0]), (ColumnSource("flag", base.ref), one.value))


def _named_together(never: Iterable[Row]) -> Mapping[str, frozenset[str]]:
    """Return for each setting of a constraint those that it depends on, through further constraints as well."""
    named: dict[str, frozenset[str]] = {}
    for row in never:
        joined = frozenset(row.when).union(*(named.get(path, frozenset()) for path in row.when))
        named.update(dict.fromkeys(joined, joined))
    return named


def _is_excluded(seen: Mapping[str, Answered], when: Mapping[str, Condition]) -> bool:
    """Return True if the values certainly meet all conditions of a constraint."""
    return all(all(map(condition.matches, seen[path].value.unresolved)) for path, condition in when.items())


def _compared(source: ColumnSource) -> str | None:
    """Return the setting with which a source compares its own."""
    return compared_with(source.view) if source.kind != "item" else None


def _without_interchangeable(answered: Mapping[str, Sequence[Answered]]) -> dict[str, list[Answered]]:
    """Leave out redundant values where values are compared for equality only.

    Values with equal answers are interchangeable, so the n-th setting needs n of them to differ from all others.
    """
    every = [(path, one.key, one.value) for path, found in answered.items() for one in found]
    # A path below the project's directory may equal some of the listed paths.
    anchored = any(one.anchored for _, _, one in every)
    alike: dict[tuple[Scalar, ...], list[tuple[str, object]]] = {}
    for path, key, one in every:
        if one.free or not anchored:
            alike.setdefault(one.plain, []).append((path, key))
    count = Counter[tuple[object, ...]]()
    left_out: set[tuple[str, tuple[Scalar, ...]]] = set()
    for plain, shown in alike.items():
        left_out.update((path, plain) for path, _ in shown[: count[tuple(shown)]])
        count[tuple(shown)] += 1
    return {path: [one for one in found if (path, one.value.plain) not in left_out] for path, found in answered.items()}
