"""Verify rules as a whole: the tables, and the references across files.

A finding has a kind, a place and, if one exists, a witness. Only data is read; checks that need imports or a trial run
are in `trial.rules`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeGuard

from compozy.base.document import Scalar
from compozy.base.findings import WARNING, Collector, Finding
from compozy.base.place import Place
from compozy.base.suggest import did_you_mean
from compozy.rulebook.constraints import NEVER, check_constraints
from compozy.rulebook.driver_faults import driver_faults
from compozy.rulebook.listed_texts import check_listed_texts
from compozy.rulebook.rule_records import ComponentRow, DriverRow, Rulebook
from compozy.rulebook.setting_checks import check_settings, refusal
from compozy.settings.origin import PROBLEMS
from compozy.settings.registry import Setting
from compozy.tables.table import Domain, Row, Table
from compozy.tables.verify import KINDS as TABLE_KINDS
from compozy.tables.verify import verify

KINDS: Mapping[str, str] = {
    **TABLE_KINDS,
    "syntax": "a rule file that is not YAML, or names a key twice",
    "malformed": "a row with an unknown key, without a needed one, or with a value of another shape",
    "collision": "two rows that claim the same id, path, spelling, variable or flag",
    "unknown-row": "a row that replaces or extends one that does not exist",
    "unknown-setting": "a row names a setting that is not declared",
    "unknown-component": "a row names a component that is not declared",
    "bad-default": "a default that its own setting does not accept",
    "bad-reference": "a setting that takes its value from another one, or gives it to others, which cannot be",
    "bad-output": "a derived value that the setting does not accept",
    "bad-finding": "a finding with an unknown key, severity, placeholder or setting",
    "wrong-stage": "a table in a stage that no transition evaluates, or that has no use for its hit policy",
    "no-driver": "a driver that a table may decide and no provision row builds",
    "unused-driver": "a provision row for a driver that no table decides",
    "bad-driver": "a provision row with an option, timeout, address, file or check that makes no sense",
    "circular-needs": "components that need each other in a circle",
    "bad-constraint": "a constraint that excludes even a configuration that gives none of its settings",
    "bad-migration": "a migration of what is in use, to what does not exist, or in a case that not one row decides",
    "no-lifecycle": "no states and transitions at all",
    "no-initial-state": "no state, or more than one, is the initial one",
    "unknown-state": "a transition from or to a state that does not exist",
    "unknown-step": "a transition with a step that does not exist",
    "wrong-step": "a step whose state lacks the records it needs, or that brings other records into a state",
    "unreachable-state": "a state that no transition leads to",
    "trap": "a state that no way leads back from",
    "unloadable": "a factory or probe that cannot be imported, or does not take its options",
    "bad-example": "an example of a finding or a table that does not show what it should",
    "no-page": "a finding that points to a page or heading that does not exist",
}
PROVISION = "provision"
GLOBAL_MODE = "mode"
EXAMPLE_INPUTS: Mapping[str, Callable[[object], bool]] = {
    "$environment": lambda given: _is_texts(given),
    "$flags": lambda given: _is_texts(given),
    "$machine": lambda given: _is_texts(given),
    "$dotenv": lambda given: isinstance(given, str),
    "$never": lambda given: isinstance(given, dict | list),
    "$files": lambda given: _is_texts(given) and not any("/" in name for name in given),
    "$bytes": lambda given: isinstance(given, str) and re.fullmatch(r"(?:[0-9a-fA-F]{2})*", given) is not None,
}
_FINDING_KEYS = ("severity", "key", "text", "suggest", "hint", "docs", "good", "bad")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([\w.\[\]-]+)\}")
_ALWAYS_KNOWN = ("key", "values", "suggestion")


def _is_texts(given: object) -> TypeGuard[dict[str, str]]:
    return isinstance(given, dict) and all(isinstance(value, str) for value in given.values())


def rule_findings(rulebook: Rulebook) -> list[Finding]:
    """Return everything that is wrong with the rules; an empty list when they are in order."""
    faults = Collector([*verify(rulebook.ruleset).findings, *verify(rulebook.never).findings])
    check_settings(rulebook.registry, faults)
    check_constraints(rulebook.never.tables[NEVER], rulebook.registry.settings, faults)
    _check_stages(rulebook, faults)
    check_listed_texts(rulebook, faults)
    _check_derived(rulebook, faults)
    _check_findings(rulebook, faults)
    _check_examples(rulebook, faults)
    _check_components(rulebook, faults)
    for driver in rulebook.drivers.values():
        _check_driver(rulebook, driver, faults)
    _check_needs(rulebook, faults)
    return faults.findings


# stages


def _check_stages(rulebook: Rulebook, faults: Collector) -> None:
    evaluated = rulebook.lifecycle.stages
    stages = {table.stage for table in rulebook.ruleset.tables.values()} | {PROVISION}
    for transition in rulebook.lifecycle.transitions:
        for stage in transition.stages:
            message = f"no table has the stage {stage}{did_you_mean(stage, stages)}"
            faults.require(stage in stages, "wrong-stage", message, transition.place)
    for table in rulebook.ruleset.tables.values():
        hint = did_you_mean(table.stage, evaluated)
        message = f'table "{table.id}": no transition evaluates the stage {table.stage or "(none)"}{hint}'
        if faults.require(table.stage in evaluated, "wrong-stage", message, table.place):
            _check_kind(rulebook, table, faults)


def _check_kind(rulebook: Rulebook, table: Table, faults: Collector) -> None:
    """Resolving needs decisions, every other stage findings."""
    steps = {row.step for row in rulebook.lifecycle.transitions if table.stage in row.stages}
    if "resolve" in steps:
        message = f'table "{table.id}": resolving takes one decision, so not `collect`'
        faults.require(table.hit != "collect", "wrong-stage", message, table.place)
        for reason in _list_faults(rulebook, table.for_each):
            faults.add("wrong-stage", f'table "{table.id}": {reason}', table.place)
    elif table.hit != "collect":
        faults.add(
            "wrong-stage",
            f'table "{table.id}": the stage {table.stage} takes findings, so `collect`',
            table.place,
        )


def _list_faults(rulebook: Rulebook, path: str | None) -> Iterator[str]:
    """Yield why a setting cannot be the list of a component's instances."""
    settings = rulebook.registry.settings
    if path is None:
        return
    if path not in settings:
        yield f"`for_each`: unknown setting {path}{did_you_mean(path, settings)}"
    elif not settings[path].key_field:
        yield f"`for_each`: {path} is not a list whose elements are named by a field with `unique: true`"


