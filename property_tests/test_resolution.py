"""The promises of the contract about resolving, over every combination that the rulebook tells apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from property_tests.choices import (
    Choice,
    Variable,
    as_text,
    choices,
    cone,
    pool,
    resolved_of,
    size,
    variables,
)
from property_tests.oracle import INHERITED, Facts, decisions_of, facts_of, rows_of

from compozy.resolve import Resolved
from compozy.rulebook import Rulebook, load_rulebook
from compozy.settings.values import anchor
from compozy.tables.table import Source, Table

PACK = str(Path(__file__).parent.parent / "examples" / "rule-pack" / "pack")
MODES = INHERITED | {"ci": ("persistent", "memory", "memory")}
RULEBOOKS = {"shipped": (), "with-pack": (PACK,)}
MODE = Source("setting", "mode")


def resolving(rulebook: Rulebook) -> list[Table]:
    return [table for table in rulebook.ruleset.tables.values() if table.stage == "resolve"]


# These read what others decide, and no other table reads them: their combinations are tried for themselves.
KEYS = ("temporal.encryption", "server.access", "temporal.access")


def brief(rulebook: Rulebook) -> list[Variable]:
    return variables(rulebook, [table for table in resolving(rulebook) if table.id not in KEYS], brief=True)


def global_modes() -> Iterator[object]:
    for mode in next(v for v in brief(load_rulebook()) if v.source == MODE).options:
        yield pytest.param(mode, id=str(mode))


@cache
def cones(rulebook_name: str) -> Mapping[str, frozenset[str]]:
    """Map each component to the settings and facts that its mode and driver depend on."""
    rulebook = load_rulebook(RULEBOOKS[rulebook_name])
    tables = rulebook.ruleset.tables
    return {
        part.id: frozenset(
            column.source.ref
            for table in cone(rulebook, [tables[part.mode], tables[part.driver]])
            for column in table.columns
            if column.source.kind != "decision"
        )
        for part in rulebook.components
    }


def check_total(resolved: Resolved) -> None:
    """Every component has a mode, and a driver that can be built."""
    for part in resolved.components.values():
        assert part.mode
        assert (part.name, part.driver) in resolved.rulebook.drivers


def check_precedence(resolved: Resolved, choice: Choice) -> None:
    """What was written wins, and what a row would have derived is listed among what it shadows."""
    for table in resolving(resolved.rulebook):
        for output, path in table.sets.items():
            derived = resolved.decision(table.id).outputs[output]
            value = resolved.values[path]
            if path in choice.settings:
                assert value.origin.kind == "flag"
                kinds = [lower.origin.kind for lower in value.shadowed]
                assert ("rule" in kinds) == (derived is not None)
            elif derived is not None:
                assert (value.origin.kind, value.origin.table) == ("rule", table.id)


def check_contract(resolved: Resolved, choice: Choice, facts: Facts) -> None:
    """Drivers, paths, persistence and limits follow from the effective modes as the contract says."""
    for table, outputs in decisions_of(facts).items():
        assert resolved.decision(table).outputs == outputs, (table, choice)
    for table, row in rows_of(facts).items():
        assert [found.id for found in resolved.decision(table).rows] == [row], choice
    expected = {"database": facts.database, "temporal": facts.temporal, "redis": facts.redis}
    assert {name: resolved.components[name].mode for name in expected} == expected
    assert resolved.mode == facts.mode


class Locality:
    """Remembers what each component was given for its own inputs."""

    def __init__(self, dependencies: Mapping[str, frozenset[str]]) -> None:
        self.dependencies = dependencies
        self.seen: dict[tuple[object, ...], tuple[str, str]] = {}

    def check(self, resolved: Resolved, choice: Choice) -> None:
        """The same own inputs under the same global mode give the same component, whatever the others say."""
        for name, part in resolved.components.items():
            said = {**choice.settings, **choice.facts}
            own = tuple(said.get(path) for path in sorted(self.dependencies[name]))
            assert self.seen.setdefault((name, own), (part.mode, part.driver)) == (part.mode, part.driver)


def again(resolved: Resolved) -> Choice:
    """Return the choice that says every effective value of a choice or a derivation aloud."""
    settings = resolved.rulebook.registry.settings
    said = {
        path: as_text(settings[path], value.value)
        for path, value in resolved.values.items()
        if value.origin.kind in ("flag", "rule") and value.value is not None
    }
    return Choice(said, dict(resolved.facts))


def effective(resolved: Resolved) -> dict[str, Any]:
    return {path: value.value for path, value in resolved.values.items()}


class Idempotence:
    """Resolves what was effective once more; each effective configuration once."""

    def __init__(self) -> None:
        self.done: set[tuple[object, ...]] = set()

    def check(self, resolved: Resolved) -> None:
        """Resolving the effective values again changes none of them."""
        repeated = again(resolved)
        key = (*sorted(repeated.settings.items()), *sorted(repeated.facts.items()))
        if key in self.done:
            return
        self.done.add(key)
        second = resolved_of(resolved.rulebook, repeated)
        assert (effective(second), second.components) == (effective(resolved), resolved.components)


def test_no_table_reads_the_tables_of_keys() -> None:
    read = {column.source.ref for table in resolving(load_rulebook()) for column in table.columns}
    assert read.isdisjoint(KEYS)


@pytest.mark.parametrize("table", KEYS)
def test_every_combination_of_keys_keeps_the_contract(table: str) -> None:
    rulebook = load_rulebook()
    idempotence = Idempotence()
    for choice in choices(variables(rulebook, [rulebook.ruleset.tables[table]], brief=True)):
        resolved = resolved_of(rulebook, choice)
        check_total(resolved)
        check_precedence(resolved, choice)
        check_contract(resolved, choice, facts_of(choice))
        idempotence.check(resolved)


@pytest.mark.parametrize("mode", list(global_modes()))
def test_every_combination_keeps_the_contract(mode: str | None) -> None:
    """Total, local, by precedence, by the effective modes and idempotent: all combinations under one mode."""
    rulebook = load_rulebook()
    found = [Variable(v.source, (mode,)) if v.source == MODE else v for v in brief(rulebook)]
    assert size(found) >= 7200
    locality, idempotence = Locality(cones("shipped")), Idempotence()
    for choice in choices(found):
        resolved = resolved_of(rulebook, choice)
        check_total(resolved)
        check_precedence(resolved, choice)
        check_contract(resolved, choice, facts_of(choice))
        locality.check(resolved, choice)
        idempotence.check(resolved)


@pytest.mark.parametrize("rulebook_name", [pytest.param(name, id=name) for name in RULEBOOKS])
@pytest.mark.parametrize("component", ["database", "temporal", "redis"])
def test_every_spelling_of_one_component_keeps_the_contract(rulebook_name: str, component: str) -> None:
    """Also with all further words, defaults said aloud, strange paths and a rule pack's mode."""
    rulebook = load_rulebook(RULEBOOKS[rulebook_name])
    tables = [table for table in resolving(rulebook) if table.id.startswith(f"{component}.")]
    idempotence = Idempotence()
    for choice in pool(rulebook, tables, most=2000):
        resolved = resolved_of(rulebook, choice)
        check_total(resolved)
        check_precedence(resolved, choice)
        check_contract(resolved, choice, facts_of(choice, MODES if rulebook_name == "with-pack" else INHERITED))
        idempotence.check(resolved)


