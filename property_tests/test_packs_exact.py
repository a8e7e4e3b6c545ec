"""Verification of random packs over real settings and views agrees with resolving many configurations."""

from __future__ import annotations

import operator
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import islice, product
from math import nextafter
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from property_tests.pack_worlds import (
    PATHS,
    TEXTS,
    TYPES,
    Pack,
    cells,
    completed,
    depends_on_the_machine,
    resolved,
    resolved_from_file,
    rulebook_of,
    tables,
    texts_of,
)

from compozy.base.findings import Collector
from compozy.errors import RuleTableError
from compozy.rulebook.listed_texts import check_listed_texts
from compozy.rulebook.rows import Rulebook, read_rules
from compozy.settings.row_faults import NUMBERS
from compozy.tables.decide import rows_of
from compozy.tables.table import Row, Table
from compozy.tables.verify import verify

# The same packs in every run: which configurations suffice to reach every row was found by trying many more.
FIXED = settings(max_examples=40, derandomize=True)
WORDS = ("small", "large", "memory", "persistent", "other")
LONG, KEY = "of-more-than-sixteen-characters", "A" * 43 + "="
HOSTS = ("", "me:pw@")
URLS = [f"{s}://{user}{host}/x" for s in ("http", "https") for user in HOSTS for host in ("localhost", "other")]
QUERIES = [
    f"postgres://{user}other/x?sslmode={mode}" for user in HOSTS for mode in ("disable", "require", "verify-full")
]
OTHERS = ("", ":memory:", LONG, KEY, "localhost:1", "x/", "../x", "\x01", os.devnull, *URLS, *QUERIES)
MOST = 200


def texts(path: str, table: Table, row: Row | None = None) -> list[str | None]:
    """Return texts of a setting that reach each piece of its conditions, in one row or in all, and None for unset."""
    rows = table.rows if row is None else [row]
    conditions = [r.condition(c.name) for c in table.columns if c.source.ref == path for r in rows]
    listed = [value for condition in conditions for value in condition.values]
    kind = TYPES[path]
    if kind in NUMBERS:
        bounds = [bound for one in conditions for i in one.intervals for bound in (i.low, i.high) if bound is not None]
        return [None, *numbers(kind, [*bounds, *(value for value in listed if isinstance(value, int | float))])]
    words = [value for value in listed if isinstance(value, str)]
    more: dict[str, list[str]] = {
        "boolean": ["true", "false"], "choice": [*WORDS, *TEXTS, *OTHERS], "url": [*TEXTS, *OTHERS],
        "path": [*PATHS, "x", "../x", "here", "/" + "A" * 42 + "=", f"/{LONG}", os.devnull],
        "text": [*TEXTS, *OTHERS],
    }  # fmt: skip
    return [None, *dict.fromkeys([*words, *(more[kind] if row is None else [])])]


def numbers(kind: str, bounds: list[float]) -> Iterator[str]:
    unit = {"duration": "s", "size": "B"}.get(kind, "")
    whole = kind in ("integer", "size")
    for point in sorted({point for bound in [*bounds, 0, 1] for point in neighbours(bound, whole=whole)}):
        if point >= 0 or not unit:
            yield f"{point if whole else format(Decimal(point), 'f')}{unit}"


def neighbours(bound: float, *, whole: bool) -> list[float]:
    if whole:
        return [int(bound) + step for step in (-1, 0, 1)]
    return [nextafter(bound, -1e309), bound, nextafter(bound, 1e309)]


def configurations(table: Table) -> Iterator[Mapping[str, str]]:
    """Yield combinations of the texts, the rest of them drawn where they are too many."""
    read = {name for c in table.columns for name in (c.source.ref, (c.source.view or "").removeprefix("equals "))}
    each = {path: texts(path, table) for path in sorted(read & TYPES.keys())}
    compared = any(" " in (column.source.view or "") for column in table.columns)
    together = list(dict.fromkeys(text for found in each.values() for text in found))
    equal = [(text,) * len(each) for text in together if compared]
    named = [
        chosen for row in table.rows for chosen in islice(product(*(texts(path, table, row) for path in each)), 60)
    ]
    every = list(islice(product(*(together if compared else found for found in each.values())), 50_000))
    for chosen in [*named, *equal, *Random(1).sample(every, min(MOST, len(every)))]:
        yield {path: text for path, text in zip(each, chosen, strict=True) if text is not None}


