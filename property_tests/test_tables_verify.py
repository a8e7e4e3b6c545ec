"""Verification agrees with enumerating every configuration of small worlds of tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st
from property_tests.tables_worlds import SETTINGS, World, fifty, holds, matching, worlds

from compozy.base.findings import Finding
from compozy.tables.table import Scalar
from compozy.tables.verify import verify

PAIR_KINDS = ("conflict", "overlap", "duplicate", "subsumed")
DECIDING = ("unique", "first")


def reports(world: World, *kinds: str, most: int = 20_000) -> list[Finding]:
    """The reports of some kinds on the last table."""
    verification = verify(world.ruleset(), most=most)
    return [report for report in verification.findings if report.key == "last" and report.id in kinds]


def row_ids(world: World, report: Finding) -> tuple[str, ...]:
    """The rows that a report points at."""
    places = {row.place: row.id for row in world.ruleset().tables["last"].rows}
    return tuple(places[place] for place in report.places)


def matched_ids(world: World, inputs: dict[str, Scalar]) -> list[str]:
    return [row["id"] for row in matching(world.last, inputs)]


def read_witness(world: World, report: Finding, data: st.DataObject) -> dict[str, Scalar]:
    """The configuration that a witness describes; what it leaves out is unset, or anything."""
    document = yaml.safe_load(report.witness or "") or {}
    configuration = {}
    for setting, (domain, values) in SETTINGS.items():
        value: Any = document
        for part in setting.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None and not domain.optional:
            value = data.draw(st.sampled_from(values))
        configuration[setting] = value
    return configuration


def proposals(report_list: list[Finding]) -> Iterator[dict[str, Any]]:
    for report in report_list:
        (row,) = yaml.safe_load(report.proposal or "")
        yield row


@fifty
@given(worlds(last_hits=DECIDING))
def test_gaps_are_exact(world: World) -> None:
    """Each reachable input without a row lies in exactly one proposed row, and no other input in any."""
    rows = list(proposals(reports(world, "gap")))
    for inputs in world.reachable():
        proposed = sum(all(holds(cell, inputs[name]) for name, cell in row["when"].items()) for row in rows)
        assert proposed == (0 if matching(world.last, inputs) else 1)


@fifty
@given(worlds(last_hits=DECIDING), st.data())
def test_the_witness_of_a_gap_shows_it(world: World, data: st.DataObject) -> None:
    """The settings of a gap's witness lead to inputs for which no row decides."""
    gaps = reports(world, "gap")
    for report in gaps:
        inputs = world.inputs(read_witness(world, report, data))
        assert inputs is not None
        assert matched_ids(world, inputs) == []


@fifty
@given(worlds(last_hits=DECIDING))
def test_proposed_rows_close_their_gaps(world: World) -> None:
    """With all proposed rows added no gap is left, and they collide with no row and each other."""
    gaps = reports(world, "gap")
    pack = yaml.safe_dump({"extends": "last", "rows": list(proposals(gaps))})
    after = [r for r in verify(world.ruleset(pack)).findings if r.key == "last"]
    before = Counter(report.id for report in reports(world, *PAIR_KINDS))
    assert Counter(report.id for report in after if report.id in ("gap", *PAIR_KINDS)) == before


@fifty
@given(worlds(last_hits=DECIDING))
def test_no_gap_is_missed_when_feeders_are_looked_at_apart(world: World) -> None:
    """With too many combinations for a joint search, every real gap is still reported."""
    rows = list(proposals(reports(world, "gap", most=0)))
    for inputs in world.reachable():
        proposed = any(all(holds(cell, inputs[name]) for name, cell in row["when"].items()) for row in rows)
        assert proposed or matching(world.last, inputs)


@fifty
@given(worlds(last_hits=["unique"]))
def test_meeting_rows_are_exact(world: World) -> None:
    """Pairs are reported exactly for rows that some configuration matches together, by what they decide."""
    expected: dict[tuple[str, str], bool] = {}
    for inputs in world.reachable():
        for first, second in combinations(matching(world.last, inputs), 2):
            expected[first["id"], second["id"]] = first["then"] != second["then"]
    found = {row_ids(world, report): report.id == "conflict" for report in reports(world, *PAIR_KINDS)}
    assert found == expected


