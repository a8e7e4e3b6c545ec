"""Decision files: YAML with `inputs`, which declares types and values, and `tables`, as in other rule files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from compozy.base.document import Node, read_document, resolve_scalar
from compozy.base.findings import Collector
from compozy.base.shapes import check_keys
from compozy.base.suggest import did_you_mean
from compozy.decisions.declared import Decisions
from compozy.errors import RuleTableError, SyntaxProblem
from compozy.tables.cells import BOUNDS, CellError, condition_data, interval_data, parse_condition
from compozy.tables.read import read_tables
from compozy.tables.table import Column, Domain, Row, Table

_TYPES = ("text", "number", "integer", "boolean")
_KEYS = ("type", "optional", *BOUNDS)
_PLAIN = re.compile(r"[^\W\d_][\w.-]*(?: [\w.-]+)*")


def parse_decisions(text: str, name: str) -> Decisions:
    """Parse the text of a decision file; malformed text gives findings and an empty list of tables."""
    found = Collector()
    try:
        document = read_document(text, name)
        inputs = _read_inputs(document, found)
        found.raise_if_any(RuleTableError)
        return Decisions(inputs, read_tables([(name, document)]))
    except SyntaxProblem as error:
        found.add("syntax", error.reason, error.place)
    except RuleTableError as error:
        return Decisions({}, (), error.findings)
    return Decisions({}, (), found.in_order())


def _read_inputs(document: Node, found: Collector) -> dict[str, Domain]:
    """Remove `inputs` from a document and read it."""
    if not isinstance(document.value, dict) or not {"inputs", "tables"} <= set(document.value):
        found.add("malformed", "a decision file is a mapping with `inputs` and `tables`", document.place)
        return {}
    node = document.value.pop("inputs")
    (document.keys or {}).pop("inputs")
    if not found.require(isinstance(node.value, dict), "malformed", "`inputs` must map names to types", node.place):
        return {}
    domains = {name: _read_domain(name, declared, found) for name, declared in node.value.items()}
    return {name: domain for name, domain in domains.items() if domain is not None}


def _read_domain(name: str, node: Node, found: Collector) -> Domain | None:
    if isinstance(node.value, list) and node.value and not any(isinstance(n.value, dict | list) for n in node.value):
        return Domain.finite(item.value for item in node.value)
    members = node.value if isinstance(node.value, dict) else {"type": node}
    check_keys(node, _KEYS, f'the input "{name}"', found)
    word = members["type"].value if "type" in members else ""
    optional = members["optional"].value if "optional" in members else False
    if word not in _TYPES or not isinstance(optional, bool):
        known = did_you_mean(word, _TYPES)
        found.add(
            "malformed",
            f'input "{name}" needs a list of values or a `type`; `optional` is true or false{known}',
            node.place,
        )
        return None
    bounds = {key: value for key, value in members.items() if key in BOUNDS}
    if word in ("number", "integer"):
        return _read_number(Node(bounds, node.place), optional=optional, integer=word == "integer", found=found)
    found.require(not bounds, "malformed", f'input "{name}" is not a number and cannot have bounds', node.place)
    return Domain.boolean(optional=optional) if word == "boolean" else Domain.text(optional=optional)


def _read_number(bounds: Node, *, optional: bool, integer: bool, found: Collector) -> Domain:
    if not bounds.value:
        return Domain.number(integer=integer, optional=optional)
    try:
        condition = parse_condition(bounds)
    except CellError as error:
        found.add("malformed", error.reason, error.place)
        return Domain.number()
    if not found.require(condition.intervals, "malformed", "no number lies between these bounds", bounds.place):
        return Domain.number()
    return Domain.within(condition.intervals[0], integer=integer, optional=optional)


def decisions_text(decisions: Decisions, about: str = "") -> str:
    """Return a decision file that `parse_decisions` reads back, with `about` as its first comment."""
    comment = "".join(f"# {line}\n" for line in about.splitlines())
    inputs = [f"  {flow(name)}: {flow(_domain_data(domain))}" for name, domain in decisions.inputs.items()]
    tables = [line for table in decisions.tables for line in _table_lines(table)]
    return comment + "\n".join([*_section("inputs", inputs, "{}"), *_section("tables", tables, "[]")]) + "\n"


def _section(key: str, lines: list[str], empty: str) -> list[str]:
    return [f"{key}:", *lines] if lines else [f"{key}: {empty}"]


def _domain_data(domain: Domain) -> object:
    if domain.kind == "finite" and not domain.optional and domain == Domain.boolean():
        return "boolean"
    if domain.kind == "finite":
        return domain.listed
    word = "integer" if domain.integer else domain.kind
    bounds = interval_data(domain.interval)
    if not bounds and not domain.optional:
        return word
    return {"type": word, **bounds, **({"optional": True} if domain.optional else {})}


def _table_lines(table: Table) -> list[str]:
    head = {"table": table.id, "about": table.about, "hit": table.hit}
    inputs = {column.name: _source_data(column) for column in table.columns}
    outputs = {name: _output_data(domain) for name, domain in table.outputs.items()}
    lines = [f"{key}: {flow(value)}" for key, value in head.items() if value]
    lines += _section("inputs", [f"  {flow(name)}: {flow(data)}" for name, data in inputs.items()], "{}")
    lines += _section("outputs", [f"  {flow(name)}: {flow(data)}" for name, data in outputs.items()], "{}")
    lines += _section("rows", [f"  - {flow(_row_data(row))}" for row in table.rows], "[]")
    return [f"  {'- ' if number == 0 else '  '}{line}" for number, line in enumerate(lines)]


def _source_data(column: Column) -> dict[str, str]:
    source = column.source
    return {source.kind: source.ref, **({"output": source.output} if source.output else {})}


def _output_data(domain: Domain) -> object:
    # A null in a row makes a text or number optional.
    return _domain_data(domain) if domain.kind == "finite" else domain.kind


def _row_data(row: Row) -> dict[str, object]:
    when = {name: condition_data(condition) for name, condition in row.when.items()}
    return {"id": row.id, "when": when, "then": dict(row.then), "because": row.because}


def flow(value: object) -> str:
    """Return plain data as YAML in one line; text is quoted wherever a reader could take it for something else.

    >>> flow({"when": {"a b": "on", "n": [1, {"below": 2.5}]}, "then": {"x": "5", "y": None}})
    '{when: {a b: on, n: [1, {below: 2.5}]}, then: {x: "5", y: null}}'
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(member)}" for key, member in value.items()) + "}"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return "[" + ", ".join(flow(member) for member in value) + "]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and resolve_scalar(text) == text:
        return text
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    return char if char.isprintable() and char not in '"\\' else f"\\U{ord(char):08x}"
