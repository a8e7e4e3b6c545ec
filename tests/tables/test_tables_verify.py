"""Verification: each kind of report, with places, witness and proposal."""

from __future__ import annotations

import pytest
import yaml
from tests.tables.fakes import FakeCatalogue, named, reports, row, rows, table, verified

from compozy.tables.decide import RuleSet, compile_leniently
from compozy.tables.read import read_tables
from compozy.tables.verify import KINDS, verify, verify_table

MODES = """
table: mode
hit: unique
inputs: {mode: {setting: mode}}
outputs: {mode: [memory, persistent]}
rows:
  - {id: memory, when: {mode: {not: persistent}}, then: {mode: memory}, because: x}
  - {id: kept, when: {mode: persistent}, then: {mode: persistent}, because: x}
"""
COMPLETE = table(rows(row("x", "mode: x"), row("rest", "mode: {not: x}", "b")))
FINDING = "{id: r, finding: {severity: error, text: t, good: {}, bad: {mode: x}}}"


def lines(*texts: str, kind: str) -> list[str]:
    return [f"{report.places[0]}: {report.message}" for report in reports(*texts, kind=kind)]


def test_complete_tables_are_valid() -> None:
    """Valid tables have no finding, and tables and rows are counted."""
    verification = verified(MODES, COMPLETE)
    assert (verification.valid, verification.findings, verification.tables, verification.rows) == (True, (), 2, 4)


# gaps


def test_a_gap_is_described_witnessed_and_mended() -> None:
    """A gap names its region, settings that show it, and a row that closes it."""
    lines = rows(row("a", "mode: memory"), row("b", "mode: {not: memory}, engine: [auto, valkey]", "b"))
    (gap,) = reports(table(lines, "mode: {setting: mode}, engine: {setting: redis.engine}"), kind="gap")
    assert gap.message == 'table "t" has no row for mode: not memory, engine: fakeredis'
    assert gap.witness == "redis:\n  engine: fakeredis"
    assert yaml.safe_load(gap.proposal or "") == [
        {
            "id": "new-1",
            "when": {"mode": {"not": "memory"}, "engine": "fakeredis"},
            "then": {"out": "a"},
            "because": "as in the nearest row a; add the reason, or decide otherwise",
        }
    ]


def test_neighbouring_gaps_are_joined() -> None:
    """Gaps that differ in one column only are one region."""
    lines = row("a", "engine: auto, x: {above: 1, at_most: 5}")
    inputs = "engine: {setting: redis.engine}, x: {setting: load}"
    gaps = [report.message.split("for ")[1] for report in reports(table(lines, inputs), kind="gap")]
    assert sorted(gaps) == ["engine: auto, x: <= 1 or > 5 or unset", "engine: valkey or fakeredis"]


def test_an_integer_domain_has_no_gap_between_neighbours() -> None:
    """Two neighbouring integers have no value between them to match."""
    lines = rows(row("a", "x: {below: 5}"), row("b", "x: {above: 4}", "b"))
    assert reports(table(lines, "x: {setting: server.port}"), kind="gap") == []


def test_gap_outside_the_domain_is_not_reported() -> None:
    """Numbers that a setting cannot have need no row."""
    lines = rows(row("a", "x: {at_least: 0}"), row("b", "x: {above: 65535}", "b"))
    assert reports(table(lines, "x: {setting: server.port}"), kind="gap") == []


def test_gap_of_infeasible_decisions_is_not_reported() -> None:
    """Combinations that the feeding tables never bring about need no row."""
    other = MODES.replace("table: mode", "table: other")
    lines = rows(row("a", "x: memory, y: memory"), row("b", "x: persistent, y: persistent", "b"))
    assert verified(MODES, other, table(lines, "x: {decision: mode}, y: {decision: other}")).valid


def test_a_gap_behind_other_tables_is_cut_into_rows() -> None:
    """Columns that share a setting may leave a gap of any shape; its rows cover it exactly, apart."""
    feeder = """
    table: {name}
    hit: first
    inputs: {{mode: {{setting: mode}}, own: {{setting: {own}}}}}
    outputs: {{out: [p, q]}}
    rows:
      - {{id: q, when: {{mode: x, own: set}}, then: {{out: q}}, because: x}}
      - {{id: p, then: {{out: p}}, because: x}}
    """
    feeders = [feeder.format(name="one", own="redis.mode"), feeder.format(name="two", own="provider")]
    text = table(row("a", "x: p, y: p"), "x: {decision: one}, y: {decision: two}")
    gaps = reports(*feeders, text, kind="gap")
    assert [report.message.split("for ")[1] for report in gaps] == ["y: q", "x: q, y: p"]
    assert [yaml.safe_load(report.witness or "") for report in gaps] == [
        {"mode": "x", "provider": "other"},
        {"mode": "x", "redis": {"mode": "other"}},
    ]


