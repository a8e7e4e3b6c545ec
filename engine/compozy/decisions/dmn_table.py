"""Read one DMN decision table by itself; what its inputs refer to is resolved when the tables are linked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from compozy.base.document import Scalar
from compozy.base.findings import Collector
from compozy.base.place import Place
from compozy.base.record import dataclass
from compozy.decisions.dmn_types import Types, domain_of
from compozy.decisions.feel import FeelError, parse_literal, parse_tests
from compozy.decisions.xml_tree import Element
from compozy.tables.cells import scalar_words
from compozy.tables.table import ANY, Condition, Domain, Row

_HITS = {"UNIQUE": "unique", "ANY": "any", "FIRST": "first", "COLLECT": "collect"}
_INSTEAD = {
    "PRIORITY": "sort the rows by the order of the output values, and use FIRST",
    "RULE ORDER": "use COLLECT, where the order of the results does not count",
    "OUTPUT ORDER": "use COLLECT, where the order of the results does not count",
}


@dataclass(frozen=True, slots=True)
class Heading:
    """The container of a table: its id here, the name and type of its result, a description."""

    id: str
    result: str
    reference: str
    about: str
    place: Place


@dataclass(frozen=True, slots=True)
class InputClause:
    """An input: the name of the column, the expression that gives its value, its type, the values it may have."""

    name: str
    expression: str
    reference: str
    constraint: Condition | None
    place: Place


@dataclass(frozen=True, slots=True)
class Draft:
    """A table whose inputs are not linked yet."""

    heading: Heading
    hit: str
    inputs: tuple[InputClause, ...]
    outputs: Mapping[str, Domain]
    rows: tuple[Row, ...]


def read_table(heading: Heading, table: Element, bound: Mapping[str, str], types: Types, faults: Collector) -> Draft:
    """Read a `decisionTable`; `bound` renames the parameters of a function. Everything unsupported is noted."""
    return _DmnReader(heading, table, bound, types, faults).draft()


class _DmnReader:
    def __init__(self, heading: Heading, table: Element, bound: Mapping[str, str], types: Types, faults: Collector):
        self._heading = heading
        self._element = table
        self._bound = bound
        self._types = types
        self._faults = faults

    def draft(self) -> Draft:
        self._check_language(self._element)
        hit = self._hit()
        inputs = tuple(self._inputs())
        named = self._output_names()
        rows = [row for number, rule in self._rules() if (row := self._row(number, rule, inputs, [*named]))]
        rows += self._default_row(hit, named)
        outputs = {name: self._output(name, clause, rows) for name, clause in named.items()}
        return Draft(self._heading, hit, inputs, outputs, _numbered(rows))

    def refuse(self, place: Place, what: str, reason: str, hint: str, kind: str = "unsupported") -> None:
        """Note what cannot be imported, with its place, reason and fix."""
        self._faults.add(kind, refusal(self._heading.id, what, reason, hint), place, key=self._heading.id)

    def _check_language(self, element: Element) -> None:
        language = element.attributes.get("expressionLanguage", "FEEL")
        if "feel" not in language.casefold():
            self.refuse(element.place, "expressionLanguage", f"{language} is not supported", "use FEEL")
        for child in element.children:
            self._check_language(child)

    def _hit(self) -> str:
        attributes, place = self._element.attributes, self._element.place
        policy = attributes.get("hitPolicy", "UNIQUE")
        if policy not in _HITS:
            hint = _INSTEAD.get(policy, f"use one of {', '.join(_HITS)}")
            self.refuse(place, "hitPolicy", f"{policy} is not supported", hint)
        if "aggregation" in attributes:
            reason = f"{attributes['aggregation']} is not supported"
            self.refuse(place, "aggregation", reason, "collect the values, and aggregate where they are used")
        return _HITS.get(policy, "unique")

    # clauses

    def _inputs(self) -> Iterator[InputClause]:
        taken: dict[str, str] = {}
        for number, clause in enumerate(self._element.all("input"), 1):
            given = clause.first("inputExpression") or clause
            expression = self._renamed(" ".join(given.text_of("text").split()))
            if not expression:
                self.refuse(clause.place, f"input {number}", "it has no expression", "name what it reads")
            if expression in taken.values():
                reason = f"{expression} is read by another column already"
                self.refuse(clause.place, f"input {number}", reason, "put both conditions into one column")
            label = " ".join(clause.attributes.get("label", "").split())
            # Labels need not be unique in DMN, but the names of columns must be.
            name = label if label and label not in taken else expression
            taken[name] = expression
            reference = given.attributes.get("typeRef", "")
            yield InputClause(name, expression, reference, self._values(clause, "inputValues"), clause.place)

    def _renamed(self, expression: str) -> str:
        for parameter, value in self._bound.items():
            if expression == parameter or expression.startswith(f"{parameter}."):
                return value + expression[len(parameter) :]
        return expression

    def _values(self, clause: Element, name: str) -> Condition | None:
        values = clause.first(name)
        try:
            return parse_tests(values.text_of("text")) if values else None
        except FeelError as error:
            self.refuse((values or clause).place, name, error.reason, error.hint or "")
            return None

    def _output_names(self) -> dict[str, Element]:
        clauses = [*self._element.all("output")]
        if len(clauses) == 1:
            attributes = clauses[0].attributes
            return {attributes.get("name") or attributes.get("label") or self._heading.result: clauses[0]}
        named = {clause.attributes.get("name", ""): clause for clause in clauses}
        if len(named) != len(clauses) or "" in named or not clauses:
            self.refuse(self._element.place, "outputs", "each needs a name of its own", "name the output clauses")
            return {str(number): clause for number, clause in enumerate(clauses)}
        return named

    def _output(self, name: str, clause: Element, rows: Sequence[Row]) -> Domain:
        constraint, values = self._values(clause, "outputValues"), [row.then.get(name) for row in rows]
        reference = clause.attributes.get("typeRef") or (self._heading.reference if self._single else "")
        # What is refused already would only be reported again.
        if self._faults.findings:
            return Domain.finite(values)
        try:
            found = self._types.of_reference(reference)
            domain = domain_of(found.base, constraint or found.constraint, (), values)
        except FeelError as error:
            self.refuse(clause.place, f'output "{name}"', error.reason, error.hint or "")
            return Domain.finite(values)
        for row in rows:
            if not domain.contains(row.then.get(name)):
                reason = f'{scalar_words(row.then[name])} is not a value of output "{name}"'
                self.refuse(row.place, f'row "{row.id}"', reason, "correct it or the output values", "unknown-value")
        # Without a list of values, the rows determine whether the output may be null.
        return domain if domain.kind == "finite" else replace(domain, optional=None in values)

    @property
    def _single(self) -> bool:
        return len([*self._element.all("output")]) == 1

    # rows

    def _rules(self) -> Iterator[tuple[int, Element]]:
        return enumerate(self._element.all("rule"), 1)

    def _row(self, number: int, rule: Element, inputs: Sequence[InputClause], outputs: Sequence[str]) -> Row | None:
        tests, results = [*rule.all("inputEntry")], [*rule.all("outputEntry")]
        if len(tests) != len(inputs) or len(results) != len(outputs):
            reason = f"{len(tests)} input and {len(results)} output entries, not {len(inputs)} and {len(outputs)}"
            self.refuse(rule.place, f"rule {number}", reason, "give one entry for each clause")
            return None
        conditions = [self._condition(number, entry) for entry in tests]
        cells = [(clause.name, entry.place) for clause, entry in zip(inputs, tests, strict=True)]
        when = {name: c for (name, _), c in zip(cells, conditions, strict=True) if c != ANY}
        then = {name: self._result(number, entry) for name, entry in zip(outputs, results, strict=True)}
        remarks = [rule.text_of("description"), *(entry.text_of("text") for entry in rule.all("annotationEntry"))]
        because = "; ".join(" ".join(remark.split()) for remark in remarks if remark)
        because = because or f"rule {number} of {self._heading.id}"
        label = " ".join(rule.attributes.get("label", "").split())
        return Row(label or f"rule-{number}", when, then, because, rule.place, cells=dict(cells))

    def _condition(self, number: int, entry: Element) -> Condition:
        try:
            return parse_tests(entry.text_of("text"))
        except FeelError as error:
            self.refuse(entry.place, f"rule {number}", error.reason, error.hint or "")
            return ANY

    def _result(self, number: int, entry: Element) -> Scalar:
        try:
            return parse_literal(entry.text_of("text"))
        except FeelError as error:
            self.refuse(entry.place, f"rule {number}, output", error.reason, error.hint or "")
            return None

    def _default_row(self, hit: str, outputs: Mapping[str, Element]) -> list[Row]:
        """Return the row that gives the default outputs where no other one decides."""
        defaults = {name: clause.first("defaultOutputEntry") for name, clause in outputs.items()}
        given = {name: entry for name, entry in defaults.items() if entry is not None}
        if not given:
            return []
        place = next(iter(given.values())).place
        # With another hit policy the row without conditions would overlap every other one.
        if hit != "first":
            self.refuse(place, "defaultOutputEntry", "it needs hit policy FIRST", "add rows for the values without one")
        then = {name: self._result(0, entry) if entry else None for name, entry in defaults.items()}
        return [Row("default", {}, then, "the default output of the model", place)]


def _numbered(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return rows whose ids differ; a label that occurs before counts as absent."""
    found: dict[str, Row] = {}
    for number, row in enumerate(rows, 1):
        name = row.id if row.id not in found else f"rule-{number}"
        while name in found:
            name += "-again"
        found[name] = replace(row, id=name)
    return tuple(found.values())


def refusal(table: str, what: str, reason: str, hint: str) -> str:
    """Return the message about something that cannot be imported."""
    return f'table "{table}": {what}: {reason}' + (f"; {hint}" if hint else "")
