"""Each configuration in `tests/spec_blocks` gives the result in its `expected.json`, without further settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.project import resolved

from compozy.base.findings import Finding
from compozy.cli.main import run
from compozy.cli.output import finding_lines
from compozy.resolution.validate import errors, validate

BLOCKS = Path(__file__).parents[1] / "spec_blocks"
EXPECTED: dict[str, dict[str, Any]] = json.loads((BLOCKS / "expected.json").read_text(encoding="utf-8"))


def block(name: str) -> str:
    return (BLOCKS / f"{name}.yaml").read_text(encoding="utf-8")


def test_each_block_has_an_expected_result() -> None:
    assert sorted(file.stem for file in BLOCKS.glob("*.yaml")) == sorted(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_block_gives_its_expected_result(name: str, tmp_path: Path) -> None:
    expected = EXPECTED[name]
    found = resolved(tmp_path, block(name), environment=expected.get("env", {}))
    findings = validate(found)
    assert (not errors(findings)) == expected["valid"]
    assert expected.get("mode") in (None, found.mode)
    assert {part: found.components[part].driver for part in expected.get("drivers", {})} == expected.get("drivers", {})
    assert {path: found.get(path) for path in expected.get("settings", {})} == expected.get("settings", {})
    assert expected.get("warnings") in (None, len(findings))
    text = "\n".join(line for one in findings for line in finding_lines(one, found.configuration.texts))
    assert [part for part in expected.get("texts", ()) if part not in text] == []


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if expected.get("never_shown")])
@pytest.mark.parametrize("command", ["show", "validate", "diagnostics"])
def test_secrets_of_a_block_are_not_printed(
    name: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable, text in EXPECTED[name]["env"].items():
        monkeypatch.setenv(variable, text)
    assert run(["config", command, "--config", str(BLOCKS / f"{name}.yaml"), "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert [text for text in EXPECTED[name]["never_shown"] if text in printed.out + printed.err] == []


STORE = "knowledge: {vector_dbs: [{id: a, provider: qdrant, %s}]}"


@pytest.mark.parametrize("written", ["host: vectors, port: 6333", "config: {host: vectors, port: 6333}"])
def test_vector_store_takes_host_and_port_flat_or_below_config(written: str, tmp_path: Path) -> None:
    found = resolved(tmp_path, STORE % written)
    assert errors(validate(found)) == ()
    assert found.get("knowledge.vector_dbs") == [{"id": "a", "provider": "qdrant", "host": "vectors", "port": 6333}]


@pytest.mark.parametrize("port", [0, 65536])
def test_vector_store_rejects_a_port_out_of_range(port: int, tmp_path: Path) -> None:
    found = errors(validate(resolved(tmp_path, STORE % f"port: {port}")))
    assert [(one.id, one.key) for one in found] == [("port.range.vector-store", "knowledge.vector_dbs[0].port")]


def unused(found: tuple[Finding, ...]) -> list[tuple[str, str, str]]:
    return [(one.key, one.severity, one.message) for one in found if one.id == "key.unused"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("temporal: {standalone: {cluster_name: dev}}", "temporal.standalone.cluster_name", id="text"),
        pytest.param("runtime: {type: bun}", "runtime", id="map"),
    ],
)
def test_unused_setting_is_a_warning_at_its_place(text: str, key: str, tmp_path: Path) -> None:
    assert unused(validate(resolved(tmp_path, text))) == [(key, "warning", f"{key} is declared, not used")]


@pytest.mark.parametrize("text", ["models: []", "runtime: {}", "memories:", "mode: memory"])
def test_unused_setting_without_content_is_not_a_warning(text: str, tmp_path: Path) -> None:
    assert validate(resolved(tmp_path, text)) == ()


@pytest.mark.parametrize("word", ["modes", "modus", "Modus"])
def test_word_near_to_mode_suggests_mode_in_every_source(word: str, tmp_path: Path) -> None:
    in_file = validate(resolved(tmp_path, f"{word}: memory"))
    flag = validate(resolved(tmp_path, flags={word: "memory"}))
    variable = validate(resolved(tmp_path, environment={f"COMPOZY_{word.upper()}": "memory"}))
    hints = [one.hint for found in (in_file, flag, variable) for one in found]
    assert [hint.partition("?")[0] for hint in hints] == [
        'did you mean "mode"', 'did you mean "mode"', "did you mean COMPOZY_MODE"
    ]  # fmt: skip
