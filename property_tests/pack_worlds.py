"""Random rule packs over settings of every type, and random configurations of them.

A pack is completed with the rows that verification proposes for its gaps, so that most packs are total.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from hypothesis import strategies as st

from compozy.base.findings import Collector, Finding
from compozy.resolution.configuration import read_sources
from compozy.resolution.resolve import Resolved, resolve
from compozy.rulebook.constraints import check_constraints
from compozy.rulebook.rows import Rulebook, read_rules
from compozy.settings.sources import Inputs
from compozy.settings.views import VIEWS
from compozy.tables.verify import verify
from compozy.tables.witness import witness_flags

SETTINGS = """
settings:
  - {path: mode, type: choice, values: [memory, persistent], checked: rules, help: m}
  - {path: kind, type: choice, values: [small, large], help: k}
  - {path: size, type: choice, values: [small, large], default: small, help: k}
  - {path: word, type: choice, values: [small, large], also: {big: large}, checked: rules, help: w}
  - {path: label, type: text, help: t}
  - {path: host, type: text, default: localhost, help: t}
  - {path: same, type: text, same_as: label, help: t}
  - {path: third, type: text, same_as: same, help: t}
  - {path: link, type: url, help: u}
  - {path: file, type: path, memory: true, help: p}
  - {path: folder, type: path, default: here, help: p}
  - {path: count, type: integer, default: 3, help: c}
  - {path: ports, type: integer, minimum: 1, help: c}
  - {path: ratio, type: number, help: c}
  - {path: wait, type: duration, help: d}
  - {path: room, type: size, default: 1KB, help: s}
  - {path: active, type: boolean, help: o}
"""
SHELL = """
states: [{id: unresolved, about: a, initial: true}, {id: resolved, about: b}, {id: validated, about: c}]
transitions:
  - {trigger: resolve, from: unresolved, to: resolved, step: resolve, stages: [resolve], because: c}
  - {trigger: validate, from: resolved, to: validated, step: validate, stages: [validate], because: c}
  - {trigger: reset, from: resolved, to: unresolved, step: forget, because: d}
  - {trigger: reset, from: validated, to: unresolved, step: forget, because: d}
"""
MODE = """
table: mode
stage: resolve
hit: first
about: a
inputs: {}
outputs: {mode: [memory]}
rows: [{id: m, then: {mode: memory}, because: x}]
"""
TYPES = {row["path"]: row["type"] for row in yaml.safe_load(SETTINGS)["settings"]}
TEXTUAL = ("text", "choice", "path", "url")
NUMBERS = [-1, 0, 1, 2, 2.5, 3, 0.1, 1024, 2**53, 2**53 + 1, 2**53 + 2, 2**63 - 1, 1e30, 1.7e308, -1.7e308, 5e-324]
TEXTS = ["", "small", "large", "big", "LARGE", "other", "localhost", "127.0.0.1", "127.0.0.2", "::1", "a/../b", "5"]
PATHS = ["", ":memory:", "/other", "/a/../b", "/x/", "/../y", "/q\x01"]


def listed(path: str) -> st.SearchStrategy[Any]:
    """Values that a cell on a setting may list."""
    if TYPES[path] in ("integer", "number", "duration", "size"):
        return st.sampled_from(NUMBERS if TYPES[path] == "number" else NUMBERS[:6])
    if TYPES[path] == "boolean":
        return st.booleans()
    if path in ("kind", "size"):
        return st.sampled_from(["small", "large"])
    return st.sampled_from(PATHS if TYPES[path] == "path" else TEXTS)


def cells(path: str, view: str | None) -> st.SearchStrategy[Any]:
    """Conditions on a setting or a view of it."""
    if view is not None:
        shown = (False, True) if view.startswith("equals") else VIEWS[view].values
        values = st.sampled_from([{"is": value} for value in shown])
    else:
        values = listed(path).map(lambda value: {"is": value})
    single = st.one_of(values, values, st.just("unset"))
    if view is None and TYPES[path] in ("integer", "number", "duration", "size"):
        bound = st.tuples(st.sampled_from(["above", "at_least", "below", "at_most"]), st.sampled_from(NUMBERS))
        single = st.one_of(single, bound.map(lambda pair: dict([pair])))
    return st.one_of(single, single.map(lambda cell: {"not": cell}), st.lists(single, min_size=1, max_size=2))


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """A table over one or two settings, each read plainly or through views."""
    inputs: dict[str, dict[str, str]] = {}
    looked: dict[str, tuple[str, str | None]] = {}
    for path in draw(st.lists(st.sampled_from(sorted(TYPES)), unique=True, min_size=1, max_size=2)):
        own = [name for name, view in VIEWS.items() if not view.reads_text or TYPES[path] in TEXTUAL]
        views = st.one_of(st.sampled_from([None, *own]), st.sampled_from(sorted(TYPES)).map("equals {}".format))
        for view in draw(st.lists(views, unique=True, min_size=1, max_size=2)):
            name = f"c{len(inputs)}"
            inputs[name] = {"setting": path, **({"view": view} if view else {})}
            looked[name] = (path, view)
    rows = []
    for number in range(draw(st.integers(1, 4))):
        when = {name: draw(cells(*looked[name])) for name in inputs if draw(st.integers(0, 3))}
        rows.append({"id": f"r{number}", "when": when, "then": {"out": "a"}, "because": "x"})
    return {
        "table": "t", "stage": "resolve", "hit": "first", "about": "t",
        "inputs": inputs, "outputs": {"out": ["a"]}, "rows": rows,
    }  # fmt: skip


@st.composite
def constraints(draw: st.DrawFn, table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Constraints on settings, mostly those that a table reads; each leaves the defaults alone."""
    read = sorted({source.get("setting", "kind") for source in table["inputs"].values()} - {"folder"})
    paths = st.sampled_from([*read, *read, "kind", "count"])
    found = []
    for _ in range(draw(st.integers(0, 2))):
        chosen = draw(st.lists(paths, unique=True, min_size=1, max_size=2))
        found.append({path: draw(cells(path, None)) for path in chosen})
    faults = Collector()
    never = rulebook_of(table, found).never.tables["never"]
    check_constraints(never, rulebook_of(table, ()).registry.settings, faults)
    refused = {report.places[0] for report in faults.findings}
    return [row for row, read_row in zip(found, never.rows, strict=True) if read_row.place not in refused]