@fifty
@given(worlds(last_hits=["unique"]), st.data())
def test_the_witness_of_a_pair_shows_it(world: World, data: st.DataObject) -> None:
    """The settings of a pair's witness match both rows."""
    pairs = reports(world, *PAIR_KINDS)
    for report in pairs:
        inputs = world.inputs(read_witness(world, report, data))
        assert inputs is not None
        assert set(row_ids(world, report)) <= set(matched_ids(world, inputs))


@fifty
@given(worlds(last_hits=["collect", "unique"]))
def test_redundant_rows_are_exact(world: World) -> None:
    """A row that reaches no further than another which decides the same is subsumed, or a duplicate."""
    reached: dict[str, set[str]] = {row["id"]: set() for row in world.last["rows"]}
    for inputs in world.reachable():
        for row in matched_ids(world, inputs):
            reached[row].add(repr(inputs))
    expected = {
        (first["id"], second["id"]): reached[first["id"]] == reached[second["id"]]
        for first, second in combinations(world.last["rows"], 2)
        if first["then"] == second["then"] and nested(reached[first["id"]], reached[second["id"]])
    }
    found = {row_ids(world, r): r.id == "duplicate" for r in reports(world, "duplicate", "subsumed")}
    assert found == expected


def nested(first: set[str], second: set[str]) -> bool:
    return bool(first) and bool(second) and (first <= second or second <= first)


@fifty
@given(worlds())
def test_contradictory_and_unreachable_rows_are_exact(world: World) -> None:
    """A row is a contradiction or unreachable exactly when no configuration matches it."""
    alive = {row for inputs in world.reachable() for row in matched_ids(world, inputs)}
    found = {r.message.split('"')[3] for r in reports(world, "contradiction", "unreachable")}
    assert found == {row["id"] for row in world.last["rows"]} - alive


@fifty
@given(worlds(last_hits=["first"]))
def test_masked_rows_are_exact(world: World) -> None:
    """A row is masked exactly when it matches somewhere and is nowhere the first to match."""
    matched = [matched_ids(world, inputs) for inputs in world.reachable()]
    firing = {rows[0] for rows in matched if rows}
    masked = {row for rows in matched for row in rows} - firing
    assert {row_ids(world, report)[0] for report in reports(world, "masked")} == masked


@fifty
@given(worlds(last_hits=["first"]))
def test_reported_masking_rows_cover_the_masked_row(world: World) -> None:
    """The earlier rows named in a report take everything that the masked row matches."""
    masked = reports(world, "masked")
    for report in masked:
        row, *hiding = row_ids(world, report)
        for inputs in world.reachable():
            rows = matched_ids(world, inputs)
            assert row not in rows or set(rows) & set(hiding)


@fifty
@given(worlds())
def test_unproduced_values_are_exact(world: World) -> None:
    """An output value is reported exactly when no configuration makes a row decide it."""
    produced = set()
    for inputs in world.reachable():
        rows = matching(world.last, inputs)
        produced |= {row["then"]["out"] for row in (rows[:1] if world.last["hit"] == "first" else rows)}
    missing = sorted({"p", "q", "r"} - produced)
    found = [report.message.split("the value ")[1] for report in reports(world, "unproduced")]
    assert found == ([", ".join(missing)] if missing else [])


@fifty
@given(worlds(last_hits=DECIDING), st.integers(0, 2), st.sampled_from([0, 5, 20_000]))
def test_exhausted_search_budget_is_reported(world: World, steps: int, most: int) -> None:
    """Every finding of a full search is reported within any budget, or the table is reported as unproven."""
    ruleset = world.ruleset()
    short = verify(ruleset, steps=steps, most=most).findings
    unproven = {
        report.key for report in short if report.id == "unproven" or (report.evidence and not report.evidence.exact)
    }
    listed = {(report.key, report.id, report.places[0]) for report in short}
    for report in verify(ruleset).findings:
        # What a table can decide is an input of the tables after it.
        if not unproven:
            assert (report.key, report.id, report.places[0]) in listed
