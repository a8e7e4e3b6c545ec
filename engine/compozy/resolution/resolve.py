"""Resolve a configuration: every setting's effective value with its origin, and the components with mode and driver.

Pure: the same configuration and machine facts give the same record, and nothing outside is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import field, replace
from functools import cache
from typing import Any

from compozy.base.document import Scalar
from compozy.base.place import DEFAULT, Origin
from compozy.base.record import dataclass
from compozy.base.suggest import closest
from compozy.errors import NotFoundError
from compozy.resolution.configuration import Configuration, secrets_of
from compozy.rulebook import ComponentRow, Rulebook
from compozy.rulebook.rule_records import NEVER
from compozy.settings.origin import Candidate
from compozy.settings.redact import Redactor, redact_value
from compozy.settings.registry import Setting
from compozy.settings.values import from_text
from compozy.settings.views import COMPARISONS, VIEWS, Seen, compared_with
from compozy.tables.table import Column, Decision, Row, Table

STAGE = "resolve"
_BELOW_RULES = "default"


@dataclass(frozen=True, slots=True)
class Value:
    """An effective value, who set it, and the lower values it shadows, highest first.

    `address` is the setting of the URL of which it is a part, or empty. The value may be a secret and does not show
    in `repr`.
    """

    value: Any = field(repr=False)
    origin: Origin
    shadowed: tuple[Candidate, ...] = ()
    parts: Mapping[str, Origin] | None = None
    address: str = ""


@dataclass(frozen=True, slots=True)
class Component:
    """An instance of a component with its effective mode and its driver.

    `name` is its text form: `id`, the component's row, with the element in brackets where the row has `for_each`.
    `kept` is whether its data survives a restart, None where no table decides that. `fields` are the effective
    fields of the element, written or derived; they may be secrets.
    """

    name: str
    mode: str
    driver: str
    kept: bool | None = None
    id: str = ""
    fields: Mapping[str, object] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ListElement:
    """An element of a list: its name in texts, its position and its fields, those with a default included.

    `written` are the fields that have a value of their own.
    """

    name: str
    at: int
    fields: Mapping[str, Scalar] = field(repr=False)
    written: Collection[str] = ()


def instance_key(name: str, element: str) -> str:
    """Return the text form of an instance, or of a decision about it.

    >>> instance_key("cache", "a"), instance_key("cache.driver", "a")
    ('cache[a]', 'cache[a].driver')
    """
    head, dot, tail = name.partition(".")
    return f"{head}[{element}]{dot}{tail}"


def element_of(key: str, name: str) -> str:
    """Return the element of a decision by its key; empty for a table that decides once.

    >>> element_of("cache[a].driver", "cache.driver"), element_of("mode", "mode")
    ('a', '')
    """
    head, dot, tail = name.partition(".")
    return "" if key == name else key.removeprefix(f"{head}[").removesuffix(f"]{dot}{tail}")


def named_elements(setting: Setting, listed: Collection[Mapping[str, Scalar]]) -> tuple[ListElement, ...]:
    """Return the elements of a list, named by their field with `unique: true`.

    One without that field is named by its position. A name that another element has is extended, so that every
    instance has its own; validation reports it.
    """
    found: dict[str, ListElement] = {}
    defaults = {name: item.default for name, item in setting.items.items() if item.default is not None}
    for at, element in enumerate(listed):
        written = {key: value for key, value in element.items() if value is not None}
        name = str(written.get(setting.key_field, at))
        while name in found:
            name += "'"
        found[name] = ListElement(name, at, {**defaults, **written}, written.keys())
    return tuple(found.values())


UNSET = Value(None, DEFAULT)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Every setting's effective value: the state `resolved`.

    `components` are the instances by their text form. `decisions` maps a table to its decision, and a table with
    `for_each` by `instance_key` to one for each element; `facts` are the machine facts that the tables saw.
    `excluded` are the constraints that the configuration violates; validation reports them.
    """

    configuration: Configuration
    mode: str
    components: Mapping[str, Component]
    values: Mapping[str, Value]
    decisions: Mapping[str, Decision]
    facts: Mapping[str, str]
    excluded: tuple[Row, ...] = ()

    def __repr__(self) -> str:
        parts = ", ".join(f"{part.name}: {part.driver} ({part.mode})" for part in self.components.values())
        return f"Resolved(mode={self.mode!r}, {parts})"

    @property
    def rulebook(self) -> Rulebook:
        """The rules that decided."""
        return self.configuration.rulebook

    @property
    def directory(self) -> str:
        """The absolute directory that anchors relative paths."""
        return self.configuration.directory

    def get(self, path: str) -> Any:
        """Return the effective value of the setting `path`; None means unset."""
        return self.values.get(path, UNSET).value

    def decision(self, table: str) -> Decision:
        """Return the decision of `table`.

        Raises:
            NotFoundError: no table of that name took part in resolving.
        """
        if table not in self.decisions:
            suggestion = closest(table, self.decisions)
            raise NotFoundError("decision", table, hint=f"did you mean {suggestion}?" if suggestion else None)
        return self.decisions[table]

    def unused(self) -> frozenset[str]:
        """Return the settings that only other drivers than those in force are built from."""
        in_force = {(part.id, part.driver) for part in self.components.values()}
        read: dict[bool, set[str]] = {True: set(), False: set()}
        for key, row in self.rulebook.drivers.items():
            read[key in in_force].update(row.settings())
        return frozenset(read[False] - read[True])

    def shown(self, path: str, value: object) -> object:
        """Return `value` of the setting `path` fit for output, without secrets."""
        return redact_value(self.rulebook.registry.settings[path], value)

    def redactor(self) -> Redactor:
        """Return what keeps every secret of this configuration out of texts."""
        return Redactor(secrets_of(self.configuration))


