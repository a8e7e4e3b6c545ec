"""The promises of the contract about resolving, over every combination that the tables distinguish."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from property_tests.branching import Answer, Scan, answers, completed
from property_tests.choices import Choice, as_text, cone, outputs_of, resolved_of, size, variables
from property_tests.oracle import DECISIONS, INHERITED, Facts, mode_row

from compozy.resolution.resolve import Resolved
from compozy.rulebook import Rulebook, load_rulebook
from compozy.settings.values import anchor
from compozy.tables.table import Table

PACK = str(Path(__file__).parent.parent / "examples" / "rule-pack" / "pack")
RULEBOOKS = {"shipped": (), "with-pack": (PACK,)}
MODES = {"shipped": INHERITED, "with-pack": INHERITED | {"ci": ("persistent", "memory", "memory")}}
EVERY_TABLE = pytest.mark.parametrize("table", [pytest.param(name, id=name) for name in DECISIONS])
EVERY_RULEBOOK = pytest.mark.parametrize("rules", [pytest.param(name, id=name) for name in RULEBOOKS])


# The pack's constraint: with mode ci no mail is sent, so both settings count as not given where it is violated.
NEVER = {"mode": "ci", "mailer.mode": "distributed"}


class Permitted(Mapping[str, str]):
    """The texts of settings without those of a violated constraint, read one by one."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts

    def __getitem__(self, path: str) -> str:
        text = self.texts[path]
        if path in NEVER and all(self.texts.get(other) == excluded for other, excluded in NEVER.items()):
            raise KeyError(path)
        return text

    def __iter__(self) -> Iterator[str]:
        return (path for path in self.texts if path in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def permitted(choice: Choice) -> Choice:
    return Choice(Permitted(choice.settings), choice.facts)


def resolving(rulebook: Rulebook) -> list[Table]:
    return [table for table in rulebook.ruleset.tables.values() if table.stage == "resolve"]


Outputs = tuple[Mapping[str, Any], Mapping[str, Any]]


def decided(rules: str, table: str) -> Iterator[Answer[Outputs]]:
    """Yield what a table decides and what the contract promises, over every combination."""
    rulebook = load_rulebook(RULEBOOKS[rules])
    tables = rulebook.ruleset.tables

    def question(choice: Choice) -> Outputs:
        decision = Scan(rulebook, permitted(choice), tables).decisions[table]
        return decision.outputs, DECISIONS[table](Facts(permitted(choice), MODES[rules]))

    return answers(variables(rulebook), question)


@EVERY_RULEBOOK
@EVERY_TABLE
def test_every_combination_decides_as_in_contract_and_sampled_ones_when_resolved(rules: str, table: str) -> None:
    """No combination is left out; one of each sampled answer is resolved, with what the answer leaves open drawn."""
    found = list(decided(rules, table))
    assert [answer.decided for answer in found if answer.value[0] != answer.value[1]] == []
    rulebook = load_rulebook(RULEBOOKS[rules])
    space = variables(rulebook)
    every = size(space)
    assert sum(answer.combinations for answer in found) == every
    sampled = found[:: 1 + len(found) // 100]
    for seed, answer in enumerate(sampled):
        choice = completed(space, answer, seed)
        resolved = resolved_of(rulebook, choice)
        check_components(resolved)
        check_precedence(resolved, choice)
        check_contract(resolved, Facts(permitted(choice), MODES[rules]))
        if seed % 4 == 0:
            check_repeated(resolved)
    print(f"{table}: {every:.1e} of {every:.1e} combinations, {len(found)} of them different; {len(sampled)} resolved")


def test_the_contract_promises_every_decision() -> None:
    assert {table.id for table in resolving(load_rulebook())} == DECISIONS.keys()


def check_components(resolved: Resolved) -> None:
    """Every component has a mode, and a driver that can be built."""
    for part in resolved.components.values():
        assert part.mode
        assert (part.id, part.driver) in resolved.rulebook.drivers


def check_precedence(resolved: Resolved, choice: Choice) -> None:
    """A written value wins, and the value that a row derives is listed among the shadowed ones."""
    for table in resolving(resolved.rulebook):
        for output, path in table.sets.items() if not table.for_each else ():
            derived = resolved.decision(table.id).outputs[output]
            value = resolved.values[path]
            if path in choice.settings:
                assert value.origin.kind == "flag"
                kinds = [lower.origin.kind for lower in value.shadowed]
                assert ("rule" in kinds) == (derived is not None)
            elif derived is not None:
                assert (value.origin.kind, value.origin.table) == ("rule", table.id)


def check_contract(resolved: Resolved, facts: Facts) -> None:
    """Every table, the row behind the global mode and the components are those of the contract."""
    for table, promised in DECISIONS.items():
        assert outputs_of(resolved, table) == promised(facts), (table, facts.choice)
    assert [row.id for row in resolved.decision("mode").rows] == [mode_row(facts)]
    expected = {"database": facts.database, "temporal": facts.temporal, "redis": facts.redis}
    assert {name: resolved.components[name].mode for name in expected} == expected
    assert resolved.mode == facts.mode


def check_repeated(resolved: Resolved) -> None:
    """Resolving the effective values again changes none of them."""
    settings = resolved.rulebook.registry.settings
    texts = {
        path: as_text(settings[path], value.value)
        for path, value in resolved.values.items()
        if value.origin.kind in ("flag", "rule") and value.value is not None
    }
    again = resolved_of(resolved.rulebook, Choice(texts, dict(resolved.facts)))
    assert (effective(again), again.components) == (effective(resolved), resolved.components)


def effective(resolved: Resolved) -> dict[str, Any]:
    return {path: value.value for path, value in resolved.values.items()}


@EVERY_RULEBOOK
def test_resolving_twice_gives_equal_records(rules: str) -> None:
    rulebook = load_rulebook(RULEBOOKS[rules])
    space = variables(rulebook)
    for seed, answer in enumerate(decided(rules, "redis.kept")):
        choice = completed(space, answer, seed)
        first, second = resolved_of(rulebook, choice), resolved_of(rulebook, choice)
        assert (first.values, first.decisions) == (second.values, second.decisions)


# A vector store without an address is in the project's Redis or database, and takes over the mode of that one.
HOSTED = {
    frozenset(("vector_store", "redis")): {"redis.mode"},
    frozenset(("vector_store", "database")): {"database.driver"},
}


@EVERY_RULEBOOK
def test_components_have_no_settings_in_common_but_the_mode(rules: str) -> None:
    rulebook = load_rulebook(RULEBOOKS[rules])
    tables = rulebook.ruleset.tables
    read = {
        part.id: {
            column.source.ref
            for table in cone(rulebook, [tables[part.mode], tables[part.driver]])
            for column in table.columns
            if column.source.kind != "decision"
        }
        for part in rulebook.components
    }
    for name, paths in read.items():
        others = {frozenset((name, other)): found for other, found in read.items() if other != name}
        assert all(paths & found == {"mode"} | HOSTED.get(pair, set()) for pair, found in others.items())


def test_derived_paths_are_anchored_at_the_project() -> None:
    rulebook = load_rulebook()
    resolved = resolved_of(rulebook, Choice({"mode": "persistent"}))
    setting = rulebook.registry.settings["database.path"]
    assert resolved.get("database.path") == anchor(setting, "./.compozy/compozy.db", resolved.directory)
