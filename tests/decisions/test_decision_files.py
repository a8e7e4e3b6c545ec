"""Decision files: declared inputs, `rules check FILE`, `diff`, `import` and `export` on the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.decisions.models import column, decision, model, table

from compozy.cli.main import run
from compozy.decisions import read_decisions, verify_decisions
from compozy.decisions.decision_file import parse_decisions
from compozy.decisions.dmn_export import dmn_text
from compozy.decisions.dmn_import import parse_dmn
from compozy.errors import RuleTableError
from compozy.rulebook import load_rulebook
from compozy.tables.table import ColumnSource, Domain

Command = Callable[..., tuple[int, str, str]]
EXAMPLE = Path(__file__).parents[2] / "examples" / "dmn"
FEES = """
inputs: {Seats: {type: integer, at_least: 1}}
tables:
  - table: Fee
    hit: unique
    inputs: {Seats: {input: Seats}}
    outputs: {Fee: number}
    rows:
      - {id: few, when: {Seats: {at_most: 3}}, then: {Fee: 5}, because: small groups pay more}
      - {id: many, when: {Seats: {above: %d}}, then: {Fee: 4}, because: groups pay less}
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `compozy rules` beside decision files and models; returns exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "whole.yaml").write_text(FEES % 3)
    (tmp_path / "hole.yaml").write_text(FEES % 4)
    lists = decision("List", table([column("N", "number")], [(["-"], ["1"])], hit="RULE ORDER"))
    fees = decision("Fee", table([column("N", "number")], [(["< 5"], ["1"])]))
    (tmp_path / "part.dmn").write_text(model(lists, fees))
    (tmp_path / "none.dmn").write_text(model(lists))

    def call(*args: str) -> tuple[int, str, str]:
        code = run(["rules", *args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_check_of_files_verifies_their_tables_alone(command: Command) -> None:
    code, out, err = command("check", "whole.yaml")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"valid: 1 table, 2 rows \(verified in [\d.]+ ms\)\n", out)
    code, out, _ = command("check", "whole.yaml", "hole.yaml", "--format", "json")
    found = json.loads(out)
    assert (code, found["valid"], found["tables"], found["rows"]) == (3, False, 2, 4)
    assert [(fault["id"], fault["witness"], fault["where"]["line"]) for fault in found["findings"]] == [
        ("gap", "Seats: 4", 4)
    ]


def test_check_reports_refused_tables_beside_the_faults_of_the_others(command: Command) -> None:
    code, out, _ = command("check", "part.dmn")
    assert code == 3
    assert [line.split(": ")[1] for line in out.splitlines() if line.startswith("part.dmn:")] == ["unsupported", "gap"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(["check", "no.yaml"], "no.yaml cannot be read: No such file or directory", id="no-file"),
        pytest.param(["check", "whole.yaml", "--rules", "x"], "a FILE stands by itself", id="file-and-rules"),
        pytest.param(["simplify", "no.yaml"], "no.yaml does not exist", id="simplify-no-file"),
        pytest.param(["cover", "--min", "nan"], "nan is not in the range", id="cover-nan"),
        pytest.param(["export"], "no TABLE is named", id="no-table"),
        pytest.param(["export", "nowhere"], 'rule table "nowhere" does not exist', id="unknown-table"),
        pytest.param(["import", "part.dmn", "--partial", "-o", "no/x"], "no/x cannot be written", id="output"),
    ],
)
def test_wrong_arguments_are_usage_errors(command: Command, args: list[str], message: str) -> None:
    code, out, err = command(*args)
    assert (code, out) == (2, "")
    assert message in err


def test_diff_of_files_shows_different_decisions(command: Command) -> None:
    assert command("diff", "whole.yaml", "whole.yaml") == (0, "same: both decide alike\n", "")
    code, out, _ = command("diff", "whole.yaml", "hole.yaml", "--format", "json")
    (difference,) = json.loads(out)["differences"]
    assert (code, difference["id"], difference["witness"]) == (1, "decision-removed", "Seats: 4")


def test_import_writes_nothing_when_a_table_is_refused(command: Command, tmp_path: Path) -> None:
    code, out, err = command("import", "part.dmn", "--output", "part.yaml")
    assert (code, out, (tmp_path / "part.yaml").exists()) == (3, "", False)
    assert err.startswith(
        'part.dmn:2:56: unsupported: table "List": hitPolicy: RULE ORDER is not supported; use COLLECT'
    )


def test_partial_import_leaves_refused_tables_out(command: Command) -> None:
    code, _, err = command("import", "part.dmn", "--output", "part.yaml", "--partial")
    assert (code, "unsupported" in err) == (0, True)
    assert [found.id for found in read_decisions("part.yaml").tables] == ["Fee"]
    assert command("import", "none.dmn", "--partial")[:2] == (3, "")


def test_export_and_import_of_a_file_decide_alike(command: Command) -> None:
    assert command("export", "--from", "whole.yaml", "--output", "whole.dmn") == (0, "", "")
    assert command("check", "whole.dmn")[0] == 0
    assert command("diff", "whole.yaml", "whole.dmn")[0] == 0


@pytest.mark.parametrize("version", ["1.3", "1.4", "1.5"])
def test_shipped_tables_are_exported_with_their_inputs(version: str) -> None:
    """Every shipped table has a counterpart in DMN that is complete and free of conflicts."""
    ruleset = load_rulebook().ruleset
    found = parse_dmn(dmn_text(ruleset, ["redis.driver"], version), "redis.dmn")
    assert [t.id for t in found.tables] == ["mode", "redis.mode", "redis.driver"]
    every = parse_dmn(dmn_text(ruleset, ruleset.order, version), "all.dmn")
    assert [t.id for t in every.tables] == [*ruleset.order]
    assert every.ruleset.faults == every.findings == ()