@pytest.mark.parametrize("rulebook_name", [pytest.param(name, id=name) for name in RULEBOOKS])
def test_resolving_twice_gives_the_same(rulebook_name: str) -> None:
    """The same inputs give an equal record: values, origins, decisions."""
    rulebook = load_rulebook(RULEBOOKS[rulebook_name])
    for part in rulebook.components:
        tables = rulebook.ruleset.tables
        for choice in pool(rulebook, [tables[part.mode], tables[part.driver]], most=400):
            first, second = resolved_of(rulebook, choice), resolved_of(rulebook, choice)
            assert (first.values, first.decisions) == (second.values, second.decisions)


@pytest.mark.parametrize("rulebook_name", [pytest.param(name, id=name) for name in RULEBOOKS])
def test_no_component_depends_on_the_own_settings_of_another(rulebook_name: str) -> None:
    """Two components share the global mode and nothing else."""
    found = cones(rulebook_name)
    for name, paths in found.items():
        for other, others in found.items():
            if other != name:
                assert paths & others == {"mode"}


def test_derived_paths_are_anchored_at_the_project() -> None:
    """A relative path that a row derives is seen from the project's directory."""
    rulebook = load_rulebook()
    resolved = resolved_of(rulebook, Choice({"mode": "persistent"}))
    setting = rulebook.registry.settings["database.path"]
    assert resolved.get("database.path") == anchor(setting, "./.compozy/compozy.db", resolved.directory)
