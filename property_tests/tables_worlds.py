"""Small worlds of chained tables, and a reference that enumerates and scans instead of indexing.

The reference reads cells as the documentation describes them, from plain data, and shares no code with
the engine but the reader.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import yaml
from hypothesis import settings
from hypothesis import strategies as st
from tests.support.rule_sets import compile_tables

from compozy.tables.decide import RuleSet
from compozy.tables.observation import ColumnReading, Observation
from compozy.tables.read import read_tables
from compozy.tables.table import ColumnSource, Condition, Domain, Scalar

# The load of the machine has no influence on the tables.
fifty = settings(max_examples=50)

# Every setting with its domain, and values that reach each piece of it for any rows.
SETTINGS: dict[str, tuple[Domain, list[Scalar]]] = {
    "kind": (Domain.finite(["a", "b", "c"]), ["a", "b", "c"]),
    "flag.on": (Domain.boolean(optional=True), [None, False, True]),
    "odd": (Domain.finite([0, 1, True, "1"]), [0, 1, True, "1"]),
    "label": (Domain.text(optional=True), [None, "x", "y", "unset", "elsewhere"]),
    "count": (Domain.number(integer=True, minimum=0, maximum=4, optional=True), [None, 0, 1, 2, 3, 4]),
    "size.real": (Domain.number(), [-1.0, 0, 0.5, 1, 1.5, 2, 2.5, 3, 4.0]),
}
TEXTS = ["x", "y", "unset"]
BOUNDS = [0, 1, 2, 3]


# Ways to look at a setting: what one may show, and what it shows of a value.
VIEWS: dict[str, tuple[Domain, Callable[[Scalar], Scalar]]] = {
    "filled": (Domain.boolean(), bool),
    "sort": (Domain.finite(["str", "bool", "int", "never", None]), lambda value: _sort(value)),
    "odd": (Domain.finite(["odd", "even", None]), lambda value: {"a": "odd", "x": "odd", 1: "odd"}.get(value)),
}


def _sort(value: Scalar) -> Scalar:
    if value is None or (isinstance(value, float) and not value.is_integer()):
        return None
    return "int" if isinstance(value, float) else type(value).__name__


class Catalogue:
    """Knows `SETTINGS`."""

    def domain(self, source: ColumnSource) -> Domain | None:
        if source.view is not None:
            return VIEWS[source.view][0]
        return SETTINGS[source.ref][0] if source.ref in SETTINGS else None


class Viewer:
    """Knows what `VIEWS` show together."""

    def spelled(self, source: ColumnSource, value: Scalar) -> Scalar:
        return value

    def limits(self, source: ColumnSource) -> Sequence[Condition]:
        return ()

    def reading(self, source: ColumnSource, *, collects: bool) -> ColumnReading:
        return ColumnReading(source, (ColumnSource(source.kind, source.ref),))

    def observations(
        self, bases: Sequence[ColumnSource], sources: Sequence[ColumnSource], values: Mapping[str, Sequence[Scalar]]
    ) -> Iterator[Observation]:
        (base,) = bases
        for value in (*SETTINGS[base.ref][1], *values.get(base.ref, ())):
            seen = tuple(value if source.view is None else VIEWS[source.view][1](value) for source in sources)
            yield Observation(seen, ((base, value),))


def values_for(setting: str) -> st.SearchStrategy[Any]:
    domain = SETTINGS[setting][0]
    if domain.kind == "finite":
        return st.sampled_from(domain.values)
    return st.sampled_from(TEXTS if domain.kind == "text" else BOUNDS)


def ranges() -> st.SearchStrategy[dict[str, int]]:
    low = st.tuples(st.sampled_from(["above", "at_least"]), st.sampled_from(BOUNDS))
    high = st.tuples(st.sampled_from(["below", "at_most"]), st.sampled_from(BOUNDS))
    either = st.one_of(st.tuples(low), st.tuples(high), st.tuples(low, high))
    return either.map(dict)


def literal(value: Any) -> Any:
    return {"is": value} if value in ("set", "unset", "any") else value


def cells(values: st.SearchStrategy[Any], *, numbers: bool) -> st.SearchStrategy[Any]:
    """Cells as data: words, values, lists, ranges and the negation of each."""
    single: st.SearchStrategy[Any] = st.one_of(values.map(literal), st.just("unset"))
    single = st.one_of(single, ranges()) if numbers else single
    plain = st.one_of(single, st.lists(single, min_size=1, max_size=3), st.sampled_from(["set", "any"]))
    listed = st.lists(values, min_size=1, max_size=2).map(lambda chosen: {"in": chosen})
    return st.one_of(plain, listed, plain.map(lambda cell: {"not": cell}))


def holds(cell: Any, value: Scalar) -> bool:
    """Return True if a cell holds, computed in the slow and obvious way."""
    if isinstance(cell, list):
        return any(holds(part, value) for part in cell)
    if isinstance(cell, dict):
        return _holds_mapping(cell, value)
    if cell in ("set", "unset", "any"):
        return {"set": value is not None, "unset": value is None, "any": True}[cell]
    return same(cell, value)


def _holds_mapping(cell: Mapping[str, Any], value: Scalar) -> bool:
    if "not" in cell:
        return not holds(cell["not"], value)
    if "is" in cell:
        return same(cell["is"], value)
    if "in" in cell:
        return any(same(listed, value) for listed in cell["in"])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    tests = {"above": operator.gt, "at_least": operator.ge, "below": operator.lt, "at_most": operator.le}
    return all(tests[key](value, bound) for key, bound in cell.items())


def same(first: Any, second: Any) -> bool:
    return isinstance(first, bool) == isinstance(second, bool) and bool(first == second)


@st.composite
def conditions(draw: st.DrawFn, inputs: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    when = {}
    for name, source in inputs.items():
        if "view" in source:
            cell = cells(st.sampled_from(VIEWS[source["view"]][0].values), numbers=False)
        elif "setting" in source:
            numbers = SETTINGS[source["setting"]][0].kind == "number"
            cell = cells(values_for(source["setting"]), numbers=numbers)
        else:
            cell = cells(st.sampled_from(["p", "q", "r"]), numbers=False)
        if draw(st.integers(0, 3)):
            when[name] = draw(cell)
    return when


@st.composite
def tables(
    draw: st.DrawFn, name: str, feeders: Sequence[str], pool: Sequence[str], hits: Sequence[str]
) -> dict[str, Any]:
    """A table of up to three inputs and five rows; with feeders it reads at least one."""
    inputs: dict[str, dict[str, str]] = {}
    for number, feeder in enumerate(draw(st.permutations(feeders))):
        if number == 0 or draw(st.booleans()):
            inputs[f"from-{feeder}"] = {"decision": feeder}
    looks = st.tuples(st.sampled_from(pool), st.sampled_from([None, None, *VIEWS]))
    for setting, view in draw(st.lists(looks, unique=True, max_size=3 - len(inputs))):
        inputs[f"in-{setting}-{view}"] = {"setting": setting, **({"view": view} if view else {})}
    outputs = st.sampled_from(["p", "q", "r"])
    rows = [
        {
            "id": f"row-{number}",
            "when": draw(conditions(inputs)),
            "then": {"out": draw(outputs)},
            "because": "-",
        }
        for number in range(draw(st.integers(1, 5)))
    ]
    hit = draw(st.sampled_from(hits))
    return {"table": name, "hit": hit, "inputs": inputs, "outputs": {"out": ["p", "q", "r"]}, "rows": rows}


@st.composite
def worlds(draw: st.DrawFn, *, last_hits: Sequence[str] = ("unique", "first", "collect")) -> World:
    """One to three chained tables; the last one is the one to look at."""
    pool = draw(st.lists(st.sampled_from(sorted(SETTINGS)), unique=True, min_size=1, max_size=3))
    chained: list[dict[str, Any]] = []
    for number in range(draw(st.integers(0, 2))):
        chained.append(draw(tables(f"t{number}", [t["table"] for t in chained], pool, ["unique", "first"])))
    last = draw(tables("last", [t["table"] for t in chained], pool, last_hits))
    return World([*chained, last])


@dataclass(frozen=True)
class World:
    """Tables as plain data, feeders first."""

    tables: list[dict[str, Any]]

    @property
    def last(self) -> dict[str, Any]:
        return self.tables[-1]

    @property
    def text(self) -> str:
        return yaml.dump({"tables": self.tables}, Dumper=yaml.CSafeDumper, sort_keys=False)

    def ruleset(self, *more: str) -> RuleSet:
        files = [("world.yaml", self.text), *((f"more-{n}.yaml", text) for n, text in enumerate(more))]
        return compile_tables(read_tables(files), Catalogue(), Viewer())

    def configurations(self) -> Iterator[dict[str, Scalar]]:
        """Every combination of the settings that some table reads."""
        names = dict.fromkeys(
            source["setting"] for t in self.tables for source in t["inputs"].values() if "setting" in source
        )
        for values in product(*(SETTINGS[name][1] for name in names)):
            yield dict(zip(names, values, strict=True))

    def inputs(self, configuration: Mapping[str, Scalar]) -> dict[str, Scalar] | None:
        """The last table's inputs under a configuration; `None` where a feeder has no row."""
        decided: dict[str, Scalar] = {}
        for table in self.tables[:-1]:
            matched = matching(table, column_values(table, configuration, decided))
            if not matched and table["table"] in self._needed():
                return None
            decided[table["table"]] = matched[0]["then"]["out"] if matched else None
        return column_values(self.last, configuration, decided)

    def _needed(self) -> set[str]:
        needed = {"last"}
        for table in reversed(self.tables):
            if table["table"] in needed:
                needed |= {source["decision"] for source in table["inputs"].values() if "decision" in source}
        return needed

    def reachable(self) -> list[dict[str, Scalar]]:
        """The last table's inputs that some configuration brings about, each once."""
        found: dict[str, dict[str, Scalar]] = {}
        for configuration in self.configurations():
            inputs = self.inputs(configuration)
            if inputs is not None:
                found[repr(inputs)] = inputs
        return list(found.values())


def column_values(
    table: Mapping[str, Any], configuration: Mapping[str, Scalar], decided: Mapping[str, Scalar]
) -> dict[str, Scalar]:
    return {
        name: decided[source["decision"]] if "decision" in source else looked(source, configuration)
        for name, source in table["inputs"].items()
    }


def looked(source: Mapping[str, str], configuration: Mapping[str, Scalar]) -> Scalar:
    value = configuration[source["setting"]]
    return VIEWS[source["view"]][1](value) if "view" in source else value


def matching(table: Mapping[str, Any], inputs: Mapping[str, Scalar]) -> list[dict[str, Any]]:
    """Scan for the rows whose every cell holds."""
    return [row for row in table["rows"] if all(holds(cell, inputs[name]) for name, cell in row["when"].items())]
