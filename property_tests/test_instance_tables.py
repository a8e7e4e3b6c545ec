"""Verification of random tables with an instance for each element agrees with resolving every combination."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from property_tests.pack_worlds import MODE, SHELL, resolved, resolved_from_file

from compozy.base.findings import Collector, Finding
from compozy.rulebook.rows import Rulebook, read_rules
from compozy.tables.verify import verify

SETTINGS = """
settings:
  - {path: mode, type: choice, values: [memory, persistent], checked: rules, help: m}
  - path: shops
    type: list
    default: []
    help: l
    items:
      - {path: id, type: text, unique: true, help: i}
      - {path: kind, type: choice, values: [small, large], help: k}
      - {path: size, type: choice, values: [small, large], default: small, help: k}
      - {path: label, type: text, help: t}
      - {path: count, type: integer, default: 3, help: c}
      - {path: ports, type: integer, minimum: 1, help: c}
      - {path: active, type: boolean, help: o}
"""
# A decision about an element, and one that is not about elements.
FEEDERS = """
tables:
  - table: shop.first
    stage: resolve
    hit: unique
    about: a
    for_each: shops
    inputs: {kind: {item: kind}}
    outputs: {out: [x, y]}
    rows:
      - {id: a, when: {kind: large}, then: {out: x}, because: b}
      - {id: b, when: {kind: {not: large}}, then: {out: y}, because: b}
  - table: common
    stage: resolve
    hit: unique
    about: a
    inputs: {mode: {setting: mode}}
    outputs: {out: [p, q]}
    rows:
      - {id: a, when: {mode: persistent}, then: {out: p}, because: b}
      - {id: b, when: {mode: {not: persistent}}, then: {out: q}, because: b}
"""
SOURCES: Mapping[str, Mapping[str, str]] = {
    **{name: {"item": name} for name in ("kind", "size", "label", "count", "ports", "active")},
    "first": {"decision": "shop.first"},
    "common": {"decision": "common"},
    "mode": {"setting": "mode"},
}
# Values of each input that conditions may list, and what an element or the configuration may contain.
LISTED: Mapping[str, list[Any]] = {
    "kind": ["small", "large"], "size": ["small", "large"], "label": ["one", "two"], "count": [0, 2, 3],
    "ports": [1, 2], "active": [False, True], "first": ["x", "y"], "common": ["p", "q"], "mode": ["memory"],
}  # fmt: skip
WRITTEN: Mapping[str, list[Any]] = {
    "kind": [None, "small", "large", "paper"], "size": [None, "small", "large", "paper"],
    "label": [None, "one", "two", "three"], "count": [None, -1, 0, 1, 2, 3, 4], "ports": [None, 0, 1, 2, 3],
    "active": [None, False, True],
}  # fmt: skip
UNSET = ("kind", "label", "ports", "active", "mode")  # the others have a default, or are decided in any case
MODES = ("memory", "persistent", "")
UNHURRIED = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)  # fmt: skip


@st.composite
def cells(draw: st.DrawFn, name: str) -> Any:
    values = st.sampled_from(LISTED[name]).map(lambda value: {"is": value})
    single = st.one_of(values, values, st.just("unset")) if name in UNSET else values
    if name in ("count", "ports"):
        bounds = st.tuples(st.sampled_from(["above", "at_most"]), st.sampled_from(LISTED[name]))
        single = st.one_of(single, bounds.map(lambda pair: dict([pair])))
    return draw(st.one_of(single, single.map(lambda cell: {"not": cell})))


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """A table over one to three fields, decisions and settings."""
    names = draw(st.lists(st.sampled_from(sorted(SOURCES)), unique=True, min_size=1, max_size=3))
    rows = []
    for number in range(draw(st.integers(1, 5))):
        when = {name: draw(cells(name)) for name in names if draw(st.integers(0, 3))}
        rows.append({"id": f"r{number}", "when": when, "then": {"out": "a"}, "because": "x"})
    return {
        "table": "shop.t", "stage": "resolve", "hit": "first", "about": "t", "for_each": "shops",
        "inputs": {name: dict(SOURCES[name]) for name in names}, "outputs": {"out": ["a"]}, "rows": rows,
    }  # fmt: skip


def rulebook_of(table: Mapping[str, Any]) -> Rulebook:
    texts = {"s.yaml": SETTINGS, "l.yaml": SHELL, "m.yaml": MODE, "f.yaml": FEEDERS}
    found = read_rules({**texts, "t.yaml": json.dumps({"tables": [table]})}, Collector())
    assert found is not None
    return found


def reports(rulebook: Rulebook) -> list[Finding]:
    return [report for report in verify(rulebook.ruleset).findings if report.key == "shop.t"]


def elements(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return an element for every combination of values of the fields that a table, or what it reads, depends on."""
    read = [name for name in WRITTEN if name in table["inputs"] or (name == "kind" and "first" in table["inputs"])]
    combined = enumerate(product(*(WRITTEN[name] for name in read)))
    return [{"id": str(at), **dict(zip(read, values, strict=True))} for at, values in combined]