def _resolving(rulebook: Rulebook) -> set[str]:
    return {stage for row in rulebook.lifecycle.transitions if row.step == "resolve" for stage in row.stages}


# derived values


def _check_derived(rulebook: Rulebook, faults: Collector) -> None:
    derived: dict[tuple[str | None, str], Table] = {}
    for table in rulebook.ruleset.tables.values():
        settings = rulebook.registry.settings
        if table.for_each is not None:
            settings = settings[table.for_each].items if table.for_each in settings else {}
        for output, path in table.sets.items():
            first = derived.setdefault((table.for_each, path), table)
            if first is not table:
                message = f'tables "{first.id}" and "{table.id}" both derive {path}'
                faults.add("collision", message, table.place, first.place)
            if path in settings:
                _check_outputs(table, output, settings[path], faults)
            elif table.for_each is not None:
                message = f'table "{table.id}": {table.for_each} has no field {path}{did_you_mean(path, settings)}'
                faults.add("unknown-setting", message, table.place)


def _check_outputs(table: Table, output: str, setting: Setting, faults: Collector) -> None:
    for row in table.rows:
        value = row.then.get(output)
        reason = refusal(setting, value) if value is not None else ""
        message = f'row "{row.id}" of table "{table.id}" derives {setting.path}: {value}: {reason}'
        faults.require(not reason, "bad-output", message, row.place)


# findings


def _check_findings(rulebook: Rulebook, faults: Collector) -> None:
    seen: dict[str, Place] = {}
    for table in rulebook.ruleset.tables.values():
        if table.hit != "collect" or table.stage in _resolving(rulebook):
            continue
        for row in table.rows:
            first = seen.setdefault(row.id, row.place)
            if first != row.place:
                faults.add("collision", f"finding {row.id} is at {first} already", row.place, first)
            for fault in _finding_faults(rulebook, table, row):
                faults.add("bad-finding", f'finding "{row.id}": {fault}', row.place, key=table.id)


def _finding_faults(rulebook: Rulebook, table: Table, row: Row) -> Iterator[str]:
    body = row.body
    if not body:
        yield "a row of this table needs `finding`"
        return
    for name in body:
        if name not in _FINDING_KEYS:
            yield f'unknown key "{name}"{did_you_mean(name, _FINDING_KEYS)}'
    if body.get("severity") not in ("error", "warning", None):
        yield f"severity {body['severity']} is neither error nor warning"
    for name in ("text", "suggest", "hint", "docs", "key"):
        if not isinstance(body.get(name, ""), str):
            yield f"`{name}` must be text"
    yield from _key_faults(rulebook, table, str(body.get("key", "")))
    yield from _placeholder_faults(rulebook, table, body)
    for kind in ("good", "bad"):
        yield from (f"`{kind}`: {fault}" for fault in _example_faults(rulebook, body.get(kind, "")))


def _key_faults(rulebook: Rulebook, table: Table, key: str) -> Iterator[str]:
    settings = rulebook.registry.settings
    path, listed, field = key.partition("[]")
    if not key:
        if table.for_each is None:
            yield "needs `key`, the setting that it is about"
    elif path not in settings:
        yield f"unknown setting {path}{did_you_mean(path, settings)}"
    elif listed and (path != table.for_each or field.removeprefix(".") not in settings[path].items):
        yield f"{key} is not a field of the list that the table is evaluated for"


