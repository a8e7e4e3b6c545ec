"""Why a value is what it is: source, losers, chain of rows, near misses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.project import nested, resolved

from compozy.errors import NotFoundError
from compozy.explain.finding import explain_finding
from compozy.explain.value import DecisionStep, Explanation, explain
from compozy.rulebook import load_rulebook
from compozy.rulebook.files import shipped_texts

MIXED = "mode: memory\ntemporal:\n  mode: persistent\n"


def explained(folder: Path, key: str, text: str = "", **sources: Any) -> Explanation:
    return explain(resolved(folder, text, **sources), key)


def chain(step: DecisionStep) -> list[str]:
    found = [f"{step.table}/{step.row}"]
    for seen in step.inputs:
        found += chain(seen.step) if seen.step else []
    return found


def test_the_effective_mode_is_named_not_the_global_one(tmp_path: Path) -> None:
    """Under `mode: memory` a persistent Temporal keeps its file, because of its own mode."""
    found = explained(tmp_path, "temporal.standalone.database_file", MIXED)
    assert found.given is not None
    assert found.given.value == str(tmp_path / ".compozy/temporal.db")
    assert found.step is not None
    assert chain(found.step) == ["temporal.database_file/file", "temporal.mode/own-persistent", "mode/memory"]
    own = found.step.inputs[0].step
    assert own is not None
    assert own.inputs[0].given is not None
    assert str(own.inputs[0].given.origin) == "file compozy.yaml:3:9"


def test_rows_are_named_with_file_line_and_reason(tmp_path: Path) -> None:
    """The place is that of the row."""
    found = explained(tmp_path, "database.path", "mode: persistent\n")
    assert found.given is not None
    assert found.given.rule is not None
    line = shipped_texts()[found.given.rule.file].splitlines()[found.given.rule.line - 1]
    assert "id: file" in line
    assert found.given.because in line


def test_every_loser_is_named_with_its_origin(tmp_path: Path) -> None:
    """Highest first, down to the rule and the default."""
    found = explained(
        tmp_path, "server.port", "server: {port: 1000}\n",
        environment={"COMPOZY_SERVER__PORT": "2000"}, dotenv="COMPOZY_SERVER__PORT=3000\n",
        flags={"server.port": "4000"},
    )  # fmt: skip
    assert found.given is not None
    assert (found.given.value, found.given.origin.kind) == (4000, "flag")
    assert [(lower.value, str(lower.origin)) for lower in found.shadowed] == [
        (2000, "env COMPOZY_SERVER__PORT"),
        (3000, "dotenv COMPOZY_SERVER__PORT .env:1:1"),
        (1000, "file compozy.yaml:1:16"),
        (8080, "default"),
    ]


def test_near_misses_name_the_failed_cell(tmp_path: Path) -> None:
    """With the value that was seen and the one that was wanted."""
    step = explained(tmp_path, "redis.driver").step
    assert step is not None
    misses = {miss.row: (miss.column, miss.value, miss.cell) for miss in step.near_misses}
    assert misses["memory-imitation"] == ("binary", "found", "missing")


def test_explain_names_the_setting_of_an_inherited_value(tmp_path: Path) -> None:
    """The namespace of the embedded server is that of the client."""
    found = explained(tmp_path, "temporal.standalone.namespace", "")
    assert found.given is not None
    assert found.given.because == "the same as temporal.namespace (default)"


def test_setting_with_a_shared_value_names_its_place(tmp_path: Path) -> None:
    """Wherever of the two places it was written."""
    found = explained(tmp_path, "temporal.standalone.namespace", nested("temporal.namespace", "shop"))
    assert found.given is not None
    assert str(found.given.origin) == "file compozy.yaml:2:14"


@pytest.mark.parametrize("key", ["redis.embedded.engine", "COMPOZY_REDIS__STANDALONE__ENGINE"])
def test_other_names_of_a_setting_are_understood(key: str, tmp_path: Path) -> None:
    """Its other spellings, and its variable."""
    assert explained(tmp_path, key).key == "redis.standalone.engine"


def test_a_part_of_a_list_has_its_own_origin(tmp_path: Path) -> None:
    """Down to the field."""
    found = explained(tmp_path, "vector_dbs[0].provider", "vector_dbs:\n  - provider: qdrant\n")
    assert found.key == "knowledge.vector_dbs[0].provider"
    assert found.given is not None
    assert (found.given.value, str(found.given.origin)) == ("qdrant", "file compozy.yaml:2:15")
    assert {"vector_store.driver", "validate.vector_stores"} <= set(found.read_by)


@pytest.mark.parametrize("name", [*load_rulebook().registry.settings, *load_rulebook().ruleset.tables])
def test_everything_can_be_explained(name: str, tmp_path: Path) -> None:
    """Every setting and every decision; a table of findings, or for each element, is refused with a hint."""
    table = load_rulebook().ruleset.tables.get(name)
    if table is not None and (table.hit == "collect" or table.for_each):
        hint = "compozy rules show" if table.hit == "collect" else f"for each element of {table.for_each}"
        with pytest.raises(NotFoundError, match=hint):
            explained(tmp_path, name)
    else:
        assert explained(tmp_path, name).as_json()["key"] == name


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("redis.standalone.engin", "did you mean redis.standalone.engine?"),
        ("redis.drivr", "did you mean redis.driver?"),
        ("redis", "it is a group"),
        ("vector_dbs[3]", ""),
        ("qqq", "compozy config show --all"),
    ],
)
def test_an_unknown_name_is_refused_with_a_suggestion(key: str, hint: str, tmp_path: Path) -> None:
    """It is a usage error."""
    with pytest.raises(NotFoundError) as caught:
        explained(tmp_path, key)
    assert (caught.value.exit_code, hint in (caught.value.hint or "")) == (2, True)


def test_a_secret_input_is_not_shown(tmp_path: Path) -> None:
    """Neither as value nor in the chain."""
    found = explained(tmp_path, "server.api_key", nested("server.api_key", "hunter2-hunter2"))
    assert "hunter2" not in str(found.as_json()) + repr(found)


def test_present_finding_names_its_cells(tmp_path: Path) -> None:
    """Row, condition, value, examples."""
    found = explain_finding(
        resolved(tmp_path, nested("worker.max_concurrent_workflows", "50")), "worker.concurrency.sqlite"
    )
    assert (found.fires, found.severity, found.row) == (
        True, "warning", "validate.concurrency/worker.concurrency.sqlite",
    )  # fmt: skip
    assert [(cell.column, cell.wants, cell.saw, cell.holds) for cell in found.cases[0].cells] == [
        ("driver", "sqlite", "sqlite", True),
        ("limit", "0 or > 10", "50", True),
    ]
    assert found.bad == "worker:\n  max_concurrent_workflows: 11"


def test_absent_finding_names_the_failed_cell(tmp_path: Path) -> None:
    """One case for each element of a list."""
    text = "vector_dbs: [{provider: qdrant}, {provider: redis}]\n"
    found = explain_finding(resolved(tmp_path, text), "knowledge.pgvector-on-sqlite")
    assert not found.fires
    assert [(case.at, [cell.column for cell in case.cells if not cell.holds]) for case in found.cases] == [
        ("knowledge.vector_dbs[0]", ["provider"]),
        ("knowledge.vector_dbs[1]", ["provider"]),
    ]


def test_an_unknown_finding_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    """It is a usage error."""
    with pytest.raises(NotFoundError, match=r"did you mean mode\.unknown\?"):
        explain_finding(resolved(tmp_path), "mode.unknwn")


def test_explaining_decides_nothing_again(tmp_path: Path) -> None:
    """The same resolution gives the same explanation."""
    found = resolved(tmp_path, MIXED)
    assert explain(found, "temporal.mode") == explain(found, "temporal.mode")