def rows_named(pack: Pack, *kinds: str) -> set[str]:
    """Return the rows that reports of some kinds name first."""
    faults = Collector(list(pack.findings))
    check_listed_texts(pack.rulebook, faults)
    places = {report.places[0] for report in faults.findings if report.id in kinds}
    rows = pack.rulebook.ruleset.tables["t"].rows
    return {row.id for row in rows if not places.isdisjoint({row.place, *row.cells.values()})}


@FIXED
@given(tables())
def test_rows_reported_as_dead_never_decide_and_all_others_do(table: dict[str, Any]) -> None:
    """Completeness both ways: a report is right, and a row without a report decides in some configuration."""
    pack = completed(table)
    shipped = pack.rulebook.ruleset.tables["t"]
    deciding = {resolved(pack.rulebook, flags).decision("t").rows[0].id for flags in configurations(shipped)}
    dead = rows_named(pack, "unreachable", "contradiction", "masked")
    assert deciding & dead == set()
    assert {row.id for row in shipped.rows} - deciding - dead <= rows_named(pack, "unknown-value")


@FIXED
@given(tables())
def test_the_witness_of_two_rows_shows_both_when_it_is_pasted(table: dict[str, Any]) -> None:
    assume(not depends_on_the_machine(table))
    rulebook = rulebook_of({**table, "hit": "unique"})
    with TemporaryDirectory() as folder:
        for report in verify(rulebook.ruleset).findings:
            if report.key == "t" and report.id in ("conflict", "overlap", "duplicate", "subsumed"):
                resolved = resolved_from_file(alone(table), report.witness or "", folder)
                matched = rulebook.ruleset.compiled["t"].matching(resolved.decision("t").inputs)
                both = {row.id for row in rulebook.ruleset.tables["t"].rows if row.place in report.places}
                assert both <= {row.id for row in rows_of(rulebook.ruleset.tables["t"], matched)}


def alone(table: Mapping[str, Any]) -> Rulebook:
    """Return a rulebook whose table has the same inputs and decides for all of their values."""
    return rulebook_of({**table, "rows": [{"id": "all", "then": {"out": "a"}, "because": "x"}]})


CUTS = {
    "count": st.integers(-3, 3) | st.sampled_from([2.5, -0.5, 2**53, 2**53 + 1]),
    "ratio": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-2, 2),
    "wait": st.integers(0, 3) | st.sampled_from([0.5, 1e-6]),
    "room": st.integers(0, 3) | st.sampled_from([0.5, 1023.5]),
}
LOWER = {"at_least": operator.ge, "above": operator.gt}
UPPER = {"below": operator.lt, "at_most": operator.le}


@FIXED
@given(st.data(), st.sampled_from(sorted(CUTS)), st.sampled_from(sorted(UPPER)), st.sampled_from(sorted(LOWER)))
def test_bounds_leave_gaps_and_overlaps_exactly_at_values(
    data: st.DataObject, path: str, upper: str, lower: str
) -> None:
    """Two rows with a bound each: a gap, an overlap or neither, as the values around the bounds show."""
    first, second = data.draw(CUTS[path]), data.draw(CUTS[path])
    rows = [{upper: first}, {lower: second}, "unset"]
    table = {
        "table": "t", "stage": "resolve", "hit": "unique", "about": "t", "inputs": {"n": {"setting": path}},
        "outputs": {"out": ["a", "b", "c"]},
        "rows": [{"id": f"r{n}", "when": {"n": cell}, "then": {"out": "abc"[n]}, "because": "x"}
                 for n, cell in enumerate(rows)],
    }  # fmt: skip
    whole = TYPES[path] in ("integer", "size")
    points = {point for cut in (first, second, 0) for point in neighbours(cut, whole=whole)}
    points |= {float((Decimal(first) + Decimal(second)) / 2)} if not whole else set()
    legal = [point for point in points if point >= 0 or path in ("count", "ratio")]
    matched = [UPPER[upper](point, first) + LOWER[lower](point, second) for point in legal]
    kinds = {report.id for report in verify(rulebook_of(table).ruleset).findings if report.key == "t"}
    assert ("gap" in kinds) == (0 in matched)
    assert ("conflict" in kinds) == (2 in matched)


Kinds = Counter[tuple[str, bool]]


def kinds_of(rulebook: Rulebook) -> Kinds:
    reports = (report for report in verify(rulebook.ruleset).findings if report.key in ("t", "renamed"))
    return Counter((report.id, report.severity == "error") for report in reports if report.id != "unproduced")


