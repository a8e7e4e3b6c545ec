"""Reading tables: what they become, and that every mistake is named with its place."""

from __future__ import annotations

import pytest
from tests.tables.fakes import named, read, row, rows, table

from compozy.errors import RuleTableError
from compozy.tables.read import read_tables
from compozy.tables.table import ColumnSource, Condition, Domain, Place

FULL = """
table: redis.driver
stage: resolve
about: The driver.
hit: unique
for_each: knowledge.dbs
inputs:
  mode:   {decision: redis.mode, output: mode}
  engine: {setting: redis.engine, view: lowered}
  binary: {machine: binary}
  item:   {item: provider}
outputs:
  driver: [valkey, null]
  kept: boolean
sets: {driver: redis.driver}
rows:
  - {id: only, when: {mode: memory}, then: {driver: null, kept: false}, because: "it is"}
"""


def problems(*texts: str) -> list[str]:
    with pytest.raises(RuleTableError) as caught:
        read_tables(named(*texts))
    return [str(finding) for finding in caught.value.findings]


def test_a_table_is_read() -> None:
    """Head, columns, outputs and rows become records with their places."""
    (table,) = read(FULL)
    assert (table.id, table.stage, table.hit, table.about, table.for_each) == (
        "redis.driver", "resolve", "unique", "The driver.", "knowledge.dbs",
    )  # fmt: skip
    assert table.outputs == {"driver": Domain("finite", ("valkey",), True), "kept": Domain.boolean()}
    assert table.sets == {"driver": "redis.driver"}
    assert table.place == Place("rules.yaml", 2, 8, 12)


def test_sources_are_read() -> None:
    """Each kind of input names its source; an item knows the list that it is of."""
    (table,) = read(FULL)
    assert [column.source for column in table.columns] == [
        ColumnSource("decision", "redis.mode", output="mode"),
        ColumnSource("setting", "redis.engine", view="lowered"),
        ColumnSource("machine", "binary"),
        ColumnSource("item", "provider", each="knowledge.dbs"),
    ]


def test_a_row_is_read() -> None:
    """A row holds conditions, outputs, the reason and the place of each cell."""
    (only,) = read(FULL)[0].rows
    assert (only.id, only.then, only.because) == ("only", {"driver": None, "kept": False}, "it is")
    assert only.when == {"mode": Condition.of(["memory"])}
    assert only.place == Place("rules.yaml", 17, 10, 4)
    assert only.cells == {"mode": Place("rules.yaml", 17, 29, 6)}


def test_a_finding_is_kept_as_plain_data() -> None:
    """The content of a finding is handed on without being interpreted."""
    text = "table: t\nhit: collect\nrows: [{id: r, finding: {severity: error, good: {a: [1]}}}]"
    assert read(text)[0].rows[0].body == {"severity": "error", "good": {"a": [1]}}


