"""From what was said to what is: every setting's effective value, with who decided it.

What comes in: an unresolved `Configuration` and the facts about the machine. What goes out: a `Resolved`
record. Pure: the same inputs give the same record, and nothing outside is touched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from compozy.base.document import Scalar
from compozy.base.place import DEFAULT, Origin
from compozy.base.suggest import closest
from compozy.errors import NotFoundError
from compozy.resolution.configuration import Configuration, secrets_of
from compozy.rulebook import Rulebook
from compozy.rulebook.constraints import NEVER
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
    """How a component is provided: its effective mode and its driver."""

    name: str
    mode: str
    driver: str


UNSET = Value(None, DEFAULT)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Every setting's effective value: the state `resolved`.

    `decisions` maps a table to its decision, `facts` the machine facts that the tables saw. `excluded` are the
    constraints that the configuration violates; validation reports them.
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
        in_force = {(part.name, part.driver) for part in self.components.values()}
        read: dict[bool, set[str]] = {True: set(), False: set()}
        for key, row in self.rulebook.drivers.items():
            read[key in in_force].update(row.settings())
        return frozenset(read[False] - read[True])

    def shown(self, path: str, value: Any) -> Any:
        """Return `value` of the setting `path` fit for output, without secrets."""
        return redact_value(self.rulebook.registry.settings[path], value)

    def redactor(self) -> Redactor:
        """Return what keeps every secret of this configuration out of texts."""
        return Redactor(secrets_of(self.configuration))


def resolve(configuration: Configuration, facts: Mapping[str, str], stages: Collection[str] = (STAGE,)) -> Resolved:
    """Evaluate every table of the `stages`; total, deterministic and idempotent."""
    run = _Run(configuration, facts)
    for table in run.tables(stages):
        run.evaluate(table)
    return run.resolved()


class _Run:
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
            inputs = {column.name: self.accepted.get(column.name, UNSET).value for column in table.columns}
            rows = never.decide(NEVER, inputs).rows
            found = found or rows
            for path in {path for row in rows for path in row.when}:
                defaults = (c for c in candidates.get(path, ()) if c.origin.kind == _BELOW_RULES)
                self.accepted[path] = self.read[path] = next((Value(c.value, c.origin) for c in defaults), UNSET)
        return found

    def evaluate(self, table: Table) -> None:
        inputs = {column.name: self.cell(column) for column in table.columns}
        decision = self.ruleset.decide(table.id, inputs)
        self.decisions[table.id] = decision
        for output, path in table.sets.items():
            self.derive(path, decision.outputs.get(output), table, decision)

    def cell(self, column: Column) -> Scalar:
        view = column.source.view
        values = self.accepted if view is None or compared_with(view) is not None else self.read
        return cell(column, values, self.settings, self.decisions, self.facts, self.configuration.directory)

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
        if value is None or not decision.rows:
            return
        setting = self.settings[path]
        anchored = from_text(setting, value, self.configuration.directory) if isinstance(value, str) else value
        self.derived[path] = Candidate(anchored, Origin("rule", table=table.id, row=decision.rows[0].id))

    def resolved(self) -> Resolved:
        values = {path: self.given.get(path, UNSET) for path in self.settings}
        values |= {path: self.effective(path, derived) for path, derived in self.derived.items()}
        for path, setting in self.settings.items():
            if setting.same_as and values[path].value is None:
                values[path] = Value(self.followed(setting, values), DEFAULT)
        components = {
            row.id: self.component(row.id, row.mode, row.driver) for row in self.configuration.rulebook.components
        }
        mode = str(next(iter(self.decisions["mode"].outputs.values())))
        return Resolved(self.configuration, mode, components, values, self.decisions, self.facts, self.excluded)

    def followed(self, setting: Setting, values: Mapping[str, Value]) -> Any:
        """Return the first value along a chain of `same_as`, in whatever order its settings are declared."""
        found = None
        while found is None and setting.same_as:
            found = values[setting.same_as].value
            setting = self.settings[setting.same_as]
        return found

    def effective(self, path: str, derived: Candidate) -> Value:
        """Put what a table derived between what somebody wrote and the default."""
        candidates = self.configuration.candidates.get(path, ())
        above = [candidate for candidate in candidates if candidate.origin.kind != _BELOW_RULES]
        below = [candidate for candidate in candidates if candidate.origin.kind == _BELOW_RULES]
        return _value((*above, derived, *below))

    def component(self, name: str, mode: str, driver: str) -> Component:
        return Component(name, _first(self.decisions[mode]), _first(self.decisions[driver]))


def _first(decision: Decision) -> str:
    return str(next(iter(decision.outputs.values())))


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
) -> Scalar:
    """Return what a table's column sees: a decision's output, a machine fact, a setting or a view of it."""
    source = column.source
    if source.kind == "decision":
        outputs = decisions[source.ref].outputs
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
