"""Import of DMN models: the subset is read as the standard specifies, anything else is rejected with its place."""

from __future__ import annotations

import pytest
from tests.decisions.models import (
    column,
    data,
    decision,
    faults,
    imported,
    model,
    result,
    rule,
    table,
    text,
    verified,
)  # fmt: skip

from compozy.decisions import Decisions, verify_decisions
from compozy.decisions.decision_file import decisions_text, parse_decisions
from compozy.decisions.dmn_import import parse_dmn
from compozy.tables.table import ColumnSource, Domain, Scalar

TOTAL = [(["< 5"], ['"a"']), ([">= 5"], ['"b"'])]
N = column("N", "number")


def decided(decisions: Decisions, name: str, **inputs: Scalar) -> list[dict[str, Scalar]]:
    return [dict(row.then) for row in decisions.ruleset.decide(name, inputs).rows]


@pytest.mark.parametrize("version", ["1.3", "1.4", "1.5"])
def test_model_of_each_version_is_imported(version: str) -> None:
    found = parse_dmn(model(decision("D", table([N], TOTAL)), version=version), "m.dmn")
    assert (verified(found), decided(found, "D", N=4)) == ([], [{"D": "a"}])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("<a>", "m.dmn:1:4: syntax: not well-formed XML: no element found", id="truncated"),
        pytest.param("", "m.dmn:1:1: syntax: not well-formed XML: no element found", id="empty"),
        pytest.param("<a>" * 200, "m.dmn:1:301: syntax: elements are nested more than 100 deep", id="deep"),
        pytest.param(
            '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
            "m.dmn:1:13: syntax: a document type declaration (DOCTYPE) is refused, because it can define entities; "
            "remove the declaration",
            id="entities",
        ),
        pytest.param(
            '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
            "m.dmn:1:40: syntax: a document type declaration (DOCTYPE) is refused, because it can define entities; "
            "remove the declaration",
            id="external",
        ),
        pytest.param(
            '<definitions xmlns="http://www.omg.org/spec/DMN/20180521/MODEL/"/>',
            "m.dmn:1:1: unsupported: not a DMN 1.3, 1.4, 1.5 model: the root is definitions of "
            "http://www.omg.org/spec/DMN/20180521/MODEL/",
            id="dmn-1.2",
        ),
        pytest.param(
            model().replace(" id=", ' expressionLanguage="urn:js" id='),
            "m.dmn:1:1: unsupported: the expression language urn:js is not supported; use FEEL",
            id="language",
        ),
        pytest.param(model(), "m.dmn:1:1: unsupported: the model has no decision table", id="no-table"),
    ],
)
def test_invalid_model_file_is_rejected(content: str, message: str) -> None:
    (report,) = parse_dmn(content, "m.dmn").findings
    assert f"{report.places[0]}: {report.id}: {report.message}" == message


@pytest.mark.parametrize(
    ("hit", "kinds"),
    [
        pytest.param("UNIQUE", ["overlap"], id="unique"),
        pytest.param("ANY", [], id="any"),
        pytest.param("FIRST", [], id="first"),
        pytest.param("COLLECT", [], id="collect"),
    ],
)
def test_hit_policy_decides_the_kind_of_an_overlap(hit: str, kinds: list[str]) -> None:
    found = imported(decision("D", table([N], [(["<= 5"], ["1"]), ([">= 5"], ["1"])], hit=hit)))
    assert [kind for kind, _ in verified(found)] == kinds
    assert decided(found, "D", N=5) == [{"D": 1}] * (2 if hit == "COLLECT" else 1)


def test_disagreeing_rows_of_hit_policy_any_are_a_conflict() -> None:
    found = imported(decision("D", table([N], [(["<= 5"], ["1"]), ([">= 5"], ["2"])], hit="ANY")))
    assert verified(found) == [("conflict", "N: 5")]


@pytest.mark.parametrize(
    ("hit", "reason"),
    [
        pytest.param("PRIORITY", "hitPolicy: PRIORITY is not supported; sort the rows", id="priority"),
        pytest.param("RULE ORDER", "hitPolicy: RULE ORDER is not supported; use COLLECT", id="rule-order"),
        pytest.param("OUTPUT ORDER", "hitPolicy: OUTPUT ORDER is not supported; use COLLECT", id="output-order"),
        pytest.param("BEST", "hitPolicy: BEST is not supported; use one of UNIQUE", id="unknown"),
    ],
)
def test_other_hit_policies_are_refused(hit: str, reason: str) -> None:
    found = imported(decision("D", table([N], TOTAL, hit=hit)))
    (message,) = faults(found)
    assert message.startswith(f'2 unsupported: table "D": {reason}')
    assert found.tables == ()