def deciding(rulebook: Rulebook, table: Mapping[str, Any]) -> set[str]:
    """Return the rows that decide about some element in some mode; all elements are resolved at once."""
    listed = yaml.safe_dump(elements(table), default_flow_style=True)
    texts = [{"shops": listed, **({"mode": mode} if mode else {})} for mode in MODES]
    found = [decision for given in texts for decision in resolved(rulebook, given).decisions.values()]
    return {decision.rows[0].id for decision in found if decision.table == "shop.t"}


def with_rest(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with a last row for everything else."""
    rest = {"id": "rest", "then": {"out": "a"}, "because": "x"}
    return {**table, "rows": [*table["rows"], rest]}


@UNHURRIED
@given(tables())
def test_gap_of_instance_table_is_reported_with_an_undecided_element(table: dict[str, Any]) -> None:
    """Without a report every element is decided in every mode."""
    rulebook, closed = rulebook_of(table), rulebook_of(with_rest(table))
    gaps = [report for report in reports(rulebook) if report.id == "gap"]
    assert bool(gaps) == ("rest" in deciding(closed, table))
    with TemporaryDirectory() as folder:
        for report in gaps:
            assert report.evidence is not None
            found = resolved_from_file(closed, report.evidence.witness or "", folder).decisions.values()
            assert [decision.rows[0].id for decision in found if decision.table == "shop.t"] == ["rest"]


@UNHURRIED
@given(tables())
def test_dead_rows_of_an_instance_table_never_decide_and_all_others_do(table: dict[str, Any]) -> None:
    rulebook = rulebook_of(with_rest(table))
    names = ("unreachable", "contradiction", "masked")
    places = {report.places[0] for report in reports(rulebook) if report.id in names}
    rows = rulebook.ruleset.tables["shop.t"].rows
    dead = {row.id for row in rows if places & {row.place, *row.cells.values()}}
    assert {row.id for row in rows} - dead == deciding(rulebook, table)


@UNHURRIED
@given(tables())
def test_conflict_of_an_instance_table_is_shown_by_its_witness(table: dict[str, Any]) -> None:
    """Both rows match the element."""
    rulebook = rulebook_of({**table, "hit": "unique"})
    first = rulebook_of(with_rest(table))
    compiled, rows = rulebook.ruleset.compiled["shop.t"], rulebook.ruleset.tables["shop.t"].rows
    with TemporaryDirectory() as folder:
        for report in reports(rulebook):
            if report.id in ("overlap", "duplicate", "subsumed") and report.evidence is not None:
                found = resolved_from_file(first, report.evidence.witness or "", folder)
                (decision,) = [one for one in found.decisions.values() if one.table == "shop.t"]
                matching = compiled.matching(decision.inputs)
                both = {at for at, row in enumerate(rows) if row.place in report.places}
                assert all(matching >> at & 1 for at in both)