DERIVED: dict[str, list[Any]] = {
    "label": ["small", "", "other", None],
    "host": ["small", "127.0.0.1", None],
    "same": ["localhost", None],
    "file": [":memory:", "./x", None],
    "folder": ["./x", "/other", None],
    "count": [0, 2, None],
    "size": ["large", None],
}


@st.composite
def deriving(draw: st.DrawFn) -> dict[str, Any]:
    """A table that gives one or two settings a value wherever nothing is written."""
    paths = draw(st.lists(st.sampled_from(sorted(DERIVED)), unique=True, min_size=1, max_size=2))
    outputs = {f"o{number}": DERIVED[path] for number, path in enumerate(paths)}
    read = draw(st.sampled_from(["kind", "active", *paths]))
    inputs = {"i": {"setting": read, "view": "given"}}
    rows = [
        {
            "id": f"d{given}",
            "when": {"i": given},
            "then": {name: draw(st.sampled_from(values)) for name, values in outputs.items()},
            "because": "x",
        }
        for given in (True, False)
    ]
    return {
        "table": "d", "stage": "resolve", "hit": "unique", "about": "d", "inputs": inputs, "outputs": outputs,
        "sets": {f"o{number}": path for number, path in enumerate(paths)}, "rows": rows,
    }  # fmt: skip


@st.composite
def findings(draw: st.DrawFn) -> dict[str, Any]:
    """A table of findings over what resolving makes of settings, and over what was derived."""
    table = draw(tables())
    inputs = {**table["inputs"], **({"d": {"decision": "d", "output": "o0"}} if draw(st.booleans()) else {})}
    found = {"severity": "warning", "key": "mode", "text": "x", "good": {}, "bad": {}}
    rows = [
        {
            "id": f"f{number}",
            "when": row["when"] | ({"d": draw(st.sampled_from(["set", "unset"]))} if "d" in inputs else {}),
            "finding": found,
        }
        for number, row in enumerate(table["rows"])
    ]
    return {"table": "f", "stage": "validate", "hit": "collect", "about": "f", "inputs": inputs, "rows": rows}


@dataclass(frozen=True)
class Pack:
    """A table that was completed with its proposals, and what verification reports of it."""

    table: Mapping[str, Any]
    rulebook: Rulebook
    findings: tuple[Finding, ...]