COLLECT = table([N], [(["-"], ["1"])], hit="COLLECT")
CASES = [
    pytest.param(table([N], [(["date(1)"], ["1"])]), 'rule 1: dates, times and durations', id="date"),
    pytest.param(table([N], [(["1", "2"], ["1"])]), "rule 1: 2 input and 1 output entries, not 1 and 1", id="entries"),
    pytest.param(table([N], [(["-"], ["N + 1"])]), "rule 1, output: the name N is not supported", id="output"),
    pytest.param(table([column("N", "number", "0, [1..2]")], TOTAL), "N: allowed values must be a list", id="values"),
    pytest.param(table([column("N", "date")], TOTAL), "N: the type date is not supported", id="type"),
    pytest.param(table([column("N")], [(["-"], ["1"])]), "N: its type is unknown; give it a typeRef", id="no-type"),
    pytest.param(table([column("N")], [(["1, true"], ["1"])]), "N: its cells have several types", id="types"),
    pytest.param(table([N, N], [(["-", "-"], ["1"])]), "input 2: N is read by another column already", id="twice"),
    pytest.param(table([column("")], [(["-"], ["1"])]), "input 1: it has no expression", id="no-expression"),
    pytest.param(table([N], [(["-"], ["1", "2"])], [result("a"), result("a")]), "outputs: each needs", id="names"),
    pytest.param(table([N], [(["-"], ["7"])], [result("", "", "[1..5]")]), "7 is not a value of output", id="range"),
    pytest.param(table([N], [(["-"], ["7"])], [result("", "string")]), "7 is not a value of output", id="not-text"),
    pytest.param(table([N], TOTAL, [result(default='"c"')]), "it needs hit policy FIRST", id="default"),
    pytest.param(table([column("N", "number", "(9..1)")], TOTAL), "N: the allowed values exclude", id="none"),
    pytest.param(COLLECT.replace("<text>-", '<text expressionLanguage="juel">-'), "juel is not supported", id="juel"),
    pytest.param(COLLECT.replace(">", ' aggregation="SUM">', 1), "aggregation: SUM is not supported", id="sum"),
]  # fmt: skip


@pytest.mark.parametrize(("logic", "reason"), CASES)
def test_unsupported_construct_is_refused_with_line_and_reason(logic: str, reason: str) -> None:
    found = imported(decision("D", logic))
    (message,) = faults(found)
    assert reason in message
    assert found.tables == ()
    assert found.findings[0].places[0].line >= 2


def test_refused_table_is_left_out_and_its_reader_takes_any_value() -> None:
    found = imported(
        decision("A", table([N], TOTAL, hit="PRIORITY"), type_ref="string"),
        decision("B", table([column("A")], [(['"a"'], ["1"])]), ["A"]),
    )
    assert [fault.partition(":")[0] for fault in faults(found)] == ["2 unsupported", "9 free-input"]
    assert [t.id for t in found.tables] == ["B"]
    assert found.inputs == {"A": Domain.text()}


def test_unlinked_table_is_an_input_of_earlier_readers() -> None:
    found = imported(
        decision("B", table([column("A", "string")], [(['"a"'], ["1"])]), ["A"]),
        decision("A", table([column("N")], [(["-"], ['"a"'])])),
    )
    assert [fault.partition(":")[0] for fault in faults(found)] == ["8 unsupported", "3 free-input"]
    assert ([t.id for t in found.tables], [*found.inputs]) == (["B"], ["A"])


def test_result_of_another_decision_is_read_from_its_table() -> None:
    found = imported(
        decision("A", table([N], TOTAL)),
        decision("B", table([column("A", "string")], [(['"a"'], ["1"])]), ["A"]),
    )
    assert found.tables[1].columns[0].source == ColumnSource("decision", "A")
    assert verified(found) == [("gap", "N: 5")]


def test_several_outputs_are_read_by_their_names() -> None:
    outputs = [result("x", "string"), result("y", "number")]
    found = imported(
        decision("A", table([N], [(["< 5"], ['"a"', "1"]), ([">= 5"], ['"b"', "2"])], outputs)),
        decision("B", table([column("A.y")], [(["1"], ["true"]), (["2"], ["false"])]), ["A"]),
    )
    assert (verified(found), found.tables[1].columns[0].source.output) == ([], "y")