def resolve(configuration: Configuration, facts: Mapping[str, str], stages: Collection[str] = (STAGE,)) -> Resolved:
    """Evaluate every table of the `stages`; total, deterministic and idempotent."""
    run = _Resolution(configuration, facts)
    for table in run.tables(stages):
        run.evaluate(table)
    return run.resolved()


class _Resolution:
    """One resolution in progress: decisions so far, and what they derive."""

    def __init__(self, configuration: Configuration, facts: Mapping[str, str]) -> None:
        self.configuration = configuration
        self.ruleset = configuration.rulebook.ruleset
        self.settings = configuration.rulebook.registry.settings
        self.facts = dict(facts)
        self.decisions: dict[str, Decision] = {}
        self.derived: dict[str, Candidate] = {}
        self.given = {path: _value(candidates) for path, candidates in configuration.candidates.items()}
        self.accepted = {path: self.legal(path) for path in self.given}
        self.read = dict(self.given)
        self.excluded = self.exclude()
        self.filled: dict[tuple[str, str], dict[str, object]] = {}
        self.elements = cache(self._elements)

    def tables(self, stages: Collection[str]) -> list[Table]:
        tables = (self.ruleset.tables[name] for name in self.ruleset.order)
        return [table for table in tables if table.stage in stages]

    def exclude(self) -> tuple[Row, ...]:
        """Return the violated constraints, after the settings that they name were set back to their defaults.

        The tables need not decide what a constraint excludes. A default may violate another constraint, hence the
        rounds; the defaults of all settings violate none.
        """
        never, candidates = self.configuration.rulebook.never, self.configuration.candidates
        table, found = never.tables[NEVER], tuple[Row, ...]()
        for _ in table.rows:
            # Accepted values, because constraints were verified for those: a rejected value must not exclude a
            # configuration.
            inputs = {column.name: self.accepted.get(column.name, UNSET).value for column in table.columns}
            rows = never.decide(NEVER, inputs).rows
            found = found or rows
            for path in {path for row in rows for path in row.when}:
                defaults = (c for c in candidates.get(path, ()) if c.origin.kind == _BELOW_RULES)
                self.accepted[path] = self.read[path] = next((Value(c.value, c.origin) for c in defaults), UNSET)
        return found

    def evaluate(self, table: Table) -> None:
        for element in (None,) if table.for_each is None else self.elements(table.for_each):
            inputs = {column.name: self.cell(column, element) for column in table.columns}
            decision = self.ruleset.decide(table.id, inputs)
            self.decisions[table.id if element is None else instance_key(table.id, element.name)] = decision
            for output, path in table.sets.items():
                value = decision.outputs.get(output)
                # A null of a table leaves the setting to lower sources instead of unsetting it.
                if value is None or not decision.rows:
                    continue
                if element is None:
                    self.derive(path, value, table, decision)
                else:
                    self.fill(str(table.for_each), element, path, value)

    def _elements(self, path: str) -> tuple[ListElement, ...]:
        """Return the elements of a list; a field whose value the setting rejects counts as unset."""
        setting = self.settings[path]
        named = named_elements(setting, self.accepted.get(path, UNSET).value or ())
        return tuple(_accepted(setting, element) for element in named)

    def cell(self, column: Column, element: ListElement | None) -> Scalar:
        view = column.source.view
        # Verification knows the domain of accepted values; a view is defined for every text, so that validation can
        # report a rejected one by it.
        values = self.accepted if view is None or compared_with(view) is not None else self.read
        directory = self.configuration.directory
        return cell(column, values, self.settings, self.decisions, self.facts, directory, element)

    def legal(self, path: str) -> Value:
        """Return the highest value that the tables were verified for: one that the setting rejects counts as unset.

        Validation reports a rejected value.
        """
        value, accepts = self.given[path], self.settings[path].accepts
        if value.value is None or accepts(value.value):
            return value
        candidates = self.configuration.candidates[path]
        return next((Value(c.value, c.origin) for c in candidates if c.value is not None and accepts(c.value)), UNSET)

    def derive(self, path: str, value: Scalar, table: Table, decision: Decision) -> None:
        anchored = self.anchored(self.settings[path], value)
        self.derived[path] = Candidate(anchored, Origin("rule", table=table.id, row=decision.rows[0].id))

    def fill(self, path: str, element: ListElement, name: str, value: Scalar) -> None:
        """Derive a field of an element, unless it is written."""
        if name not in element.written:
            anchored = self.anchored(self.settings[path].items[name], value)
            self.filled.setdefault((path, element.name), {})[name] = anchored

    def anchored(self, setting: Setting, value: Scalar) -> object:
        return from_text(setting, value, self.configuration.directory) if isinstance(value, str) else value

    def resolved(self) -> Resolved:
        values = {path: self.given.get(path, UNSET) for path in self.settings}
        # Before `same_as` is followed: a derived value is nearer than the value of another setting.
        values |= {path: self.effective(path, derived) for path, derived in self.derived.items()}
        for path, setting in self.settings.items():
            if setting.same_as and values[path].value is None:
                values[path] = Value(self.followed(setting, values), DEFAULT)
        rows = self.configuration.rulebook.components
        components = {part.name: part for row in rows for part in self.instances(row)}
        mode = str(next(iter(self.decisions["mode"].outputs.values())))
        return Resolved(self.configuration, mode, components, values, self.decisions, self.facts, self.excluded)

    def followed(self, setting: Setting, values: Mapping[str, Value]) -> object:
        """Return the first value along a chain of `same_as`, in any order of declaration."""
        found = None
        while found is None and setting.same_as:
            found = values[setting.same_as].value
            setting = self.settings[setting.same_as]
        return found

    def effective(self, path: str, derived: Candidate) -> Value:
        """Put what a table derived between the written values and the default."""
        candidates = self.configuration.candidates.get(path, ())
        # The shadowed values stay in the record, which is how `config explain` and the findings know them.
        above = [candidate for candidate in candidates if candidate.origin.kind != _BELOW_RULES]
        below = [candidate for candidate in candidates if candidate.origin.kind == _BELOW_RULES]
        return _value((*above, derived, *below))

    def instances(self, row: ComponentRow) -> Iterator[Component]:
        """Yield the instances of a component: one, or one for each element of its list."""
        if row.for_each is None:
            yield self.component(row, row.id, "", {})
            return
        key_field = self.settings[row.for_each].key_field
        for element in self.elements(row.for_each):
            filled = self.filled.get((row.for_each, element.name), {})
            fields = {key_field: element.name, **element.fields, **filled}
            yield self.component(row, instance_key(row.id, element.name), element.name, fields)

    def component(self, row: ComponentRow, name: str, element: str, fields: Mapping[str, object]) -> Component:
        def decided(table: str) -> Scalar:
            found = self.decisions.get(table) or self.decisions[instance_key(table, element)]
            return next(iter(found.outputs.values()))

        kept = None if row.kept is None else bool(decided(row.kept))
        return Component(name, str(decided(row.mode)), str(decided(row.driver)), kept, row.id, fields)