def rulebook_of(
    table: Mapping[str, Any], never: Sequence[Mapping[str, Any]] = (), *further: Mapping[str, Any]
) -> Rulebook:
    """Read the settings, a lifecycle, the tables and the constraints."""
    faults = Collector()
    found = read_rules(texts_of(table, never, *further), faults)
    assert found is not None, [report.message for report in faults.findings]
    return found


def texts_of(
    table: Mapping[str, Any], never: Sequence[Mapping[str, Any]] = (), *further: Mapping[str, Any]
) -> dict[str, str]:
    """Return the rule files of a pack."""
    return {
        "n.yaml": yaml.dump({"never": [*never]}, Dumper=yaml.CSafeDumper),
        "s.yaml": SETTINGS,
        "l.yaml": SHELL,
        "m.yaml": MODE,
        "t.yaml": yaml.dump({"tables": [table, *further]}, Dumper=yaml.CSafeDumper),
    }


def completed(table: Mapping[str, Any], never: Sequence[Mapping[str, Any]] = ()) -> Pack:
    """Add the proposed rows until verification reports no gap."""
    while True:
        rulebook = rulebook_of(table, never)
        reports = tuple(report for report in verify(rulebook.ruleset).findings if report.key == "t")
        gaps = [report for report in reports if report.id == "gap"]
        if not gaps:
            return Pack(table, rulebook, reports)
        rows = [row for report in gaps for row in yaml.safe_load(report.proposal or "")]
        table = {**table, "rows": [*table["rows"], *rows]}


AMOUNTS = st.one_of(
    st.sampled_from(NUMBERS),
    st.integers(-5, 5),
    st.integers(2**53 - 2, 2**53 + 4),
    st.floats(allow_nan=False, allow_infinity=False),
)
WORDS = st.sampled_from([*TEXTS, " small ", "Small", "LOCALHOST", "[::1]", "127.0.0.3", "other-2", "\x01", "x/"])
UNITS = {"duration": ["ms", "s", "h"], "size": ["B", "KB", "TB"]}


def written(path: str) -> st.SearchStrategy[str]:
    """Texts that a configuration may give to a setting; most are readable."""
    kind = TYPES[path]
    if kind in ("integer", "number"):
        return AMOUNTS.map(str)
    if kind in UNITS:
        return st.tuples(st.integers(0, 5), st.sampled_from(UNITS[kind])).map(lambda pair: f"{pair[0]}{pair[1]}")
    if kind == "boolean":
        return st.sampled_from(["true", "false"])
    return st.one_of(st.sampled_from([*PATHS, "./x", "../x", "x"]) if kind == "path" else WORDS, st.text(max_size=2))


@lru_cache(maxsize=1)
def directory() -> str:
    """A directory that holds no configuration file."""
    return os.path.dirname(os.path.abspath(__file__))


def resolved(rulebook: Rulebook, texts: Mapping[str, str]) -> Resolved:
    """Resolve texts under a rulebook: flags, and a file for the empty texts, which a flag does not always set."""
    flags = {path: text for path, text in texts.items() if text}
    if len(flags) == len(texts):
        return resolve(read_sources(Inputs(directory(), None, flags), rulebook), {})
    with TemporaryDirectory() as folder:
        file = os.path.join(folder, "compozy.yaml")
        with open(file, "w", encoding="utf-8") as stream:
            yaml.safe_dump(dict.fromkeys(texts.keys() - flags.keys(), ""), stream)
        return resolve(read_sources(Inputs(directory(), file, flags), rulebook), {})


def resolved_from_file(rulebook: Rulebook, witness: str, folder: str) -> Resolved:
    """Resolve a witness as it is pasted: its lines in a file, its flags on the command line."""
    file = os.path.join(folder, "compozy.yaml")
    with open(file, "w", encoding="utf-8") as stream:
        stream.write(witness)
    configuration = read_sources(Inputs(folder, file, witness_flags(witness)), rulebook)
    assert not [problem for problem in configuration.problems if problem.kind in ("syntax", "type")]
    return resolve(configuration, {})


def depends_on_the_machine(table: Mapping[str, Any]) -> bool:
    """Return True if what a table reads depends on files of the machine, or on the directory of the project."""
    return any(
        source["setting"] == "folder" or source.get("view", "") in ("path_kind", "directory_kind", "equals folder")
        for source in table["inputs"].values()
    )