def test_list_of_a_collecting_decision_is_refused_as_input() -> None:
    found = imported(decision("A", COLLECT), decision("B", table([column("A")], [(["1"], ["1"])]), ["A"]))
    assert faults(found) == [
        '8 unsupported: table "B": A: the decision "A" collects a list; use a hit policy with a single result'
    ]


def test_decisions_in_a_circle_are_a_fault_of_verification() -> None:
    found = imported(
        decision("A", table([column("B")], [(["1"], ["1"])]), ["B"]),
        decision("B", table([column("A")], [(["1"], ["1"])]), ["A"]),
    )
    assert [kind for kind, _ in verified(found)][:1] == ["cycle"]


PERSON = """
<itemDefinition name="tPerson">
  <itemComponent name="Age">
    <typeRef>number</typeRef><allowedValues><text>&gt; 0</text></allowedValues>
  </itemComponent>
  <itemComponent name="Home"><itemComponent name="Town"><typeRef>tTown</typeRef></itemComponent></itemComponent>
</itemDefinition>
<itemDefinition name="tTown">
  <typeRef>string</typeRef><allowedValues><text>"Rome", "Oslo"</text></allowedValues>
</itemDefinition>
"""


def test_components_have_the_types_of_their_item_definitions() -> None:
    columns = [column("person.Age", "string"), column("person.Home.Town")]
    logic = table(columns, [(["<= 18", "-"], ["1"]), (["> 18", '"Rome"'], ["2"])])
    found = imported(PERSON, data("person", "tPerson"), decision("D", logic, ["person"]))
    assert [*found.inputs] == ["person.Age", "person.Home.Town"]
    assert not found.inputs["person.Age"].contains(0)
    assert verified(found) == [("gap", "person:\n  Age: 19\n  Home:\n    Town: Oslo")]


def test_item_definition_of_a_list_is_refused() -> None:
    item = '<itemDefinition name="tList" isCollection="true"><typeRef>number</typeRef></itemDefinition>'
    assert faults(imported(item, decision("D", table([column("N", "tList")], TOTAL)))) == [
        '4 unsupported: table "D": N: the type tList is a list; use a single value'
    ]


def test_elements_of_other_namespaces_are_ignored() -> None:
    foreign = '<x:input xmlns:x="urn:x"/><x:rule xmlns:x="urn:x"/>'
    assert verified(imported(decision("D", table([foreign, N], TOTAL)))) == []


def test_unknown_component_and_whole_structure_are_refused() -> None:
    logic = table([column("person.Size"), column("person")], [(["1", "-"], ["1"])])
    assert faults(imported(PERSON, data("person", "tPerson"), decision("D", logic, ["person"]))) == [
        '15 unsupported: table "D": person.Size: the type tPerson has no component Size; add it there',
        '16 unsupported: table "D": person: a structure cannot be compared; name one of its components',
    ]


@pytest.mark.parametrize(
    ("values", "domain"),
    [
        pytest.param("[1..5]", Domain.number(minimum=1, maximum=5), id="closed"),
        pytest.param("-", Domain.number(optional=True), id="may-be-null"),
        pytest.param("[1..5], null", Domain.number(minimum=1, maximum=5, optional=True), id="range-or-null"),
        pytest.param("1, 2, null", Domain.finite([1, 2, None]), id="listed"),
        pytest.param("not(null)", Domain.number(), id="not-null"),
    ],
)
def test_input_values_are_the_domain(values: str, domain: Domain) -> None:
    assert imported(decision("D", table([column("N", "number", values)], TOTAL))).inputs == {"N": domain}


def test_excluded_bound_is_not_a_gap() -> None:
    found = imported(decision("D", table([column("N", "number", "(0..9)")], [(["(0..9)"], ["1"])])))
    assert verified(found) == []
    found = imported(decision("D", table([column("N", "number", "[0..9]")], [(["(0..9)"], ["1"])])))
    assert verified(found) == [("gap", "N: 0")]


def test_whole_numbers_have_no_gap_between_them() -> None:
    logic = table([column("N", "integer")], [(["<= 1"], ["1"]), ([">= 2"], ["2"])])
    item = '<itemDefinition name="integer"><typeRef>number</typeRef></itemDefinition>'
    assert verified(imported(item, decision("D", logic))) == []
    assert verified(imported(decision("D", logic.replace("integer", "number")))) == [("gap", "N: 1.5")]