def _accepted(setting: Setting, element: ListElement) -> ListElement:
    """Return an element without the values that its fields reject, in whose place is the default."""
    items = setting.items
    written = {name for name in element.written if name in items and _is_legal(items[name], element.fields[name])}
    fields = {name: element.fields[name] if name in written else item.default for name, item in items.items()}
    return replace(
        element, fields={name: value for name, value in fields.items() if value is not None}, written=written
    )


def _is_legal(item: Setting, value: object) -> bool:
    return not isinstance(value, dict | list) and item.accepts(value)


def _value(candidates: tuple[Candidate, ...]) -> Value:
    first = candidates[0]
    return Value(first.value, first.origin, candidates[1:], first.parts, first.address)


def cell(
    column: Column,
    values: Mapping[str, Value],
    settings: Mapping[str, Setting],
    decisions: Mapping[str, Decision],
    facts: Mapping[str, str],
    directory: str,
    element: ListElement | None = None,
) -> Scalar:
    """Return what a table's column sees: a decision's output, a machine fact, a field, a setting or a view of it.

    `element` is the one that a table with `for_each` is evaluated for.
    """
    source = column.source
    if source.kind == "item":
        found = element.fields.get(source.ref) if element is not None else None
        found = None if isinstance(found, dict | list) else found
        if source.view is None or element is None:
            return found
        kind = "file" if source.ref in element.written else _BELOW_RULES
        return VIEWS[source.view].look(Seen(settings[str(source.each)].items[source.ref], found, kind, directory))
    if source.kind == "decision":
        key = source.ref
        if element is not None and key not in decisions:
            key = instance_key(key, element.name)
        outputs = decisions[key].outputs
        return outputs[source.output] if source.output else next(iter(outputs.values()))
    if source.kind == "machine":
        return facts[source.ref]
    value = values.get(source.ref, UNSET)
    if source.view is None:
        return value.value  # type: ignore[no-any-return]
    path = compared_with(source.view)
    if path is not None:
        compare = COMPARISONS[source.view.partition(" ")[0]]
        return compare(value.value, values.get(path, UNSET).value, settings[path])
    return VIEWS[source.view].look(Seen(settings[source.ref], value.value, value.origin.kind, directory))
