"""Columns that look at one setting, plainly or through views, are verified together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

import pytest

from compozy.base.document import read_document
from compozy.base.findings import Finding
from compozy.rulebook import check_rules
from compozy.rulebook.files import shipped_texts
from compozy.rulebook.viewer import SettingViewer
from compozy.settings.registry import Registry, Setting, read_registry
from compozy.settings.values import MEMORY, from_text, is_unset
from compozy.settings.views import VIEWS, Seen, View
from compozy.tables.table import ColumnSource

SETTINGS = """
settings:
  - {path: zed.p, type: path, memory: true, help: p}
  - {path: zed.q, type: path, default: here, help: q}
  - {path: zed.r, type: path, default: there, help: r}
  - {path: zed.kind, type: choice, values: [small, large], help: k}
  - {path: zed.size, type: choice, values: [small, large], default: small, help: k}
  - {path: zed.word, type: choice, values: [small, large], checked: rules, help: w}
  - {path: zed.text, type: text, help: t}
  - {path: zed.same, type: text, same_as: zed.text, help: t}
  - {path: zed.count, type: integer, default: 3, help: c}
  - {path: zed.on, type: boolean, help: o}
  - {path: zed.listed, type: list, default: [], help: l}
"""
TABLE = """
table: zed.kept
stage: {stage}
hit: {hit}
inputs: {{{inputs}}}
outputs: {{out: [true, false]}}
rows:
{rows}
"""
WRITTEN = [
    "",
    ":memory:",
    "small",
    "huge",
    "other",
    "x/",
    "../x",
    "a\x01",
    "localhost",
    "127.0.0.1",
    "0",
    "1",
    "7",
    "no",
]


def reports(inputs: str, *rows: str, hit: str = "unique") -> list[Finding]:
    """Verify the shipped rules with a table of rows `when -> out`."""
    lines = "\n".join(
        f"  - {{id: r{number}, when: {{{row.split(' -> ')[0]}}}, then: {{out: {row.split(' -> ')[1]}}}, because: x}}"
        for number, row in enumerate(rows)
    )
    table = TABLE.format(inputs=inputs, rows=lines, hit=hit, stage="resolve")
    checked = check_rules({**shipped_texts(), "zed.yaml": SETTINGS, "table.yaml": table})
    return [report for report in checked.findings if report.key == "zed.kept"]


BOTH = "mem: {setting: zed.p, view: in_memory}, given: {setting: zed.p, view: given}"


def test_infeasible_combination_of_views_is_neither_gap_nor_conflict() -> None:
    """A path for which `in_memory` is true or false is a path that is set."""
    rows = ("mem: true -> true", "mem: [unset, false], given: true -> false", "mem: unset, given: false -> true")
    assert reports(BOTH, *rows) == []
    assert reports(BOTH, "mem: true -> true", "given: false -> false", "mem: [unset, false], given: true -> true") == []


def test_a_gap_behind_views_is_witnessed_by_the_setting() -> None:
    """The witness is the value of the setting, not the value of the view."""
    (gap,) = reports(BOTH, "mem: true -> true", "mem: unset -> false")
    assert (gap.id, gap.message) == ("gap", 'table "zed.kept" has no row for mem: false')
    assert gap.witness == "zed:\n  p: /other"


def test_a_real_conflict_behind_views_is_found() -> None:
    """A user may set a path that is in memory."""
    found = reports(BOTH, "mem: true -> true", "given: true -> false", "given: false -> true")
    assert [(report.id, report.witness) for report in found] == [("conflict", "zed:\n  p: ':memory:'")]


@pytest.mark.parametrize(
    ("inputs", "row"),
    [
        pytest.param("a: {setting: mode}, b: {setting: mode, view: known}", "a: memory, b: unknown", id="known"),
        pytest.param("a: {setting: zed.q, view: in_memory}", "a: true", id="no-memory"),
        pytest.param("a: {setting: zed.q, view: presence}", "a: unset", id="default"),
        pytest.param("a: {setting: zed.on}, b: {setting: zed.on, view: filled}", "a: false, b: true", id="filled"),
        pytest.param("a: {setting: zed.p, view: path_kind}, b: {setting: zed.p, view: in_memory}",
                     "a: directory, b: true", id="two-views"),
        pytest.param("a: {setting: zed.text, view: presence}, b: {setting: zed.text, view: equals zed.same}",
                     "a: unset, b: true", id="equals"),
    ],
)  # fmt: skip
def test_row_without_a_matching_value_is_named(inputs: str, row: str) -> None:
    """A row that asks one setting for what it cannot show."""
    found = reports(inputs, f"{row} -> true", " -> false", hit="first")
    assert [report.id for report in found] == ["unreachable", "unproduced"]
    assert found[0].message.startswith('table "zed.kept": no settings reach row "r0": no value shows a: ')


@pytest.mark.parametrize(
    ("inputs", "row"),
    [
        pytest.param("a: {setting: zed.kind}, b: {setting: zed.kind, view: known}", "a: small, b: unknown", id="bad"),
        pytest.param("a: {setting: name}, b: {setting: name, view: given}", "a: set, b: false", id="directory"),
        pytest.param("a: {setting: zed.q}, b: {setting: zed.q, view: given}", "a: set, b: false", id="default"),
        pytest.param("a: {setting: zed.count}, b: {setting: zed.count, view: filled}",
                     "a: {below: 5}, b: false", id="zero"),
        pytest.param("a: {setting: database.url, view: filled}, "
                     "b: {setting: database.url, view: weaker database.ssl_mode}", "a: true, b: true", id="weaker"),
        pytest.param("a: {setting: zed.p, view: equals zed.q}, b: {setting: zed.p, view: equals zed.r}, "
                     "c: {setting: zed.r, view: given}", "b: true, c: false", id="default-paths"),
    ],
)  # fmt: skip
def test_row_with_a_matching_value_is_accepted(inputs: str, row: str) -> None:
    """Values that appear only in later observations."""
    assert reports(inputs, f"{row} -> true", " -> false", hit="first") == []


def registry() -> Registry:
    return read_registry([read_document(SETTINGS, "zed.yaml")])


def taken() -> Iterator[tuple[Setting, object, str]]:
    """Yield each setting with the value of each text, and the kind of its origin."""
    for setting in registry().settings.values():
        yield setting, setting.default, "default"
        for text in (text for text in WRITTEN if not is_unset(setting, text)):
            try:
                yield setting, from_text(setting, text, "/"), "file"
            except ValueError:
                continue


@pytest.mark.parametrize("first", sorted(VIEWS))
def test_observed_pairs_of_views_are_among_the_verified_ones(first: str) -> None:
    """Verification considers every pair of values that two views of a setting can have."""
    viewer = SettingViewer(registry(), ())
    for (setting, value, kind), second in product(taken(), sorted(VIEWS)):
        shown = tuple(VIEWS[view].look(Seen(setting, value, kind, "/")) for view in (first, second))
        bases = viewer.reading(ColumnSource("setting", setting.path), collects=False).bases
        sources = [ColumnSource("setting", setting.path, view) for view in (first, second)]
        assert shown in {observation.values for observation in viewer.observations(bases, sources, {})}


@pytest.mark.parametrize("path", ["zed.p", "zed.text", "zed.word"])
def test_view_texts_show_every_answer(path: str) -> None:
    setting = registry().settings[path]
    directory = "/" if path == "zed.p" else ""

    def answers(view: View, texts: Iterable[str]) -> set[object]:
        forms = (text.format(name="other", number=1) for text in texts)
        return {
            view.look(Seen(setting, directory + text.removeprefix(directory), "file", "/")) for text in forms if text
        }

    every = [*WRITTEN, *(text for view in VIEWS.values() for text in view.texts)]
    for name, view in VIEWS.items():
        missing = answers(view, every) - answers(view, ["other", *setting.values, MEMORY, *view.texts])
        assert (name, missing) == (name, set())
