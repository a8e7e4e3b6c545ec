"""Explain a value: the source in force, the shadowed values, and the chain of rows that derived it.

The records hold no secrets. Decisions are read from the resolution, never evaluated again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field

from compozy.base.place import DEFAULT, Origin, Place
from compozy.base.record import dataclass
from compozy.base.suggest import closest
from compozy.errors import NotFoundError
from compozy.explain.show import Shown
from compozy.resolution.resolve import UNSET, Resolved, Value, element_of, instance_key, named_elements
from compozy.resolution.validate import column_setting
from compozy.settings.redact import redact_value
from compozy.settings.registry import Setting
from compozy.tables.cells import condition_words, scalar_words
from compozy.tables.decide import near_misses
from compozy.tables.table import Column, ColumnSource, Decision, Row, Scalar, Table


@dataclass(frozen=True, slots=True)
class Given:
    """A value with who gave it; `rule` and `because` are of the row behind it, where there is one.

    `value` is fit for JSON, `text` one line with units.
    """

    value: object
    text: str
    origin: Origin
    rule: Place | None = None
    because: str = ""

    def as_json(self) -> dict[str, object]:
        """Return the record as JSON."""
        found = {"value": self.value, "text": self.text, "origin": self.origin.as_json()}
        return found | {"rule": place_json(self.rule), "because": self.because}


@dataclass(frozen=True, slots=True)
class ExplainedInput:
    """The input of a column: the cell of the row in words, the value, and its origin.

    `given` is set for a setting or a field of an element, `step` for a decision; a machine fact has neither.
    """

    column: str
    source: str
    cell: str
    value: str
    given: Given | None
    step: DecisionStep | None

    def as_json(self) -> dict[str, object]:
        """Return the record as JSON."""
        return {
            "column": self.column,
            "source": self.source,
            "cell": self.cell,
            "value": self.value,
            "given": self.given.as_json() if self.given else None,
            "step": self.step.as_json() if self.step else None,
        }


@dataclass(frozen=True, slots=True)
class Miss:
    """A row that would have decided but for one cell, which wanted `cell` and saw `value`."""

    row: str
    rule: Place
    column: str
    cell: str
    value: str
    because: str

    def as_json(self) -> dict[str, object]:
        """Return the record as JSON."""
        found: dict[str, object] = {"row": self.row, "rule": place_json(self.rule), "column": self.column}
        return found | {"cell": self.cell, "value": self.value, "because": self.because}


@dataclass(frozen=True, slots=True)
class DecisionStep:
    """One table's decision: the row, what it saw and what it decided; `sets` are the settings that it derives."""

    table: str
    about: str
    row: str
    rule: Place
    because: str
    outputs: Mapping[str, Scalar]
    sets: Mapping[str, str]
    inputs: tuple[ExplainedInput, ...]
    near_misses: tuple[Miss, ...]

    def as_json(self) -> dict[str, object]:
        """Return the record as JSON, the steps before it within its inputs."""
        return {
            "table": self.table,
            "about": self.about,
            "row": self.row,
            "rule": place_json(self.rule),
            "because": self.because,
            "outputs": dict(self.outputs),
            "sets": dict(self.sets),
            "inputs": [found.as_json() for found in self.inputs],
            "near_misses": [miss.as_json() for miss in self.near_misses],
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of a key; `kind` is `setting` or `decision`, `key` its canonical name.

    `given` is the effective value and `shadowed` what it wins over, highest first. `step` is what the rules derive
    about it; they decided it when `derived`. `read_by` are the tables that look at it, `names` the variable and the
    flag that set it, `values` the allowed values with their meanings, `default` is in words.
    """

    key: str
    kind: str
    about: str
    given: Given | None
    shadowed: tuple[Given, ...]
    step: DecisionStep | None
    derived: bool
    read_by: tuple[str, ...]
    names: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None

    def as_json(self) -> dict[str, object]:
        """Return the record as JSON."""
        return {
            "key": self.key,
            "kind": self.kind,
            "about": self.about,
            "given": self.given.as_json() if self.given else None,
            "shadowed": [lower.as_json() for lower in self.shadowed],
            "derived": self.derived,
            "step": self.step.as_json() if self.step else None,
            "read_by": list(self.read_by),
            "names": list(self.names),
            "values": dict(self.values),
            "default": self.default,
        }


def place_json(place: Place | None) -> dict[str, object] | None:
    """Return a place as JSON."""
    return {"file": place.file, "line": place.line, "column": place.column} if place else None


def explain(resolved: Resolved, key: str) -> Explanation:
    """Explain a setting by its path, by another spelling or by its variable; a part of a list; or a decision.

    Raises:
        NotFoundError: the setting or decision does not exist.
    """
    registry = resolved.rulebook.registry
    name, bracket, rest = key.partition("[")
    path = registry.spelled.get(name) or registry.by_env.get(name)
    decided = decision_key(resolved, key) if bracket or path is None else None
    if decided is not None:
        return _decision(resolved, decided)
    if path is not None and bracket:
        return _part(resolved, path, f"{path}[{rest}")
    if path is not None:
        return _setting(resolved, path)
    raise _unknown(resolved, key)


def decision_key(resolved: Resolved, key: str) -> str | None:
    """Return the key of a decision by what it decides of an instance, such as `cache[a].driver`, or by its own name."""
    name, _, part = key.rpartition(".")
    instance = resolved.components.get(name)
    row = next((row for row in resolved.rulebook.components if instance is not None and row.id == instance.id), None)
    table = row.decisions.get(part, key) if row is not None else key
    element = element_of(name, row.id) if row is not None else ""
    keys = (table, instance_key(table, element), key)
    return next((found for found in keys if found in resolved.decisions), None)


def _unknown(resolved: Resolved, key: str) -> NotFoundError:
    registry, tables = resolved.rulebook.registry, resolved.rulebook.ruleset.tables
    if key in registry.groups:
        within = ", ".join(path for path in registry.settings if path.startswith(key + "."))
        return NotFoundError("setting", key, hint=f"it is a group; name one of {within}" if within else None)
    if key in tables and tables[key].hit != "collect":
        each, one = tables[key].for_each, instance_key(key, "ID")
        return NotFoundError("decision", key, hint=f"it decides for each element of {each}; name it as in {one}")
    if key in tables:
        return NotFoundError("decision", key, hint=f"its rows are findings: compozy rules show {key}")
    near = registry.near.get(key.casefold()) or closest(key, [*registry.spelled, *resolved.decisions, *registry.by_env])
    hint = f"did you mean {near}?" if near else "compozy config show --all lists every setting"
    return NotFoundError("setting or decision", key, hint=hint)


def _setting(resolved: Resolved, path: str) -> Explanation:
    shown, setting = Shown(resolved), resolved.rulebook.registry.settings[path]
    value = resolved.values.get(path, UNSET)
    table = next((table for table in _decided(resolved) if path in table.sets.values()), None)
    return Explanation(
        key=path,
        kind="setting",
        about=setting.help,
        given=_effective(resolved, shown, setting, value),
        shadowed=tuple(given(shown, path, lower.value, lower.origin) for lower in value.shadowed),
        step=Chain(resolved, shown).step(table.id) if table else None,
        derived=value.origin.kind == "rule",
        read_by=tuple(_readers(resolved, "setting", path)),
        names=tuple(name for name in (setting.env, setting.flag) if name),
        values={value: setting.meanings.get(value, "") for value in setting.values},
        default=None if setting.shown_default in (None, "") else shown.words(setting, setting.shown_default),
    )


def _effective(resolved: Resolved, shown: Shown, setting: Setting, value: Value) -> Given:
    found = given(shown, setting.path, value.value, value.origin)
    other = setting.same_as
    if other is None or value.origin.kind != "default" or value.value is None:
        return found
    origin = resolved.values[other].origin
    return Given(found.value, found.text, found.origin, because=f"the same as {other} ({origin})")


def _part(resolved: Resolved, path: str, key: str) -> Explanation:
    """Explain a part of a list or map; the origins of the parts were kept when they were read."""
    shown, value = Shown(resolved), resolved.values.get(path, UNSET)
    setting = resolved.rulebook.registry.settings[path]
    known = dict(_parts(path, shown.plain(path, value.value)))
    if key not in known:
        near = closest(key, known)
        raise NotFoundError("part of a setting", key, hint=f"did you mean {near}?" if near else None)
    origin = (value.parts or {}).get(key, value.origin)
    part = Given(known[key], shown.words(None, known[key]), origin)
    return Explanation(key, "setting", setting.help, part, (), None, False, tuple(_readers(resolved, "each", path)))


def _parts(key: str, value: object) -> Iterator[tuple[str, object]]:
    yield key, value
    if isinstance(value, list):
        for at, item in enumerate(value):
            yield from _parts(f"{key}[{at}]", item)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _parts(f"{key}.{name}", item)


def _decision(resolved: Resolved, key: str) -> Explanation:
    step = Chain(resolved, Shown(resolved)).step(key)
    readers = tuple(_readers(resolved, "decision", resolved.decisions[key].table))
    return Explanation(key, "decision", step.about, None, (), step, True, readers)


def _decided(resolved: Resolved) -> Iterator[Table]:
    tables = resolved.rulebook.ruleset.tables
    return (tables[decision.table] for decision in resolved.decisions.values())


def _readers(resolved: Resolved, kind: str, ref: str) -> Iterator[str]:
    for table in resolved.rulebook.ruleset.tables.values():
        sources = (column.source for column in table.columns)
        if (kind == "each" and table.for_each == ref) or any(one.kind == kind and one.ref == ref for one in sources):
            yield table.id


def given(shown: Shown, path: str, value: object, origin: Origin) -> Given:
    """Return a value of the setting `path` with who gave it, without secrets."""
    row = rule_row(shown.resolved, origin)
    rule, because = (row.place, row.because) if row else (None, "")
    return Given(shown.plain(path, value), shown.line(path, value), origin, rule, because)


def rule_row(resolved: Resolved, origin: Origin) -> Row | None:
    """Return the row behind an origin of the kind `rule`."""
    decision = resolved.decisions.get(origin.table or "")
    return decision.rows[0] if decision is not None and decision.rows else None


class Chain:
    """Follows decisions back to the settings and machine facts that they come from."""

    def __init__(self, resolved: Resolved, shown: Shown) -> None:
        self._resolved = resolved
        self._ruleset = resolved.rulebook.ruleset
        self._shown = shown

    def step(self, key: str) -> DecisionStep:
        """Return a decision, by its key, with everything before it."""
        decision = self._resolved.decisions[key]
        table, row = self._ruleset.tables[decision.table], decision.rows[0]
        element = element_of(key, table.id)
        return DecisionStep(
            table=key,
            about=table.about,
            row=row.id,
            rule=row.place,
            because=row.because,
            outputs=decision.outputs,
            sets=table.sets,
            inputs=tuple(self._input(table, column, decision, element) for column in table.columns),
            near_misses=tuple(self._misses(table, decision)),
        )

    def _input(self, table: Table, column: Column, decision: Decision, element: str) -> ExplainedInput:
        source, condition = column.source, decision.rows[0].condition(column.name)
        found = self._setting(source.ref) if source.kind == "setting" else None
        if source.kind == "item" and source.each in self._resolved.values:
            found = self._field(source, element)
        step = None
        if source.kind == "decision":
            once = source.ref in self._resolved.decisions
            step = self.step(source.ref if once else instance_key(source.ref, element))
        return ExplainedInput(
            column.name, str(source), condition_words(condition), self.saw(table, column, decision), found, step
        )

    def _field(self, source: ColumnSource, element: str) -> Given:
        """Return what is written in a field of an element, and where."""
        path, resolved = str(source.each), self._resolved
        setting, value = resolved.rulebook.registry.settings[path], resolved.values[path]
        found = next(one for one in named_elements(setting, value.value or ()) if one.name == element)
        written = source.ref in found.written
        unknown = value.origin if written else DEFAULT
        origin = (value.parts or {}).get(f"{path}[{found.at}].{source.ref}", unknown)
        elements = self._shown.plain(path, value.value)
        shown = elements[found.at][source.ref] if written else found.fields.get(source.ref)
        return Given(shown, self._shown.words(setting.items[source.ref], shown), origin)

    def _setting(self, path: str) -> Given:
        """Return the value of a setting in the sources, which tables see before the rules derive it."""
        candidates = self._resolved.configuration.candidates.get(path, ())
        value, origin = (candidates[0].value, candidates[0].origin) if candidates else (None, UNSET.origin)
        return given(self._shown, path, value, origin)

    def _misses(self, table: Table, decision: Decision) -> Iterator[Miss]:
        columns = {column.name: column for column in table.columns}
        for miss in near_misses(self._ruleset, decision):
            value = self.saw(table, columns[miss.column], decision)
            words = condition_words(miss.condition)
            yield Miss(miss.row.id, miss.row.place, miss.column, words, value, miss.row.because)

    def saw(self, table: Table, column: Column, decision: Decision) -> str:
        """Return what a column saw, in words and without secrets."""
        setting, value = column_setting(self._resolved, table, column), decision.inputs[column.name]
        if setting is None or value is None:
            return self._shown.text(scalar_words(value))
        if setting.path in self._resolved.values and not isinstance(value, str):
            return self._shown.line(setting.path, value)
        return self._shown.text(scalar_words(redact_value(setting, value)))