def test_one_file_holds_several_tables() -> None:
    """A file lists tables under `tables`, or is one itself; an empty file holds none."""
    several = "tables:\n- {table: a, hit: collect}\n- {table: b, hit: collect}"
    found = read_tables(named(several, "table: c\nhit: collect", "# nothing"))
    assert [table.id for table in found] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("outputs", "value", "optional"),
    [("text", "null", True), ("number", "null", True), ("text", "x", False), ("number", "1", False)],
)
def test_null_makes_an_output_of_text_or_number_optional(outputs: str, value: str, optional: bool) -> None:
    """The words `text` and `number` do not include unset; a row that gives null adds it."""
    (found,) = read(table(row("r", "", value), outputs=outputs))
    assert found.outputs["out"].optional is optional


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: [", "a.yaml:2:1: not valid YAML", id="syntax"),
        pytest.param("a:\n\tb: 1", "a.yaml:2:1: not valid YAML: a tab where YAML wants blanks", id="tab"),
        pytest.param("hit: a\nhit: b", 'a.yaml:2:1: key "hit" is written twice', id="duplicate-key"),
        pytest.param("- 1", "a.yaml:1:1: a rule file must be a mapping", id="list-file"),
        pytest.param("tables: {}", "a.yaml:1:9: `tables` must be a list", id="tables-mapping"),
        pytest.param("tables: [1]", "a.yaml:1:10: each of `tables` must be a mapping", id="table-scalar"),
        pytest.param("hit: first", "a.yaml:1:1: needs either `table: <id>` or `extends: <id>`", id="no-id"),
        pytest.param("table: [x]", "a.yaml:1:8: `table` must be the id of a table", id="id-list"),
        pytest.param("table: t", "a.yaml:1:8: needs `hit`: one of unique, any, first, collect", id="no-hit"),
        pytest.param("table: t\nhit: uniqe", 'unknown hit policy "uniqe"; did you mean "unique"?', id="hit"),
        pytest.param("table: t\nhit: first", "`outputs` must map names to domains", id="no-outputs"),
        pytest.param("table: t\nhit: collect\nrow: []", 'unknown key "row" in a table; did you mean "rows"?', id="key"),
        pytest.param("tables: []\nrow: []", 'unknown key "row" in a file of several tables', id="file-key"),
        pytest.param("table: t\nhit: collect\nrows: {}", "`rows` must be a list", id="rows-mapping"),
        pytest.param("table: t\nhit: collect\nrows: [1]", "each of `rows` must be a mapping", id="row-scalar"),
        pytest.param("table: t\nhit: collect\ninputs: []", "`inputs` must be a mapping", id="inputs-list"),
        pytest.param("table: t\nhit: collect\nsets: []", "`sets` must map outputs to keys", id="sets-list"),
        pytest.param("table: t\nhit: collect\nsets: {x: y}", '`sets` names "x", which is not an output', id="sets"),
        pytest.param("table: t\nhit: collect\nabout: [x]", "`about` must be text", id="about"),
        pytest.param("table: t\nhit: collect\nrows: [{finding: {}}]", "a row needs an `id`", id="row-id"),
        pytest.param("table: t\nhit: collect\nrows: [{id: r}]", 'row "r" needs `then` or `finding`', id="empty-row"),
        pytest.param("table: t\nhit: collect\nrows: [{id: r, finding: x}]", "`finding` must be a mapping", id="body"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_named(text: str, expected: str) -> None:
    """Each mistake in a file is named with its place."""
    assert expected in "\n".join(problems(text))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("{id: r, then: {out: a}, because: x, wen: {}}", '"wen" in a row; did you mean "when"?', id="key"),
        pytest.param("{id: r, when: [], then: {out: a}, because: x}", "`when` must be a mapping", id="when"),
        pytest.param(row("r", "moed: a"), 'table "t" has no input "moed"; did you mean "mode"?', id="input"),
        pytest.param(row("r", "mode: []"), "an empty list never holds", id="cell"),
        pytest.param("{id: r, because: x}", 'row "r" needs `then`', id="then"),
        pytest.param("{id: r, then: {}, because: x}", 'row "r" gives no value for output "out"', id="missing-output"),
        pytest.param("{id: r, then: {out: a}}", 'row "r" needs `because`', id="because"),
        pytest.param(row("r", "", "c"), 'c is not a value of output "out"; known: a, b', id="value"),
        pytest.param(row("r", "", "[a]"), 'is not a value of output "out"', id="value-list"),
        pytest.param(row("r", "", "null"), 'unset is not a value of output "out"', id="value-null"),
        pytest.param("{id: r, then: {ouy: a}, because: x}", 'has no output "ouy"; did you mean "out"?', id="output"),
        pytest.param(rows(row("r", ""), row("r", "")), 'row "r" of table "t" already exists at a.yaml:6:5', id="same"),
        pytest.param("{id: r, replaces: q, then: {out: a}, because: x}", "`replaces` belongs to a block", id="swap"),
        pytest.param("{id: r, before: q, then: {out: a}, because: x}", "`before` belongs to a block", id="before"),
    ],
)  # fmt: skip
def test_a_malformed_row_is_named(line: str, expected: str) -> None:
    """Each mistake in a row is named with its place."""
    assert expected in "\n".join(problems(table(line)))


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        pytest.param("x: {}", "needs exactly one of setting, machine, item, decision", id="none"),
        pytest.param("x: mode", "needs exactly one of setting, machine, item, decision", id="scalar"),
        pytest.param("x: {setting: a, machine: b}", "needs exactly one of", id="two"),
        pytest.param("x: {setting: [a]}", "`setting` must be text", id="list"),
        pytest.param("x: {setting: a, output: b}", 'unknown key "output"', id="output-of-setting"),
        pytest.param("x: {decision: a, view: b}", 'unknown key "view"', id="view-of-decision"),
        pytest.param(
            "x: {machine: a, view: given}", 'unknown key "view" in an input of kind machine', id="view-of-fact"
        ),
        pytest.param("x: {item: a}", "an `item` needs a table with `for_each`", id="item"),
        pytest.param("x: {setting: a}, y: {setting: a}", 'input "y" reads the same as input "x"', id="same"),
    ],
)
def test_a_malformed_input_is_named(inputs: str, expected: str) -> None:
    """Each mistake in an input is named with its place."""
    assert expected in "\n".join(problems(table(row("r", ""), inputs)))


@pytest.mark.parametrize("outputs", ["[]", "words", "{}", "[[a]]"])
def test_a_malformed_output_is_named(outputs: str) -> None:
    """An output that is neither a list of values nor a known word is refused."""
    assert any(
        "a.yaml:4:16" in line or "a.yaml:4:17" in line for line in problems(table(row("r", ""), outputs=outputs))
    )


def test_all_problems_are_reported_at_once() -> None:
    """One error names every problem of every file, in the order of files and lines."""
    found = problems(table(rows(row("r", "moed: a"), row("s", "", "z"))), "table: u", "a: [")
    assert [line.split(": ")[0] for line in found] == ["a.yaml:6:20", "a.yaml:7:35", "b.yaml:1:8", "c.yaml:2:1"]
