"""Rule packs: blocks that extend tables, and conflicts that name both files."""

from __future__ import annotations

import pytest
from tests.tables.fakes import named, row, rows, table

from compozy.errors import RuleTableError
from compozy.tables.read import read_tables
from compozy.tables.table import Domain, Table

BASE = table(rows(row("one", "mode: x"), row("two", "mode: y"), row("rest", "")), hit="first")


def pack(lines: str, more: str = "") -> str:
    indented = "".join(f"  - {line}\n" for line in lines.splitlines())
    return f"extends: t\n{more}\n" + (f"rows:\n{indented}" if lines else "")


def marked(row_id: str, mark: str, target: str) -> str:
    return f"{{id: {row_id}, {mark}: {target}, when: {{mode: z}}, then: {{out: b}}, because: why}}"


def merged(*packs: str) -> Table:
    (found,) = read_tables(named(BASE, *packs))
    return found


def problem(*packs: str) -> str:
    with pytest.raises(RuleTableError) as caught:
        merged(*packs)
    return "\n".join(map(str, caught.value.findings))


def test_rows_are_appended() -> None:
    """A pack's rows follow those of the table, wherever the pack is read."""
    first = read_tables([("pack.yaml", pack(row("three", "mode: z"))), ("base.yaml", BASE)])
    assert [found.id for found in first[0].rows] == ["one", "two", "rest", "three"]


def test_a_row_takes_the_place_of_the_one_it_replaces() -> None:
    """A replacing row has the position of the replaced one, and names it."""
    found = merged(pack(marked("new", "replaces", "two"))).rows
    assert [(r.id, r.replaces) for r in found] == [("one", None), ("new", "two"), ("rest", None)]


def test_a_row_may_keep_the_name_of_the_one_it_replaces() -> None:
    """Replacing a row by one of the same id is no duplicate."""
    assert [r.because for r in merged(pack(marked("two", "replaces", "two"))).rows] == ["why"] * 3


def test_a_row_is_put_before_another() -> None:
    """In a `first` table a pack specifies the row that its own row precedes."""
    assert [r.id for r in merged(pack(marked("new", "before", "rest"))).rows] == ["one", "two", "new", "rest"]


def test_outputs_are_widened() -> None:
    """`values` adds to the legal values of a listed output."""
    found = merged(pack(row("three", "mode: z", "c"), "values: {out: [c, null]}"))
    assert found.outputs["out"] == Domain("finite", ("a", "b", "c"), True)


def test_inputs_are_added() -> None:
    """A pack may add an input; rows that do not mention it hold for any value of it."""
    found = merged(pack(row("three", "more: z"), "inputs: {more: {setting: redis.mode}}"))
    assert [column.name for column in found.columns] == ["mode", "more"]


@pytest.mark.parametrize(
    ("packs", "expected"),
    [
        pytest.param(
            [pack(marked("n", "replaces", "two")), pack(marked("m", "replaces", "two"))],
            'c.yaml:4:5: row "two" of table "t" is already replaced at b.yaml:4:5',
            id="replaced-twice",
        ),
        pytest.param(
            [pack(row("n", "")), pack(row("n", ""))],
            'c.yaml:4:10: row "n" of table "t" already exists at b.yaml:4:5',
            id="same-row-in-two-packs",
        ),
        pytest.param(
            [pack(row("one", ""))], 'b.yaml:4:10: row "one" of table "t" already exists at a.yaml:6:5', id="same-row"
        ),
        pytest.param(
            [pack(marked("n", "replaces", "tow"))],
            'names the row "tow", which table "t" does not have; did you mean "two"?',
            id="replaces-nothing",
        ),
        pytest.param([pack(marked("n", "before", "x"))], '`before` names the row "x"', id="before-nothing"),
        pytest.param(
            ["extends: tt"], 'b.yaml:1:10: extends the table "tt", which does not exist; did you mean "t"?', id="table"
        ),
        pytest.param([BASE], 'b.yaml:1:8: table "t" is already defined at a.yaml:1:8', id="defined-twice"),
        pytest.param([pack("", "hit: first")], 'unknown key "hit" in a block that extends', id="key"),
        pytest.param([pack("", "values: {oout: [c]}")], 'has no output "oout"; did you mean "out"?', id="output"),
        pytest.param(
            [pack("", "values: {out: c}")], "only a listed output can be widened or narrowed", id="values-scalar"
        ),
        pytest.param([pack("", "values: [c]")], "`values` must map outputs", id="values-list"),
        pytest.param(
            [pack("", "inputs: {mode: {setting: x}}")], 'already has the input "mode" at a.yaml:3:10', id="input"
        ),
    ],
)
def test_a_conflict_is_named(packs: list[str], expected: str) -> None:
    """A conflict of packs is named with both places."""
    assert expected in problem(*packs)


def test_removed_row_is_absent() -> None:
    assert [r.id for r in merged(pack("", "removes: [two]")).rows] == ["one", "rest"]


def test_a_pack_may_remove_the_row_of_another_pack() -> None:
    packs = (pack(row("three", "mode: z")), pack("", "removes: [three, one]"))
    assert [r.id for r in merged(*packs).rows] == ["two", "rest"]


def test_a_replacement_is_replaced_by_its_own_name() -> None:
    """A policy pack over a team pack over the table."""
    team, policy = pack(marked("team", "replaces", "two")), pack(marked("policy", "replaces", "team"))
    assert [(r.id, r.replaces) for r in merged(team, policy).rows] == [
        ("one", None), ("policy", "team"), ("rest", None),
    ]  # fmt: skip


def test_outputs_are_narrowed() -> None:
    found = merged(pack("", "without: {out: [b]}"))
    assert found.outputs["out"] == Domain.finite(["a"])


@pytest.mark.parametrize(
    ("packs", "text"),
    [
        pytest.param([pack("", "removes: [twoo]")], '`removes` names the row "twoo"', id="removes-unknown"),
        pytest.param([pack("", "removes: two")], "`removes` must be a list of rows", id="removes-scalar"),
        pytest.param(
            [pack("", "without: {out: [z]}")], 'output "out" of table "t" has no value z', id="without-unknown"
        ),
        pytest.param([pack("", "without: {aut: [a]}")], 'table "t" has no output "aut"', id="without-output"),
        pytest.param([pack("", "without: [a]")], "`without` must map outputs", id="without-list"),
        pytest.param(
            [pack("", "without: {out: [a]}")], 'a is not a value of output "out"', id="row-with-removed-value"
        ),
    ],
)
def test_pack_cannot_remove_a_missing_row(packs: list[str], text: str) -> None:
    assert text in problem(*packs)