def test_machine_facts_and_views_are_comments_of_a_witness() -> None:
    """Inputs other than settings are comment lines."""
    lines = row("a", "x: found, y: default, z: a")
    inputs = "x: {machine: binary}, y: {setting: server.port, view: origin}, z: {setting: redis.mode}"
    witnesses = [report.witness for report in reports(table(lines, inputs), kind="gap")]
    assert "# machine: binary = missing" in witnesses
    assert "# view: origin of server.port = file\n# machine: binary = found" in {
        "\n".join(reversed((witness or "").splitlines())) for witness in witnesses
    }


def test_a_witness_of_an_item_is_a_list() -> None:
    """A table for each element of a list is witnessed by a list of one element."""
    text = table(row("a", "x: [a, unset]"), "x: {item: provider}").replace("hit:", "for_each: dbs.list\nhit:")
    (gap,) = reports(text, kind="gap")
    assert gap.witness == "dbs:\n  list:\n  - provider: other"


@pytest.mark.parametrize(
    ("values", "extent"), [("abc", "first 1 of 3"), ("abcdef", "first 1 of at least 4"), ("a", "")]
)
def test_listing_is_capped_and_counted(values: str, extent: str) -> None:
    """No more than the limit are listed; a report gives the total, as far as they were counted."""
    lines = [row(f"not-{value}", f"x: {value}, y: {{not: {value}}}") for value in values]
    lines.append(row("rest", f"x: {{not: [{', '.join(values)}]}}"))
    gaps = reports(table(rows(*lines), "x: {setting: mode}, y: {setting: provider}"), kind="gap", limit=1)
    assert [gap.evidence and gap.evidence.extent for gap in gaps] == [extent]


def test_a_proposed_id_is_free() -> None:
    """A proposed row does not take the id of an existing one."""
    (gap,) = reports(table(row("new-1", "mode: a")), kind="gap")
    assert yaml.safe_load(gap.proposal or "")[0]["id"] == "new-2"


@pytest.mark.parametrize(("outputs", "value"), [("[null, 5]", 5), ("text", ""), ("number", 0), ("boolean", False)])
def test_a_table_without_rows_is_a_gap(outputs: str, value: object) -> None:
    """With no row to go by, the proposal takes a legal value."""
    text = f"table: t\nhit: first\noutputs: {{out: {outputs}}}"
    (gap,) = reports(text, kind="gap")
    assert gap.message == 'table "t" has no row for any input'
    assert yaml.safe_load(gap.proposal or "")[0]["then"] == {"out": value}


# pairs of rows


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        pytest.param(row("a", "mode: [x, y]"), row("b", "mode: [y, z]", "b"), "conflict", id="conflict"),
        pytest.param(row("a", "mode: [x, y]"), row("b", "mode: [y, z]"), "overlap", id="overlap"),
        pytest.param(row("a", "mode: [x, y]"), row("b", "mode: [y, x]"), "duplicate", id="duplicate"),
        pytest.param(row("a", "mode: [x, y]"), row("b", "mode: y"), "subsumed", id="subsumed"),
    ],
)
def test_meeting_rows_are_reported_with_both_places(first: str, second: str, kind: str) -> None:
    """Two rows that match together are reported by what they decide, with both places and a witness."""
    (report,) = reports(table(rows(first, second)), kind=kind)
    assert [str(place) for place in report.places] == ["a.yaml:6:10", "a.yaml:7:10"]
    assert report.witness in ("mode: x", "mode: y")


def test_a_conflict_names_both_files() -> None:
    """Rows of different packs that contradict each other are named with both files."""
    pack = "extends: t\nrows:\n  - " + row("new", "mode: [x, y]")
    assert [
        place.file
        for report in reports(COMPLETE, pack, kind="conflict")[:1]
        for place in sorted(report.places)
    ] == ["a.yaml", "b.yaml"]  # fmt: skip