def test_negated_range_does_not_hold_for_null() -> None:
    found = imported(decision("D", table([column("N", "number", "-")], [(["not(< 5)"], ["1"]), (["< 5"], ["2"])])))
    (report,) = verify_decisions(found).findings
    assert (report.id, report.message) == ("gap", 'table "D" has no row for N: unset')


def test_null_in_a_cell_makes_the_input_optional() -> None:
    found = imported(decision("D", table([column("N", "string")], [(["null"], ["1"]), (["not(null)"], ["2"])])))
    assert (found.inputs, verified(found)) == ({"N": Domain.text(optional=True)}, [])


def test_default_output_of_hit_policy_first_is_a_last_row() -> None:
    logic = table([N], [(["< 5"], ['"a"'])], [result(default='"z"')], hit="FIRST")
    found = imported(decision("D", logic))
    assert (verified(found), decided(found, "D", N=7)) == ([], [{"D": "z"}])


def test_labels_and_descriptions_name_rows_and_columns() -> None:
    rules = [rule(["< 5"], ["1"], "small", "few\n are enough"), rule([">= 5"], ["2"], "small")]
    (found,) = imported(decision("D", table([column("N", "number", label="Number of seats")], rules))).tables
    assert [(row.id, row.because) for row in found.rows] == [
        ("small", "few are enough"), ("rule-2", "rule 2 of D"),
    ]  # fmt: skip
    assert (found.columns[0].name, found.columns[0].source) == ("Number of seats", ColumnSource("input", "N"))


FUNCTION = (
    '<businessKnowledgeModel id="F" name="F"><encapsulatedLogic><formalParameter name="P" typeRef="number"/>'
    + table([column("P", "string")], [(["< 5"], ["1"])])
    + "</encapsulatedLogic></businessKnowledgeModel>"
)


def test_function_without_invocation_is_a_table_over_its_parameters() -> None:
    found = imported(FUNCTION, decision("D", table([column("P", "string")], [(["-"], ["1"])])))
    assert found.inputs == {"P": Domain.text(), "F.P": Domain.number()}
    assert verified(found) == [("gap", "F:\n  P: 5")]


def test_invoked_function_is_the_table_of_the_decision() -> None:
    binding = f'<binding><parameter name="P"/>{text("literalExpression", "N")}</binding>'
    invocation = f"<invocation>{text('literalExpression', 'F')}{binding}</invocation>"
    found = imported(FUNCTION, data("n", "number"), data("N", "number"), decision("D", invocation, ["N"]))
    assert [(t.id, t.columns[0].source) for t in found.tables] == [("D", ColumnSource("input", "N"))]


def test_input_with_other_values_elsewhere_counts_as_its_own() -> None:
    logic = table([column("N", "number", "[0..9]")], [(["-"], ["1"])])
    found = imported(decision("A", table([N], TOTAL)), decision("B", logic))
    assert (faults(found)[0].partition(":")[0], [*found.inputs]) == ("9 free-input", ["N", "B.N"])


def test_expression_counts_as_an_input_of_its_own() -> None:
    found = imported(decision("D", table([column("N * 2", "number")], TOTAL)))
    assert faults(found) == [
        '3 free-input: table "D": N * 2: its expression is not evaluated; it counts as an input of its own'
    ]
    assert (verified(found)[1:], [*found.inputs]) == ([], ["N * 2"])


def test_tables_of_one_name_or_none_are_refused() -> None:
    logic = decision("D", table([N], TOTAL))
    assert "it is empty" in faults(imported(logic.replace('"D"', '""')))[0]
    assert faults(imported(logic, logic.replace('id="D"', 'id="E"'))) == [
        '8 unsupported: table "D": name: it is empty or that of another table; rename the table'
    ]


def test_decision_file_of_a_model_decides_and_reports_the_same() -> None:
    columns = [column("person.Age"), column("A"), column("set", "string", '"unset", "on", "7", null')]
    found = imported(
        PERSON, data("person", "tPerson"), decision("A", table([N], TOTAL)),
        decision("D", table(columns, [(["> 3", '"a"', '"on", null'], ["1"])]), ["person", "A"]),
    )  # fmt: skip
    again = parse_decisions(decisions_text(found, "two\nlines"), "again.yaml")
    assert (again.inputs, again.findings) == (found.inputs, ())
    assert verified(again) == verified(found) != []
