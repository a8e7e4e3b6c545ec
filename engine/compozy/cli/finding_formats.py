"""Findings for other programs: GitHub's workflow commands and SARIF logs.

What comes in: findings, whose texts hold no secrets, and the folder that their files are seen from. What goes out:
lines, or plain JSON values.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from compozy import __version__
from compozy.base.findings import Finding
from compozy.base.place import Place

# https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
SARIF_VERSION = "2.1.0"
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def github_lines(findings: Iterable[Finding], folder: str) -> Iterator[str]:
    """Yield a workflow command for each finding, which GitHub shows beside the line that it is about."""
    for finding in findings:
        facts = {"title": finding.id}
        if finding.where.place is not None:
            facts = {**_github_place(finding.where.place, folder), **facts}
        properties = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in facts.items())
        yield f"::{finding.severity} {properties}::{_escaped(_told(finding))}"


def _github_place(place: Place, folder: str) -> dict[str, str]:
    end = place.column + place.length
    found = {"file": _uri(place, folder), "line": str(place.line)}
    return {**found, "col": str(place.column), "endColumn": str(end)}


def _escaped(text: str, more: str = "") -> str:
    for char in f"%\r\n{more}":
        text = text.replace(char, f"%{ord(char):02X}")
    return text


def _told(finding: Finding) -> str:
    """Return message and hint; where the place is no file, it is said here."""
    hint = f"\nhint: {finding.hint}" if finding.hint else ""
    where = "" if finding.where.place else f" ({finding.where})"
    return f"{finding.message}{where}{hint}"


def _uri(place: Place, folder: str) -> str:
    return os.path.normpath(os.path.join(folder, place.file)).replace(os.sep, "/")


def sarif_log(findings: Sequence[Finding], folder: str) -> dict[str, Any]:
    """Return a SARIF 2.1.0 log with one run; a rule for each id, a result for each finding."""
    rules = {finding.id: _rule(finding) for finding in findings}
    order = {name: at for at, name in enumerate(rules)}
    driver = {"name": "compozy", "version": __version__, "rules": list(rules.values())}
    results = [_result(finding, order[finding.id], folder) for finding in findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SARIF_SCHEMA, "version": SARIF_VERSION, "runs": [run]}


def _rule(finding: Finding) -> dict[str, Any]:
    rule = {
        "id": finding.id,
        "shortDescription": {"text": f"Rule {finding.row}."},
        "defaultConfiguration": {"level": finding.severity},
    }
    return rule | ({"help": {"text": f"compozy config explain --finding {finding.id}"}} if finding.rule else {})


def _result(finding: Finding, rule: int, folder: str) -> dict[str, Any]:
    return {
        "ruleId": finding.id,
        "ruleIndex": rule,
        "level": finding.severity,
        "message": {"text": _told(finding)},
        "locations": [_location(finding, folder)],
    }


def _location(finding: Finding, folder: str) -> dict[str, Any]:
    logical = [{"name": finding.key or finding.id, "kind": "setting"}]
    place = finding.where.place
    if place is None:
        return {"logicalLocations": logical}
    end = place.column + place.length
    region = {"startLine": place.line, "startColumn": place.column, "endColumn": end}
    physical = {"artifactLocation": {"uri": _uri(place, folder)}, "region": region}
    return {"physicalLocation": physical, "logicalLocations": logical}