def test_rows_meet_nowhere_behind_other_tables() -> None:
    """Rows that could only match together where no settings lead are no conflict."""
    other = MODES.replace("table: mode", "table: other")
    lines = rows(row("a", "x: memory"), row("b", "y: persistent", "b"))
    assert verified(MODES, other, table(lines, "x: {decision: mode}, y: {decision: other}")).valid


def test_a_repeated_finding_is_subsumed() -> None:
    """In a `collect` table a row within another one is reported only if both have the same outcome."""
    same = rows(row("a", "mode: [x, y]"), row("b", "mode: x"), row("c", "mode: x", "b"))
    (report,) = reports(table(same, hit="collect"), kind="subsumed")
    assert report.message == 'table "t": row "b" lies within row "a", which decides the same; remove it'


# rows that never decide


def test_a_row_hidden_by_one_row_names_it() -> None:
    """A row within an earlier one never decides in a `first` table."""
    lines = rows(row("x", "mode: x"), row("wide", "mode: {not: x}"), row("y", "mode: y", "b"))
    assert lines_of(lines) == ['row "y" never decides: before it, "wide" takes all that it matches']


def test_row_masked_by_several_rows_names_a_sufficient_set() -> None:
    """A row that only the union of earlier ones hides names them, and no others."""
    lines = rows(
        row("far", "mode: z"), row("x", "mode: x"), row("rest", "mode: {not: [x, y]}"), row("masked", "mode: {not: y}")
    )
    assert lines_of(lines) == ['row "masked" never decides: before it, "x", "rest" together take all that it matches']


def lines_of(text: str) -> list[str]:
    found = reports(table(text, hit="first"), kind="masked")
    return [report.message.removeprefix('table "t": ') for report in found]


def test_unsatisfiable_cell_is_a_contradiction() -> None:
    """A cell that excludes its whole domain is named with its own place."""
    text = table(row("r", "x: {not: [auto, valkey, fakeredis]}"), "x: {setting: redis.engine}", "collect")
    assert lines(text, kind="contradiction") == [
        'a.yaml:6:23: table "t": row "r": no value of input "x" satisfies not auto nor valkey nor fakeredis'
    ]


def test_row_without_feasible_settings_is_unreachable() -> None:
    """A row that waits for a decision that never comes is named with what it waits for."""
    never = MODES.replace("[memory, persistent]}", "[memory, persistent, distributed]}")
    text = table(rows(row("r", "x: distributed"), row("s", "x: {not: distributed}", "b")), "x: {decision: mode}")
    assert lines(never, text, kind="unreachable") == [
        'b.yaml:6:10: table "t": no settings reach row "r": the tables that feed it never give x: distributed'
    ]


def test_an_unknown_value_is_reported_once() -> None:
    """A cell whose only value is unknown is not reported as a contradiction too."""
    text = table(row("r", "x: vlakey"), "x: {setting: redis.engine}", "collect")
    kinds = [report.id for report in verified(text).findings]
    assert kinds == ["unknown-value", "unproduced"]


# outputs, findings, names


def test_unproduced_output_value_is_reported() -> None:
    """Values that no row gives, or only rows that never decide, are named."""
    text = table(rows(row("all", ""), row("masked", "mode: x", "b")), hit="first", outputs="[a, b, null]")
    assert lines(text, kind="unproduced") == [
        'a.yaml:1:8: table "t": no row that can decide gives output "out" the value b, null'
    ]


def test_a_value_of_a_masked_row_does_not_feed_other_tables() -> None:
    """An output of a masked row alone counts as unproduced."""
    feeder = table(rows(row("all", ""), row("masked", "mode: x", "b")), hit="first")
    reader = table(rows(row("a", "x: a"), row("b", "x: b", "b")), "x: {decision: t}").replace("table: t", "table: u")
    assert [report.key for report in reports(feeder, reader, kind="unreachable")] == ["u"]


@pytest.mark.parametrize("missing", ["severity", "text", "good", "bad"])
def test_a_finding_without_example_is_reported(missing: str) -> None:
    """A finding needs its severity, its text, a good and a bad example."""
    text = f"table: t\nhit: collect\nrows:\n  - {FINDING.replace(missing, 'x-' + missing)}"
    assert lines(text, kind="incomplete-finding") == [
        f'a.yaml:4:10: table "t": the finding of row "r" has no {missing}'
    ]


