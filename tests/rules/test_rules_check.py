"""The shipped rules hold together, and `compozy rules` shows and verifies them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compozy.cli.main import run
from compozy.rulebook import check_rules, load_rulebook
from compozy.rulebook.files import rule_texts, shipped_texts

BROKEN = Path(__file__).parent / "broken"
EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "rule-pack"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `compozy rules` in an empty directory; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def call(*args: str) -> tuple[int, str, str]:
        code = run(["rules", *args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def payload(answer: tuple[int, str, str]) -> Any:
    return json.loads(answer[1])


def test_the_shipped_rules_have_nothing_to_report() -> None:
    """No gap, overlap, dead row or unused output, not even a warning."""
    result = check_rules(shipped_texts())
    assert result.findings == ()
    assert (result.tables, result.rows) > (30, 100)


def test_the_example_pack_has_nothing_to_report() -> None:
    """Shipped rules and pack as one."""
    assert check_rules(rule_texts((str(EXAMPLE / "pack"),))).findings == ()


def test_check_reports_valid_rules_with_counts_and_time(command: Command) -> None:
    """Text for people."""
    code, out, _ = command("check")
    assert code == 0
    assert out.startswith("valid: ")
    assert " tables, " in out
    assert " ms" in out


def test_check_as_json(command: Command) -> None:
    """The form that the contract fixes."""
    code, out, _ = command("check", "--format", "json")
    found = json.loads(out)
    assert (code, found["format_version"], found["valid"], found["findings"]) == (0, 1, True, [])
    assert (found["tables"], found["rows"]) > (30, 100)


def test_check_of_a_broken_pack_is_exit_code_3(command: Command) -> None:
    """Place, witness and a row that closes the gap."""
    code, out, _ = command("check", "--rules", str(BROKEN / "gap"))
    assert code == 3
    assert "gap/rules.yaml:1:8: gap: " in out
    assert "for example:" in out
    assert "a row that closes the gap:" in out
    assert "not valid: 1 finding in" in out


def test_check_of_a_broken_pack_as_json(command: Command) -> None:
    """Each finding with id, severity, place, witness and proposal."""
    code, out, _ = command("check", "--rules", str(BROKEN / "conflict"), "--format", "json")
    (finding,) = json.loads(out)["findings"]
    assert (code, finding["id"], finding["severity"]) == (3, "conflict", "error")
    assert finding["witness"] == "database:\n  driver: postgres"
    files = [Path(where["file"]).name for where in (finding["where"], *finding["also"])]
    assert sorted(files) == ["database.yaml", "rules.yaml"]


def test_check_looks_at_the_packs_of_the_configuration(command: Command, tmp_path: Path) -> None:
    """`rules:` in compozy.yaml, also one that cannot be loaded."""
    (tmp_path / "compozy.yaml").write_text(f"rules: ['{BROKEN / 'no-driver'}']\n")
    code, out, _ = command("check")
    assert code == 3
    assert ": no-driver: " in out


def test_files_of_a_pack_below_the_working_directory_are_shown_relative(command: Command, tmp_path: Path) -> None:
    """A place that an editor can jump to."""
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "rules.yaml").write_text("settings: 7\n")
    code, out, _ = command("check", "--rules", "pack")
    assert code == 3
    assert out.startswith("pack/rules.yaml:1:11: malformed: `settings` must be a list")


@pytest.mark.parametrize(
    "args",
    [pytest.param(["list"], id="list"), pytest.param(["show", "mode"], id="show"), pytest.param(["graph"], id="graph")],
)
def test_every_other_command_refuses_broken_rules(command: Command, args: list[str]) -> None:
    """Exit code 3 with every problem on stderr."""
    code, _, err = command(*args, "--rules", str(BROKEN / "gap"))
    assert code == 3
    assert "error[rules.invalid]" in err
    assert "rules.yaml:1:8: gap: " in err


def test_list_names_every_table(command: Command) -> None:
    """One line each."""
    _, out, _ = command("list")
    assert {line.split()[0] for line in out.splitlines()[1:]} == set(load_rulebook().ruleset.tables)


def test_list_as_json(command: Command) -> None:
    """With stage, hit policy, rows and place."""
    tables = payload(command("list", "--format", "json"))["tables"]
    mode = next(table for table in tables if table["id"] == "mode")
    assert (mode["stage"], mode["hit"], mode["rows"]) == ("resolve", "first", 5)
    assert mode["where"]["file"] == "rules/resolve/mode.yaml"


def test_show_prints_rows_and_reasons(command: Command) -> None:
    """A readable table."""
    _, out, _ = command("show", "redis.driver")
    assert "memory-imitation" in out
    assert "no server binary was found" in out


def test_show_as_json_holds_every_row(command: Command) -> None:
    """Conditions as in the rule file."""
    table = payload(command("show", "database.driver", "--format", "json"))
    assert table["rows"][0]["when"] == {"mode": ["memory", "persistent"]}
    assert table["inputs"] == {"mode": "decision database.mode"}
    assert table["outputs"] == {"driver": ["sqlite", "postgres"]}


def test_show_of_an_unknown_table_suggests_one(command: Command) -> None:
    """Exit code 2."""
    code, _, err = command("show", "redis.drivr")
    assert code == 2
    assert "did you mean redis.driver?" in err


@pytest.mark.parametrize("what", ["lifecycle", "tables"])
@pytest.mark.parametrize(("format_", "start"), [("mermaid", "---\ntitle:"), ("dot", "digraph {"), ("svg", "<svg ")])
def test_graph_draws(command: Command, what: str, format_: str, start: str) -> None:
    """Mermaid, DOT and SVG."""
    code, out, _ = command("graph", "--what", what, "--format", format_)
    assert (code, out[: len(start)]) == (0, start)
    names = ["provisioned", "release"] if what == "lifecycle" else ["redis.driver", "validate.mixed"]
    assert all(name in out for name in names)


def test_the_svg_is_well_formed_and_holds_every_state(command: Command) -> None:
    """A picture that any viewer opens."""
    _, out, _ = command("graph", "--format", "svg")
    texts = {"".join(node.itertext()) for node in ElementTree.fromstring(out).iter() if node.tag.endswith("}text")}
    assert {"unresolved", "resolved", "validated", "provisioned"} <= texts


def test_graph_as_json(command: Command) -> None:
    """Nodes and edges for other programs."""
    graph = payload(command("graph", "--format", "json"))
    assert {"from": "validated", "to": "provisioned", "label": "provision"} in graph["edges"]


def test_graph_of_tables_with_inputs_names_settings(command: Command) -> None:
    """Which settings and machine facts feed the tables."""
    labels = {
        node["label"] for node in payload(command("graph", "--what", "tables", "--inputs", "--format", "json"))["nodes"]
    }
    assert {"redis.standalone.engine", "valkey.binary"} <= labels
