"""Import the decision tables of a DMN model.

Each table is read by itself; then the inputs that are results of other tables are linked to them. A table with
something that is not supported is refused as a whole and left out; its readers take any value in its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace
from graphlib import CycleError, TopologicalSorter

from compozy.base.findings import ERROR, WARNING, Collector
from compozy.base.record import dataclass
from compozy.decisions.declared import Decisions
from compozy.decisions.dmn_table import Draft, Heading, InputClause, read_table, refusal
from compozy.decisions.dmn_types import Type, Types, domain_of
from compozy.decisions.feel import FeelError, strict
from compozy.decisions.xml_tree import Element, parse_xml
from compozy.errors import SyntaxProblem
from compozy.tables.table import Column, ColumnSource, Domain, Row, Table

NAMESPACES: Mapping[str, str] = {
    "1.3": "https://www.omg.org/spec/DMN/20191111/MODEL/",
    "1.4": "https://www.omg.org/spec/DMN/20211108/MODEL/",
    "1.5": "https://www.omg.org/spec/DMN/20230324/MODEL/",
}
KINDS: Mapping[str, str] = {
    "unsupported": "a part of a DMN model that is not supported",
    "free-input": "an input of a DMN table that counts with every value of its type",
}
_PATH = re.compile(r"[^\W\d]\w*(?:[ .'-]\w+)*")
_OPERATORS = {"if", "for", "some", "every", "and", "or", "between", "in", "instance"}


def parse_dmn(text: str, name: str) -> Decisions:
    """Parse a DMN model; what is not supported is a finding, and its table is left out."""
    faults = Collector()
    try:
        root = parse_xml(text, name)
    except SyntaxProblem as error:
        faults.add("syntax", error.reason + (f"; {error.hint}" if error.hint else ""), error.place)
        return Decisions({}, (), tuple(faults.findings))
    message = f"not a DMN {', '.join(NAMESPACES)} model: the root is {root.name} of {root.namespace or 'no namespace'}"
    known = root.name == "definitions" and root.namespace in NAMESPACES.values()
    faults.require(known, "unsupported", message, root.place)
    language = root.attributes.get("expressionLanguage", "FEEL")
    message = f"the expression language {language} is not supported; use FEEL"
    faults.require("feel" in language.casefold(), "unsupported", message, root.place)
    if faults.findings:
        return Decisions({}, (), tuple(faults.findings))
    return _Import(root, faults).decisions()


@dataclass(slots=True)
class _Scope:
    """The names of expressions: `results` maps a variable to its decision, `values` to the reference of its type.

    The parameters of a function are `local`: they are inputs of its own.
    """

    results: dict[str, Element] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    local: bool = False


class _Import:
    def __init__(self, root: Element, faults: Collector) -> None:
        self._root = root
        self._faults = faults
        self._types = Types(root)
        self._elements = {element.attributes.get("id", ""): element for element in root.children}
        self._models = {element.attributes.get("name", ""): element for element in root.all("businessKnowledgeModel")}
        self._invoked: set[str] = set()
        self._drafts: dict[str, tuple[Draft, _Scope]] = {}
        self._inputs: dict[str, Domain] = {}

    def decisions(self) -> Decisions:
        for decision in self._root.all("decision"):
            self._read_decision(decision)
        for model in self._root.all("businessKnowledgeModel"):
            self._read_model(model)
        tables = self._linked()
        found = tables or self._faults.findings
        self._faults.require(found, "unsupported", "the model has no decision table", self._root.place)
        return Decisions(self._inputs, tables, tuple(self._faults.findings))

    # tables

    def _read_decision(self, decision: Element) -> None:
        table, bound = decision.first("decisionTable"), dict[str, str]()
        invocation = decision.first("invocation")
        if table is None and invocation is not None:
            table, bound = self._invoked_table(invocation)
        if table is not None:
            self._add(_heading(decision), table, bound, self._scope(decision))

    def _invoked_table(self, invocation: Element) -> tuple[Element | None, dict[str, str]]:
        """Return the table of the function that is invoked, and the expression bound to each parameter."""
        function = invocation.first("literalExpression")
        name = function.text_of("text") if function else ""
        logic = self._models[name].first("encapsulatedLogic") if name in self._models else None
        self._invoked.add(name)
        bound: dict[str, str] = {}
        for binding in invocation.all("binding"):
            parameter, value = binding.first("parameter"), binding.first("literalExpression")
            if parameter is not None and value is not None:
                bound[parameter.attributes.get("name", "")] = " ".join(value.text_of("text").split())
        return logic.first("decisionTable") if logic else None, bound

    def _read_model(self, model: Element) -> None:
        """Read the table of a business knowledge model that no decision invokes."""
        logic = model.first("encapsulatedLogic")
        table = logic.first("decisionTable") if logic else None
        if logic is None or table is None or model.attributes.get("name", "") in self._invoked:
            return
        values = {p.attributes.get("name", ""): p.attributes.get("typeRef", "") for p in logic.all("formalParameter")}
        self._add(replace(_heading(model), reference=""), table, {}, _Scope({}, values, local=True))

    def _add(self, heading: Heading, table: Element, bound: Mapping[str, str], scope: _Scope) -> None:
        faults = Collector()
        message = refusal(heading.id, "name", "it is empty or that of another table", "rename the table")
        faults.require(heading.id and heading.id not in self._drafts, "unsupported", message, heading.place)
        draft = read_table(heading, table, bound, self._types, faults)
        self._faults.findings += faults.findings
        if not faults.findings:
            self._drafts[heading.id] = draft, scope

    def _scope(self, decision: Element) -> _Scope:
        scope = _Scope()
        for requirement in decision.all("informationRequirement"):
            for required in (*requirement.all("requiredDecision"), *requirement.all("requiredInput")):
                element = self._elements.get(required.attributes.get("href", "").rpartition("#")[2])
                if element is not None and element.name == "decision":
                    scope.results[_heading(element).result] = element
                elif element is not None:
                    scope.values[_heading(element).result] = _heading(element).reference
        return scope

    # links

    def _linked(self) -> tuple[Table, ...]:
        """Link the tables, those that others read first, because a table that is refused is an input to its readers."""
        tables: dict[str, Table] = {}
        for name in self._order():
            links = _Links(self, *self._drafts[name])
            tables[name] = links.table()
            self._faults.findings += links.faults.findings
            if any(finding.severity == ERROR for finding in links.faults.findings):
                del self._drafts[name], tables[name]
        read = {column.source.ref for table in tables.values() for column in table.columns}
        self._inputs = {name: domain for name, domain in self._inputs.items() if name in read}
        return tuple(tables[name] for name in self._drafts)

    def _order(self) -> list[str]:
        """Return the tables in the order of evaluation; as in the model where some need each other in a circle."""
        needs = {name: {_heading(d).id for d in scope.results.values()} for name, (_, scope) in self._drafts.items()}
        known = {name: others & needs.keys() for name, others in needs.items()}
        try:
            return [*TopologicalSorter(known).static_order()]
        except CycleError:
            return [*needs]

    def draft(self, decision: Element) -> Draft | None:
        """Return the table of a decision, None where it has none or it was refused."""
        found = self._drafts.get(_heading(decision).id)
        return found[0] if found and found[0].heading.place == _heading(decision).place else None

    def type_of(self, reference: str, path: str) -> Type:
        """Resolve the type of a dotted path below a value."""
        return self._types.at_path(reference, [part.strip() for part in path.split(".") if part.strip()])

    def declare(self, draft: Draft, clause: InputClause, ref: str, domain: Domain, faults: Collector) -> ColumnSource:
        """Declare an input; where another table declares other values for it, this table has an input of its own."""
        if self._inputs.setdefault(ref, domain) != domain:
            reason = f"another table declares another type or other values for {ref}"
            _note(
                faults,
                draft,
                clause,
                reason,
                _APART,
            )
            ref = f"{draft.heading.id}.{ref}"
            self._inputs[ref] = domain
        return ColumnSource("input", ref)


class _Links:
    """Links the inputs of one draft."""

    def __init__(self, owner: _Import, draft: Draft, scope: _Scope) -> None:
        self.faults = Collector()
        self._owner = owner
        self._draft = draft
        self._scope = scope

    def table(self) -> Table:
        """Return the table with its inputs linked; faults are noted."""
        draft = self._draft
        columns = tuple(Column(c.name, self._source(c), c.place) for c in draft.inputs)
        about, place = draft.heading.about, draft.heading.place
        rows = tuple(_strict(row) for row in draft.rows)
        return Table(draft.heading.id, "", draft.hit, about, None, columns, draft.outputs, {}, rows, place)

    def _source(self, clause: InputClause) -> ColumnSource:
        for name, decision in self._scope.results.items():
            path = _below(clause.expression, name)
            if path is not None:
                return self._result(clause, name, decision, path)
        for name, reference in self._scope.values.items():
            path = _below(clause.expression, name)
            if path is not None:
                return self._input(clause, reference, path)
        if not _PATH.fullmatch(clause.expression) or _OPERATORS & set(clause.expression.split()):
            _note(self.faults, self._draft, clause, "its expression is not evaluated", _APART)
        return self._input(clause, "", "")

    def _result(self, clause: InputClause, name: str, decision: Element, path: str) -> ColumnSource:
        feeder = self._owner.draft(decision)
        if feeder is None:
            reason = f'the decision "{name}" is not a table that could be imported'
            _note(self.faults, self._draft, clause, reason, "every value of its type counts")
            return self._input(clause, _heading(decision).reference, path)
        if feeder.hit == "collect":
            message = refusal(self._draft.heading.id, clause.name, f'the decision "{name}" collects a list', _NO_LIST)
            self.faults.add("unsupported", message, clause.place, key=self._draft.heading.id)
        return ColumnSource("decision", feeder.heading.id, output=path or None)

    def _input(self, clause: InputClause, reference: str, path: str) -> ColumnSource:
        seen = [row.when[clause.name] for row in self._draft.rows if clause.name in row.when]
        ref = f"{self._draft.heading.id}.{clause.expression}" if self._scope.local else clause.expression
        try:
            found = self._owner.type_of(reference, path)
            if found.base == "any" and clause.reference:
                found = self._owner.type_of(clause.reference, "")
            if found.components is not None:
                raise FeelError("a structure cannot be compared", "name one of its components")
            domain = domain_of(found.base, clause.constraint or found.constraint, seen)
        except FeelError as error:
            message = refusal(self._draft.heading.id, clause.name, error.reason, error.hint or "")
            self.faults.add("unsupported", message, clause.place, key=self._draft.heading.id)
            return ColumnSource("input", ref)
        return self._owner.declare(self._draft, clause, ref, domain, self.faults)


_APART = "it counts as an input of its own"
_NO_LIST = "use a hit policy with a single result"


def _note(faults: Collector, draft: Draft, clause: InputClause, reason: str, hint: str) -> None:
    message = refusal(draft.heading.id, clause.name, reason, hint)
    faults.add("free-input", message, clause.place, key=draft.heading.id, severity=WARNING)


def _heading(element: Element) -> Heading:
    name, variable = " ".join(element.attributes.get("name", "").split()), element.first("variable") or element
    label = element.attributes.get("label", "")
    about = " ".join((element.text_of("description") or element.text_of("question")).split())
    table = label if label and plain_name(label) == name else name
    result = " ".join(variable.attributes.get("name", name).split())
    return Heading(table, result, variable.attributes.get("typeRef", ""), about, element.place)


def plain_name(text: str) -> str:
    """Return a text as a FEEL name: words with blanks between; the original is kept as label.

    >>> plain_name("redis.driver (new)")
    'redis driver new'
    """
    return " ".join(re.findall(r"[\w-]+", text))


def _below(expression: str, name: str) -> str | None:
    """Return the path that leads from a name to an expression, empty for the name itself; else None."""
    if expression == name:
        return ""
    return expression[len(name) + 1 :] if expression.startswith(f"{name}.") else None


def _strict(row: Row) -> Row:
    return replace(row, when={name: strict(condition) for name, condition in row.when.items()})
