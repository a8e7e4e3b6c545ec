"""Export decision tables as a DMN model, which `parse_dmn` reads back; what no table decides becomes input data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from xml.etree import ElementTree

from compozy.decisions.dmn_import import NAMESPACES, plain_name
from compozy.decisions.feel import FeelError, literal_text, unary_text
from compozy.errors import NotFoundError, RuleTableError
from compozy.tables.cells import condition_words
from compozy.tables.decide import RuleSet
from compozy.tables.link import decision_output, feeders
from compozy.tables.table import ColumnSource, Condition, Domain, Row, Table, is_number

_POLICIES = {"unique": "UNIQUE", "any": "ANY", "first": "FIRST", "collect": "COLLECT"}
_TYPES = {"text": "string", "number": "number"}
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FINDING = "finding"  # the output of a table that decides nothing but which findings there are: the row


def dmn_text(ruleset: RuleSet, names: Iterable[str], version: str = "1.3") -> str:
    """Return a DMN model of the tables `names` and all tables that they read.

    Raises:
        NotFoundError: a table does not exist.
        RuleTableError: something has no counterpart in DMN.
    """
    wanted = _with_feeders(ruleset, names)
    text = _Export(ruleset, NAMESPACES[version]).model([name for name in ruleset.order if name in wanted])
    if _NOT_XML.search(text):
        raise RuleTableError.of("a name or reason has a character that XML excludes", hint="remove control characters")
    return text


def _with_feeders(ruleset: RuleSet, names: Iterable[str]) -> set[str]:
    wanted, left = set[str](), [*names]
    for name in left:
        if name not in ruleset.tables:
            raise NotFoundError("rule table", name, hint="compozy rules list shows them")
        left += [other for other in feeders(ruleset.tables[name]) if other not in wanted and other not in left]
        wanted.add(name)
    return wanted


class _Export:
    def __init__(self, ruleset: RuleSet, namespace: str) -> None:
        self._ruleset = ruleset
        self._numbers = count(1)
        self._inputs: dict[str, ColumnSource] = {}
        self._roots: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self._names = {""}
        attributes = {"xmlns": namespace, "id": "model", "name": "Decision tables", "namespace": "urn:compozy:rules"}
        self._model = ElementTree.Element("definitions", attributes)

    def model(self, names: Iterable[str]) -> str:
        """Return the text of a model of tables, feeders first."""
        tables = [self._ruleset.tables[name] for name in names]
        for table in tables:
            _check_name("table", table.id, plain_name(table.id) not in self._names)
            self._names.add(plain_name(table.id))
            self._ids[table.id] = self._id()
        self._put_inputs(tables)
        for table in tables:
            self._put_decision(table)
        ElementTree.indent(self._model)
        body = ElementTree.tostring(self._model, encoding="unicode")
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'

    def _id(self) -> str:
        return f"_{next(self._numbers)}"

    # inputs

    def _put_inputs(self, tables: Iterable[Table]) -> None:
        """Declare what is read: a dotted name is a component of a structure, as FEEL reads it."""
        structures: dict[str, dict[str, str]] = {}
        for table in tables:
            for column in (c for c in table.columns if c.source.kind != "decision"):
                root, _, path = self._named(column.source).partition(".")
                structures.setdefault(root, {})[path] = _type_of(self._ruleset.domains[table.id][column.name])
        if any("integer" in members.values() for members in structures.values()):
            self._put_item(self._model, "itemDefinition", "integer", {"": "number"})
        for root, members in structures.items():
            self._roots[root] = self._id()
            if [*members] != [""]:
                self._put_item(self._model, "itemDefinition", f"t_{root}", members)
        for root, members in structures.items():
            data = ElementTree.SubElement(self._model, "inputData", id=self._roots[root], name=root)
            ElementTree.SubElement(data, "variable", id=self._id(), name=root, typeRef=members.get("", f"t_{root}"))

    def _named(self, source: ColumnSource) -> str:
        name = input_name(source)
        if name.partition(".")[0] in self._names:
            name = f"given {name}"
        _check_name("input", name, all(part and part == plain_name(part) for part in name.split(".")))
        if self._inputs.setdefault(name, source) != source:
            raise RuleTableError.of(f"{source} and {self._inputs[name]} would have the same name in DMN: {name}")
        return name

    def _put_item(self, parent: ElementTree.Element, tag: str, name: str, members: Mapping[str, str]) -> None:
        """Write a type: `members` maps the paths of its components to their types, the empty path to its own."""
        if "" in members and len(members) > 1:
            raise RuleTableError.of(f"the input {name} is read both as a value and as a structure")
        item = ElementTree.SubElement(parent, tag, id=self._id(), name=name)
        if "" in members:
            ElementTree.SubElement(item, "typeRef").text = members[""]
        parts: dict[str, dict[str, str]] = {}
        for path, reference in members.items():
            first, _, rest = path.partition(".")
            parts.setdefault(first, {})[rest] = reference
        for part, inner in parts.items():
            if part:
                self._put_item(item, "itemComponent", part, inner)

    # tables

    def _put_decision(self, table: Table) -> None:
        name = plain_name(table.id)
        decision = ElementTree.SubElement(self._model, "decision", id=self._ids[table.id], name=name)
        if name != table.id:
            decision.set("label", table.id)
        if table.about:
            ElementTree.SubElement(decision, "description").text = table.about
        outputs = table.outputs or {_FINDING: Domain.text()}
        variable = ElementTree.SubElement(decision, "variable", id=self._id(), name=name)
        if len(outputs) == 1:
            variable.set("typeRef", _type_of(*outputs.values()))
        self._put_requirements(decision, table)
        logic = ElementTree.SubElement(decision, "decisionTable", id=self._id(), hitPolicy=_POLICIES[table.hit])
        for column in table.columns:
            self._put_input(logic, table, column.name, column.source)
        for output, domain in outputs.items():
            # DMN names the outputs only where there are several.
            named = {"name" if len(outputs) > 1 else "label": output}
            clause = ElementTree.SubElement(logic, "output", {"id": self._id(), **named, "typeRef": _type_of(domain)})
            self._put_values(clause, "outputValues", domain)
        for row in table.rows:
            self._put_row(logic, table, row)

    def _put_requirements(self, decision: ElementTree.Element, table: Table) -> None:
        sources = [column.source for column in table.columns]
        found = {
            ("requiredDecision", self._ids[source.ref]) if source.kind == "decision"
            else ("requiredInput", self._roots[self._named(source).partition(".")[0]])
            for source in sources
        }  # fmt: skip
        for tag, target in sorted(found):
            requirement = ElementTree.SubElement(decision, "informationRequirement", id=self._id())
            ElementTree.SubElement(requirement, tag, href=f"#{target}")

    def _put_input(self, logic: ElementTree.Element, table: Table, name: str, source: ColumnSource) -> None:
        domain = self._ruleset.domains[table.id][name]
        clause = ElementTree.SubElement(logic, "input", id=self._id(), label=name)
        given = ElementTree.SubElement(clause, "inputExpression", id=self._id(), typeRef=_type_of(domain))
        ElementTree.SubElement(given, "text").text = self._expression(source)
        if source.kind != "decision":
            asked = any(row.condition(name).unset for row in table.rows)
            self._put_values(clause, "inputValues", domain, null_excluded=asked and not domain.optional)

    def _expression(self, source: ColumnSource) -> str:
        if source.kind != "decision":
            return self._named(source)
        feeder = self._ruleset.tables[source.ref]
        name = plain_name(feeder.id)
        return name if len(feeder.outputs) == 1 else f"{name}.{decision_output(source, feeder)}"

    def _put_values(
        self, clause: ElementTree.Element, tag: str, domain: Domain, *, null_excluded: bool = False
    ) -> None:
        text = _values_text(domain) or ("not(null)" if null_excluded else "")
        if text:
            ElementTree.SubElement(ElementTree.SubElement(clause, tag, id=self._id()), "text").text = text

    def _put_row(self, logic: ElementTree.Element, table: Table, row: Row) -> None:
        rule = ElementTree.SubElement(logic, "rule", id=self._id(), label=row.id)
        if row.because:
            ElementTree.SubElement(rule, "description").text = row.because
        texts = [(column.name, _cell_text(table, row, column.name)) for column in table.columns]
        for _, text in texts:
            ElementTree.SubElement(ElementTree.SubElement(rule, "inputEntry", id=self._id()), "text").text = text
        results = [row.then.get(name) for name in table.outputs] or [row.id]
        for value in results:
            entry = ElementTree.SubElement(rule, "outputEntry", id=self._id())
            ElementTree.SubElement(entry, "text").text = literal_text(value)


def input_name(source: ColumnSource) -> str:
    """Return the name of an input in a model, dotted where it is a component of a structure.

    >>> input_name(ColumnSource("setting", "redis.url", "url_tls")), input_name(ColumnSource("machine", "valkey"))
    ('redis.url url_tls', 'machine.valkey')
    """
    kind = "" if source.kind in ("setting", "input") else f"{source.kind}."
    each = f"{source.each} element." if source.each else ""
    view = f" {plain_name(source.view)}" if source.view else ""
    return kind * (not each) + each + source.ref + view


def _check_name(what: str, name: str, holds: bool) -> None:
    if not holds:
        hint = "rename it: letters, digits, blanks, hyphens, and dots between the parts of a structure"
        raise RuleTableError.of(f'the {what} "{name}" cannot be named so in FEEL, or not beside the others', hint=hint)


def _cell_text(table: Table, row: Row, column: str) -> str:
    condition: Condition = row.condition(column)
    try:
        return unary_text(condition)
    except FeelError as error:
        reason = f'row "{row.id}" of table "{table.id}": {column}: {condition_words(condition)}: {error.reason}'
        raise RuleTableError.of(f"{row.place}: {reason}", hint=error.hint) from error


def _type_of(domain: Domain) -> str:
    if domain.kind != "finite":
        return "integer" if domain.integer else _TYPES[domain.kind]
    kinds = {"boolean" if isinstance(v, bool) else "number" if is_number(v) else "string" for v in domain.values}
    return kinds.pop() if len(kinds) == 1 else "Any"


def _values_text(domain: Domain) -> str:
    """Return the allowed values of a domain as unary tests; empty where its type allows nothing else."""
    if domain.kind == "finite":
        return ", ".join(_literals(domain)) if domain != Domain.boolean() else ""
    if domain.interval == Domain.number().interval:
        return "-" if domain.optional else ""
    within = unary_text(Condition.of(intervals=[domain.interval]))
    return f"{within}, null" if domain.optional else within


def _literals(domain: Domain) -> Iterator[str]:
    yield from (literal_text(value) for value in domain.values)
    if domain.optional:
        yield "null"
