"""Print findings of a check in the form that `--format` names: text, JSON, GitHub's workflow commands or SARIF.

The texts of findings hold no secrets.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from compozy import __version__
from compozy.base.findings import Finding
from compozy.base.place import Place
from compozy.cli.output import print_document, print_json, print_line

if TYPE_CHECKING:
    from compozy.client.answers import Answer

FORMATS = ("text", "json", "github", "sarif")
# https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
SARIF_VERSION = "2.1.0"
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def print_checked(
    format_: str,
    findings: Sequence[Finding],
    report: Callable[[], Answer],
    print_text: Callable[[], None],
    *,
    folder: str = "",
    about: Mapping[str, str] | None = None,
) -> None:
    """Print the result of a check in one of `FORMATS`.

    `report` makes the record that is printed as JSON, `print_text` prints the text. Relative names of files begin at
    `folder`; `about` describes the ids in SARIF.
    """
    if format_ == "text":
        print_text()
    elif format_ == "json":
        print_json(report().to_json())
    else:
        print_report(format_, findings, folder, about)


def print_report(
    format_: str, findings: Sequence[Finding], folder: str = "", about: Mapping[str, str] | None = None
) -> None:
    """Print findings as GitHub's workflow commands or as a SARIF log; see `print_checked`."""
    if format_ == "sarif":
        print_document(sarif_log(findings, folder, about))
    for line in github_lines(findings, folder) if format_ == "github" else ():
        print_line(line)


def github_lines(findings: Iterable[Finding], folder: str) -> Iterator[str]:
    """Yield a workflow command for each finding, which GitHub shows beside the line that it is about."""
    for finding in findings:
        facts = {"title": finding.id}
        if finding.where.place is not None:
            facts = {**_github_place(finding.where.place, folder), **facts}
        properties = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in facts.items())
        yield f"::{finding.severity} {properties}::{_escaped(_text(finding))}"


def _github_place(place: Place, folder: str) -> dict[str, str]:
    end = place.column + place.length
    found = {"file": _uri(place, folder), "line": str(place.line)}
    return {**found, "col": str(place.column), "endColumn": str(end)}


def _escaped(text: str, more: str = "") -> str:
    for char in f"%\r\n{more}":
        text = text.replace(char, f"%{ord(char):02X}")
    return text


def _text(finding: Finding) -> str:
    """Return message, further places, witness, proposal and hint, and the origin unless it is a place in a file."""
    where = f" ({finding.where})" if finding.where.place is None and finding.where.kind else ""
    named = {"for example": finding.witness, "a row that closes the gap": finding.proposal, "hint": finding.hint}
    more = [f"also: {place}" for place in finding.also]
    more += [f"{name}:{_joint(text)}{text}" for name, text in named.items() if text]
    return "\n".join([f"{finding.message}{where}", *more])


def _joint(text: str) -> str:
    return "\n" if "\n" in text else " "


def _uri(place: Place, folder: str) -> str:
    return os.path.normpath(os.path.join(folder, place.file)).replace(os.sep, "/")


def sarif_log(findings: Sequence[Finding], folder: str, about: Mapping[str, str] | None = None) -> dict[str, object]:
    """Return a SARIF 2.1.0 log with one run; a rule for each id, a result for each finding."""
    rules = {finding.id: _rule(finding, about or {}) for finding in findings}
    order = {name: at for at, name in enumerate(rules)}
    driver = {"name": "compozy", "version": __version__, "rules": list(rules.values())}
    results = [_result(finding, order[finding.id], folder) for finding in findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SARIF_SCHEMA, "version": SARIF_VERSION, "runs": [run]}


def _rule(finding: Finding, about: Mapping[str, str]) -> dict[str, object]:
    description = f"Rule {finding.row}" if finding.row else about.get(finding.id, finding.id)
    rule: dict[str, object] = {
        "id": finding.id,
        "shortDescription": {"text": f"{description[:1].upper()}{description[1:]}."},
        "defaultConfiguration": {"level": finding.severity},
    }
    return rule | ({"help": {"text": f"compozy config explain --finding {finding.id}"}} if finding.rule else {})


def _result(finding: Finding, rule: int, folder: str) -> dict[str, object]:
    return {
        "ruleId": finding.id,
        "ruleIndex": rule,
        "level": finding.severity,
        "message": {"text": _text(finding)},
        "locations": [_location(finding, folder)],
        **({"relatedLocations": [_physical(place, folder) for place in finding.also]} if finding.also else {}),
    }


def _location(finding: Finding, folder: str) -> dict[str, object]:
    logical: dict[str, object] = {
        "logicalLocations": [{"name": finding.key or finding.id, "kind": "setting" if finding.row else "member"}]
    }
    place = finding.where.place
    return logical if place is None else {**_physical(place, folder), **logical}


def _physical(place: Place, folder: str) -> dict[str, object]:
    end = place.column + place.length
    region = {"startLine": place.line, "startColumn": place.column, "endColumn": end}
    return {"physicalLocation": {"artifactLocation": {"uri": _uri(place, folder)}, "region": region}}