def test_faults_of_linking_are_reported_with_the_rest() -> None:
    """Unknown names and circles do not hide what else is wrong."""
    circle = table(row("r", ""), "x: {decision: u}, y: {setting: nope}").replace("table: t", "table: c")
    other = table(row("r", "x: zz"), "x: {decision: c}, y: {decision: nowhere}").replace("table: t", "table: u")
    gap = table(row("r", "mode: x"))
    kinds = {report.id for report in verified(circle, other, gap).findings}
    assert {"cycle", "unknown-input", "unknown-decision", "unknown-value", "gap"} <= kinds <= set(KINDS)


# many combinations

CHOICES = "{a: {setting: mode}, b: {setting: redis.mode}, c: {setting: provider}, d: {setting: load}}"
READER = table(rows(row("p", "x: p, y: p"), row("q", "x: q, y: q", "b")), "x: {decision: one}, y: {decision: two}")


def chain(*lines: str) -> tuple[str, str, str]:
    """Two tables that decide the same, and one that reads both."""
    listed = "".join(f"  - {line}\n" for line in lines)
    one = f"table: one\nhit: first\ninputs: {CHOICES}\noutputs: {{out: [p, q]}}\nrows:\n{listed}"
    return one, one.replace("table: one", "table: two"), READER


def test_choices_with_equal_rows_are_counted_once() -> None:
    """Four settings of twenty values each: too many configurations to enumerate."""
    lines = [row(f"r{n}", f"a: v{n}, b: w{n}, c: x{n}, d: {n}", "p") for n in range(20)]
    assert verified(*chain(*lines, row("rest", "", "q"))).findings == ()


def test_unproven_reachability_is_reported_as_warning() -> None:
    """Rows that leave something else for every combination of values."""
    texts = chain(row("r", "a: v", "p"), row("rest", "", "q"))
    gaps = [report for report in verify(ruleset_of(*texts), most=0).findings if report.id == "gap"]
    assert [report.severity for report in gaps] == ["warning", "warning"]
    assert [report.message.partition("; ")[2] for report in gaps] == [
        "it may be unreachable: too many combinations to prove"
    ] * 2
    assert {report.severity for report in gaps} == {"warning"}


def test_possibly_unreachable_rows_are_reported_as_unproven() -> None:
    """Two rows of the reader ask for different decisions of equal tables."""
    pairs = [row(f"{x}{y}", f"x: {x}, y: {y}", out) for x, y, out in ("ppa", "pqb", "qpb", "qqa")]
    texts = chain(row("r", "a: v", "p"), row("rest", "", "q"))
    reader = table(rows(*pairs), "x: {decision: one}, y: {decision: two}")
    ruleset = ruleset_of(*texts[:2], reader)
    assert [found.id for found in verify(ruleset).findings] == ["unreachable", "unreachable", "unproduced"]
    assert [found.id for found in verify(ruleset, most=0).findings] == ["unproven"]


def ruleset_of(*texts: str) -> RuleSet:
    return compile_leniently(read_tables(named(*texts)), FakeCatalogue())


def test_table_with_many_paths_to_it_is_checked_once() -> None:
    """Forty layers of two tables, each of which reads both tables of the layer before, have 2**40 paths."""
    first = table(row("x", ""), hit="first")
    texts = [first.replace("table: t", f"table: l0{side}") for side in "ab"]
    for layer in range(1, 40):
        inputs = f"a: {{decision: l{layer - 1}a}}, b: {{decision: l{layer - 1}b}}"
        block = table(rows(row("x", "a: a"), row("y", "a: b", "b")), inputs)
        texts += [block.replace("table: t", f"table: l{layer}{side}") for side in "ab"]
    assert {report.id for report in verified(*texts).findings} == {"unproduced", "unreachable"}


def test_long_chain_of_tables_is_verified_without_recursion() -> None:
    """Each of 300 tables reads the one before it and the same setting; one row of each but the first is dead."""
    first = table(rows(row("x", "mode: x"), row("y", "mode: {not: x}", "b"))).replace("table: t", "table: l0")
    block = rows(row("x", "mode: x, d: a"), row("y", "mode: {not: x}, d: b", "b"), row("z", "mode: x, d: b"))
    layers = [
        table(block, f"mode: {{setting: mode}}, d: {{decision: l{n - 1}}}").replace("table: t", f"table: l{n}")
        for n in range(1, 300)
    ]
    ruleset = ruleset_of(first, *layers)
    assert [found.id for found in verify(ruleset).findings] == ["unreachable"] * 299
    assert [found.id for found in verify_table(ruleset, "l299")] == ["unreachable"]