@FIXED
@given(tables(), st.randoms(use_true_random=False))
def test_an_equal_pack_is_verified_alike(table: dict[str, Any], random: Random) -> None:
    """Rows in another order, rows in a pack that extends the table, and other names change no report."""
    unique = {**table, "hit": "unique"}
    expected = kinds_of(rulebook_of(unique))
    assert kinds_of(rulebook_of({**unique, "rows": random.sample(table["rows"], len(table["rows"]))})) == expected
    assert kinds_of(rulebook_of(renamed(unique))) == expected
    kept, moved = table["rows"][:1], table["rows"][1:]
    assert kinds_of(rulebook_of({**unique, "rows": kept}, (), {"extends": "t", "rows": moved})) == expected


def renamed(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with other names for itself, its columns, output and rows."""
    rows = [
        {
            "id": f"renamed-{row['id']}", "because": "y", "then": {"other": row["then"]["out"]},
            "when": {f"{name}-renamed": cell for name, cell in row["when"].items()},
        }
        for row in table["rows"]
    ]  # fmt: skip
    inputs = {f"{name}-renamed": source for name, source in table["inputs"].items()}
    return {**table, "table": "renamed", "inputs": inputs, "outputs": {"other": ["a"]}, "rows": rows}


@FIXED
@given(tables(), st.data())
def test_split_row_keeps_its_decisions(table: dict[str, Any], data: st.DataObject) -> None:
    """A row that is divided in two by another condition leaves gaps and decisions as they are."""
    at = data.draw(st.integers(0, len(table["rows"]) - 1))
    row, read = table["rows"][at], {source["setting"] for source in table["inputs"].values()}
    path = data.draw(st.sampled_from(sorted(TYPES.keys() - read)))
    cell = data.draw(cells(path, None))
    extra = {"inputs": {**table["inputs"], "split": {"setting": path}}}
    parts = [
        {**row, "id": f"part-{n}", "when": {**row["when"], "split": one}} for n, one in enumerate([cell, {"not": cell}])
    ]
    split = {**table, **extra, "rows": [*table["rows"][:at], *parts, *table["rows"][at + 1 :]]}
    before, after = rulebook_of({**table, **extra}), rulebook_of(split)
    assert has_gap(before) == has_gap(after)
    for flags in islice(configurations(after.ruleset.tables["t"]), 50):
        assert decides(before, flags) == decides(after, flags)


def has_gap(rulebook: Rulebook) -> bool:
    return any(kind == "gap" for kind, _ in kinds_of(rulebook))


def decides(rulebook: Rulebook, flags: Mapping[str, str]) -> bool:
    try:
        return bool(resolved(rulebook, flags))
    except RuleTableError:
        return False


UNREADABLE = st.sampled_from(
    [{}, {"above": "x"}, {"at_least": None}, {"nothing": 1}, {"is": [1]}, {"in": 3}, {"not": {"is": {}}}, [[]],
     {"above": True}, {"is": {"above": 1}}, {"above": 1, "is": 2}, {"at_most": [1]}, {"not": {}}]
)  # fmt: skip


@FIXED
@given(tables(), UNREADABLE, st.data())
def test_an_unreadable_condition_is_reported_once_at_its_row(
    table: dict[str, Any], cell: Any, data: st.DataObject
) -> None:
    at, name = data.draw(st.integers(0, len(table["rows"]) - 1)), data.draw(st.sampled_from(sorted(table["inputs"])))
    rows = [{**row, "when": {}} for row in table["rows"]]
    rows[at]["when"] = {name: cell}
    texts, faults = texts_of({**table, "rows": rows}), Collector()
    assert read_rules(texts, faults) is None
    (report,) = faults.findings
    (place,) = report.places
    above = texts["t.yaml"].splitlines()[: place.line]
    assert (place.file, report.id) == ("t.yaml", "malformed")
    assert sum(line.lstrip().startswith("- because") for line in above) == at + 1


@FIXED
@given(tables(), st.integers(0, 3))
def test_bounded_search_reports_no_false_fault_and_its_incompleteness(table: dict[str, Any], steps: int) -> None:
    """With any budget of steps, a report of the full search is missing only beside a report of incompleteness."""
    rulebook = rulebook_of(table)
    every = {(report.id, report.message) for report in verify(rulebook.ruleset).findings}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compozy.tables.cover.MOST_STEPS", steps)
        found = verify(rulebook.ruleset).findings
    bounded = {(report.id, report.message) for report in found if report.id != "unproven"}
    assert {kind for kind, _ in bounded} <= {kind for kind, _ in every}
    if all(report.id != "unproven" and (not report.evidence or report.evidence.exact) for report in found):
        assert bounded == every
