"""Short ways to write DMN models in tests; the names of elements are those of the standard."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from compozy.decisions import Decisions, verify_decisions
from compozy.decisions.dmn_import import NAMESPACES, parse_dmn

Rule = tuple[Sequence[str], Sequence[str]]


def text(tag: str, content: str, **attributes: str) -> str:
    given = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{tag}{given}><text>{escape(content)}</text></{tag}>"


def column(expression: str, type_ref: str = "", values: str | None = None, label: str = "") -> str:
    allowed = "" if values is None else text("inputValues", values)
    reference = {"typeRef": type_ref} if type_ref else {}
    return f"<input label={quoteattr(label)}>{text('inputExpression', expression, **reference)}{allowed}</input>"


def result(name: str = "", type_ref: str = "", values: str | None = None, default: str | None = None) -> str:
    given = {key: value for key, value in (("name", name), ("typeRef", type_ref)) if value}
    members = "" if values is None else text("outputValues", values)
    members += "" if default is None else text("defaultOutputEntry", default)
    return f"<output{''.join(f' {k}={quoteattr(v)}' for k, v in given.items())}>{members}</output>"


def rule(tests: Sequence[str], results: Sequence[str], label: str = "", description: str = "") -> str:
    entries = [text("inputEntry", test) for test in tests] + [text("outputEntry", value) for value in results]
    return f"<rule label={quoteattr(label)}><description>{escape(description)}</description>{''.join(entries)}</rule>"


def table(columns: Sequence[str], rules: Sequence[Rule | str], outputs: Sequence[str] = (), hit: str = "UNIQUE") -> str:
    written = [one if isinstance(one, str) else rule(*one) for one in rules]
    lines = [*columns, *(outputs or [result()]), *written]
    body = "\n".join(lines)
    return f"<decisionTable hitPolicy={quoteattr(hit)}>\n{body}\n</decisionTable>"


def decision(name: str, logic: str, needs: Sequence[str] = (), type_ref: str = "") -> str:
    """Write a decision whose id is its name; `needs` are ids, of decisions with a capital letter first."""
    reference = f" typeRef={quoteattr(type_ref)}" if type_ref else ""
    required = "".join(
        f'<informationRequirement><required{"Decision" if need[0].isupper() else "Input"} href="#{need}"/>'
        "</informationRequirement>"
        for need in needs
    )
    variable = f"<variable name={quoteattr(name)}{reference}/>"
    return f"<decision id={quoteattr(name)} name={quoteattr(name)}>{variable}{required}{logic}</decision>"


def data(name: str, type_ref: str) -> str:
    return f'<inputData id="{name}" name="{name}"><variable name="{name}" typeRef="{type_ref}"/></inputData>'


def model(*elements: str, version: str = "1.5") -> str:
    body = "\n".join(elements)
    return f'<definitions xmlns="{NAMESPACES[version]}" id="m" name="m" namespace="urn:m">\n{body}\n</definitions>'


def imported(*elements: str) -> Decisions:
    return parse_dmn(model(*elements), "model.dmn")


def faults(decisions: Decisions) -> list[str]:
    return [f"{report.places[0].line} {report.id}: {report.message}" for report in decisions.findings]


def verified(decisions: Decisions) -> list[tuple[str, str | None]]:
    return [(report.id, report.witness) for report in verify_decisions(decisions).findings]
