"""Resolution: values, origins, shadowed values, and the decisions behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compozy.errors import NotFoundError
from compozy.resolution.configuration import load_configuration
from compozy.resolution.resolve import Resolved, resolve

FOUND, MISSING = {"valkey.binary": "found"}, {"valkey.binary": "missing"}


def resolved(directory: Path, text: str = "", **flags: Any) -> Resolved:
    """Resolve a configuration of this text; `facts` and `environment` are no flags."""
    facts, environment = flags.pop("facts", FOUND), flags.pop("environment", {})
    if text:
        (directory / "compozy.yaml").write_text(text)
    configuration = load_configuration(directory=str(directory), flags=flags, environment=environment)
    return resolve(configuration, facts)


def test_a_written_value_wins_over_a_derived_one_and_shadows_it(tmp_path: Path) -> None:
    """Flag over environment over file over rule, in this order, all of them listed."""
    environment, flag = {"DB_PATH": "env.db"}, {"database.path": "flag.db"}
    found = resolved(tmp_path, "mode: persistent\ndatabase: {path: file.db}\n", environment=environment, **flag)
    value = found.values["database.path"]
    assert [Path(value.value).name, *(Path(lower.value).name for lower in value.shadowed)] == [
        "flag.db", "env.db", "file.db", "compozy.db",
    ]  # fmt: skip
    assert [value.origin.kind, *(lower.origin.kind for lower in value.shadowed)] == ["flag", "env", "file", "rule"]


def test_a_derived_value_names_its_row(tmp_path: Path) -> None:
    """Table and row of the effective mode, not of the global one."""
    found = resolved(tmp_path, "mode: memory\ntemporal: {mode: persistent}\n")
    origin = found.values["temporal.standalone.database_file"].origin
    assert (origin.table, origin.row) == ("temporal.database_file", "file")


def test_underived_value_stays_unset(tmp_path: Path) -> None:
    """PostgreSQL has no path."""
    assert resolved(tmp_path, mode="distributed").get("database.path") is None


def test_a_setting_takes_the_value_of_the_one_it_is_the_same_as(tmp_path: Path) -> None:
    """One namespace for both."""
    found = resolved(tmp_path, "temporal: {namespace: shop}\n")
    assert found.get("temporal.standalone.namespace") == "shop"


@pytest.mark.parametrize("word", ["foo", "VALKEY-ISH"])
def test_rejected_value_does_not_prevent_resolution(tmp_path: Path, word: str) -> None:
    """Resolving is total: the tables see the default, the value stays for validation to report."""
    found = resolved(tmp_path, **{"redis.standalone.engine": word})
    assert found.components["redis"].driver == "valkey"
    assert found.get("redis.standalone.engine") == word.casefold()


def test_rejected_value_gives_way_to_a_valid_lower_one(tmp_path: Path) -> None:
    """The flag is wrong, the file is right."""
    found = resolved(tmp_path, "redis: {standalone: {engine: fakeredis}}\n", **{"redis.standalone.engine": "foo"})
    assert found.components["redis"].driver == "fakeredis"


@pytest.mark.parametrize(
    ("facts", "driver"), [pytest.param(FOUND, "valkey", id="found"), pytest.param(MISSING, "fakeredis", id="missing")]
)
def test_a_fact_about_the_machine_decides(tmp_path: Path, facts: dict[str, str], driver: str) -> None:
    """The server where there is one, else the imitation; the fact is part of the record."""
    found = resolved(tmp_path, facts=facts)
    assert (found.components["redis"].driver, found.facts) == (driver, facts)


def test_a_resolution_can_be_repeated_from_its_record(tmp_path: Path) -> None:
    """Its configuration and its facts are all it depends on."""
    found = resolved(tmp_path, mode="persistent")
    again = resolve(found.configuration, found.facts)
    assert (again.values, again.components) == (found.values, found.components)


def test_later_changes_of_the_facts_do_not_reach_the_record(tmp_path: Path) -> None:
    """The record keeps what it was decided by."""
    facts: dict[str, Any] = dict(FOUND)
    found = resolved(tmp_path, facts=facts)
    facts.update(MISSING)
    assert found.facts == FOUND


def test_an_unknown_decision_suggests_one(tmp_path: Path) -> None:
    """For `explain`."""
    with pytest.raises(NotFoundError, match=r"did you mean redis\.driver\?"):
        resolved(tmp_path).decision("redis.drivr")


def test_the_text_of_a_value_does_not_hold_it(tmp_path: Path) -> None:
    """It may be a secret that ends up in a log."""
    found = resolved(tmp_path, **{"database.password": "canary-secret"})
    assert found.get("database.password") == "canary-secret"
    assert "canary-secret" not in repr(found.values["database.password"])


def test_a_decision_holds_table_row_inputs_and_outputs(tmp_path: Path) -> None:
    """One record for everything that explains."""
    decision = resolved(tmp_path, facts=MISSING).decision("redis.driver")
    assert decision.rows[0].id == "memory-imitation"
    assert decision.inputs == {"mode": "memory", "engine": "auto", "persistence": None, "binary": "missing"}
    assert decision.outputs == {"driver": "fakeredis"}


def test_only_requested_stages_are_evaluated(tmp_path: Path) -> None:
    """No decision of another stage is in the record."""
    found = resolved(tmp_path)
    tables = found.rulebook.ruleset.tables
    assert {tables[name].stage for name in found.decisions} == {"resolve"}