def test_example_page_shows_its_real_report(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of the example is the real output, but for the time."""
    monkeypatch.chdir(EXAMPLE)
    page = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^\$ compozy rules (.*)\n((?:.*\n)*?)```", page, re.MULTILINE)
    assert [args.split()[0] for args, _ in blocks] == ["check", "import"]
    for args, shown in blocks:
        printed = command(*args.split())[1]
        untimed = [re.sub(r"[\d.]+ ms", "0 ms", text).strip() for text in (printed, shown)]
        assert untimed[0].startswith(untimed[1].removesuffix("...").strip())


def test_decision_file_of_the_documentation_is_valid() -> None:
    page = (EXAMPLE.parents[1] / "docs" / "dmn.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert verify_decisions(parse_decisions(text, "fee.yaml")).valid


FAULTS = [
    pytest.param("[]", "1:1: a decision file is a mapping with `inputs` and `tables`", id="list"),
    pytest.param("tables: []", "1:1: a decision file is a mapping with `inputs` and `tables`", id="no-inputs"),
    pytest.param("{inputs: [], tables: []}", "1:10: `inputs` must map names to types", id="inputs"),
    pytest.param(
        "{inputs: {a: {type: text, typo: 1}}, tables: []}", '1:27: unknown key "typo" in the input "a"', id="key"
    ),
    pytest.param("{inputs: {a: texts}, tables: []}", '1:14: input "a" needs a list of values or a `type`', id="type"),
    pytest.param("{inputs: {a: {type: text, below: 1}}, tables: []}", '1:14: input "a" is not a number', id="bounds"),
    pytest.param("{inputs: {a: {type: number, below: x}}, tables: []}", "1:36: a bound must be a number", id="bound"),
    pytest.param("{inputs: {a: {type: number, above: 1, below: 1}}, tables: []}", "1:14: no number lies", id="empty"),
    pytest.param("{inputs: {a: {type: text, optional: 1}}, tables: []}", '1:14: input "a" needs', id="optional"),
    pytest.param("{inputs: {}, tables: [{table: t}]}", "1:31: needs `hit`: one of unique, any", id="table"),
    pytest.param("{", "2:1: not valid YAML", id="yaml"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_malformed_decision_file_is_reported_with_its_place(text: str, message: str) -> None:
    found = parse_decisions(text, "x.yaml")
    assert f"x.yaml:{message}" in f"{found.findings[0].places[0]}: {found.findings[0].message}"
    assert found.tables == ()


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        pytest.param("[a, 1, true, null]", Domain.finite(["a", 1, True, None]), id="values"),
        pytest.param("boolean", Domain.boolean(), id="word"),
        pytest.param("{type: text, optional: true}", Domain.text(optional=True), id="optional"),
        pytest.param("{type: integer, at_least: 1}", Domain.number(integer=True, minimum=1), id="bound"),
    ],
)
def test_declared_inputs_are_domains(text: str, domain: Domain) -> None:
    assert parse_decisions(f"{{inputs: {{a: {text}}}, tables: []}}", "x.yaml").inputs == {"a": domain}


def test_rules_in_force_have_no_declared_inputs(tmp_path: Path) -> None:
    rows = "[{id: a, when: {}, then: {out: true}, because: b}]"
    head = "table: zed, stage: resolve, hit: first, inputs: {a: {input: mode}}, outputs: {out: [true]}"
    text = f"{{{head}, rows: {rows}}}"
    (tmp_path / "zed.yaml").write_text(text)
    with pytest.raises(RuleTableError, match='unknown input mode, which input "a" reads'):
        load_rulebook((str(tmp_path),))


def exported(inputs: dict[str, str], because: str = "b", name: str = "t") -> str:
    """Export a table of one row and output over declared inputs."""
    row = {"id": "a", "then": {"o": True}, "because": because}
    columns = {name: {"input": name} for name in inputs}
    table = {"table": name, "hit": "any", "inputs": columns, "outputs": {"o": [True]}, "rows": [row]}
    found = parse_decisions(json.dumps({"inputs": inputs, "tables": [table]}), "x.yaml")
    return dmn_text(found.ruleset, [name])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        pytest.param({"a.b": "text", "a.b.c": "text"}, "read both as a value and as a structure", id="structure"),
        pytest.param({"a (b)": "text"}, 'the input "a (b)" cannot be named so in FEEL', id="name"),
    ],
)
def test_inputs_without_counterpart_are_not_exported(inputs: dict[str, str], message: str) -> None:
    with pytest.raises(RuleTableError, match=re.escape(message)):
        exported(inputs)


def test_characters_invalid_in_xml_are_not_exported() -> None:
    with pytest.raises(RuleTableError, match="has a character that XML excludes"):
        exported({"a": "text"}, because="\x01")


def test_input_with_the_name_of_a_table_is_renamed() -> None:
    (found,) = parse_dmn(exported({"t": "text"}), "x.dmn").tables
    assert (found.columns[0].name, found.columns[0].source) == ("t", ColumnSource("input", "given t"))


def test_single_output_has_no_name_but_a_label() -> None:
    """The standard names outputs only where there are several."""
    assert re.search(r'<output id="\w+" label="o" typeRef="boolean">', exported({"a": "text"}))