def _placeholder_faults(rulebook: Rulebook, table: Table, body: Mapping[str, object]) -> Iterator[str]:
    # Their placeholders are the facts of each problem.
    if table.for_each == PROBLEMS:
        return
    known = {*_ALWAYS_KNOWN, *(column.name for column in table.columns), *rulebook.registry.settings}
    for part in ("text", "suggest", "hint"):
        for found in _PLACEHOLDER.finditer(str(body.get(part, ""))):
            name = found.group(1)
            if name is not None and name not in known:
                hint = did_you_mean(name, known)
                yield f"`{part}` has the placeholder {{{name}}}, which is neither an input nor a setting{hint}"


def _check_examples(rulebook: Rulebook, faults: Collector) -> None:
    for table in rulebook.ruleset.tables.values():
        for example in table.examples:
            for fault in _example_faults(rulebook, example.given):
                faults.add("bad-example", f'an example of table "{table.id}": {fault}', example.place, key=table.id)


def _example_faults(rulebook: Rulebook, given: object) -> Iterator[str]:
    if not isinstance(given, str | dict):
        yield "an example is a configuration, or the text of one"
    if not isinstance(given, dict):
        return
    for name in (name for name in given if name.startswith("$")):
        if name not in EXAMPLE_INPUTS:
            yield f'unknown input "{name}"{did_you_mean(name, EXAMPLE_INPUTS)}'
        elif not EXAMPLE_INPUTS[name](given[name]):
            yield f"`{name}` does not have the shape of that input"
    machine = given.get("$machine")
    for fact, value in machine.items() if isinstance(machine, dict) else ():
        known = rulebook.registry.facts.get(fact)
        if known is None or value not in known.values:
            yield f"the machine has no fact {fact}: {value}"


# components and drivers


def _check_components(rulebook: Rulebook, faults: Collector) -> None:
    if GLOBAL_MODE not in rulebook.ruleset.tables:
        faults.add("unknown-decision", f'table "{GLOBAL_MODE}", which decides the global mode, is missing')
    for component in rulebook.components:
        for reason in _list_faults(rulebook, component.for_each):
            faults.add("unknown-setting", f"component {component.id}: {reason}", component.place)
        for part, table in component.decisions.items():
            _check_decision(rulebook, component, part, table, faults)
        for driver in _drivers_of(rulebook, component):
            message = f"component {component.id} may be given the driver {driver}, which no row of `drivers` builds"
            faults.require((component.id, str(driver)) in rulebook.drivers, "no-driver", message, component.place)


def _check_decision(rulebook: Rulebook, component: ComponentRow, part: str, name: str, faults: Collector) -> None:
    tables = rulebook.ruleset.tables
    if name not in tables:
        hint = did_you_mean(name, tables)
        faults.add("unknown-decision", f'component {component.id}: unknown table "{name}"{hint}', component.place)
        return
    table = tables[name]
    decides = len(table.outputs) == 1 and table.stage in _resolving(rulebook)
    message = f'component {component.id}: table "{name}" must resolve exactly one output, the {part}'
    faults.require(decides, "unknown-decision", message, component.place, table.place)
    each = table.for_each in (None, component.for_each)
    message = f'component {component.id}: table "{name}" decides for each of {table.for_each}; the component does not'
    faults.require(each, "unknown-decision", message, component.place, table.place)
    boolean = part != "kept" or all(domain == Domain.boolean() for domain in table.outputs.values())
    message = f'component {component.id}: table "{name}" must decide true or false'
    faults.require(boolean, "unknown-decision", message, component.place, table.place)


def _drivers_of(rulebook: Rulebook, component: ComponentRow) -> list[Scalar]:
    table = rulebook.ruleset.tables.get(component.driver)
    if table is None or len(table.outputs) != 1:
        return []
    output, domain = next(iter(table.outputs.items()))
    decided: Domain = domain if domain.kind == "finite" else Domain.finite(row.then[output] for row in table.rows)
    return list(decided.values)


def _check_driver(rulebook: Rulebook, row: DriverRow, faults: Collector) -> None:
    components = {component.id: component for component in rulebook.components}
    for name in (row.component, *row.needs):
        message = f"driver {row.id}: unknown component {name}{did_you_mean(name, components)}"
        faults.require(name in components, "unknown-component", message, row.place)
    if row.component in components and row.driver not in _drivers_of(rulebook, components[row.component]):
        message = f"driver {row.id}: no table ever decides the driver {row.driver} for component {row.component}"
        faults.add("unused-driver", message, row.place, severity=WARNING)
    for reason in driver_faults(rulebook, row):
        faults.add("bad-driver", f"driver {row.id}: {reason}", row.place)


def _check_needs(rulebook: Rulebook, faults: Collector) -> None:
    needs = {part.id: set[str]() for part in rulebook.components}
    for row in rulebook.drivers.values():
        needs.setdefault(row.component, set()).update(set(row.needs) & set(needs))
    waiting = dict(needs)
    # Topological sorting: when nothing is ready any more, what is left is a circle, or needs one.
    while ready := [name for name, others in waiting.items() if not others & set(waiting)]:
        for name in ready:
            del waiting[name]
    if waiting:
        places = [row.place for row in rulebook.drivers.values() if row.component in waiting and row.needs]
        parts = "; ".join(f"{name} needs {', '.join(sorted(others))}" for name, others in waiting.items())
        faults.add("circular-needs", f"components need each other in a circle: {parts}", *places)
