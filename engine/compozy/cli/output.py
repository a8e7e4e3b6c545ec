"""Print: JSON, aligned tables, findings with source line and caret. The only place that writes to the terminal.

What comes in: records. What goes out: text on stdout or stderr. Colour only on a terminal, never with NO_COLOR.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from compozy.document import Place
from compozy.errors import CompozyError, ConfigurationError
from compozy.settings.origin import Finding

FORMAT_VERSION = 1
_COLOURS = {"error": "red", "warning": "yellow", "ok": "green", "dim": "bright_black", "bold": None}


def styled(text: str, style: str, *, err: bool = False) -> str:
    """Return `text` in the colour of `style` on a terminal, else as it is."""
    stream = sys.stderr if err else sys.stdout
    if "NO_COLOR" in os.environ or not stream.isatty():
        return text
    return click.style(text, fg=_COLOURS[style], bold=style in ("bold", "error", "warning"))


def print_json(payload: Mapping[str, Any], *, indent: int | None = 2) -> None:
    """Print one JSON object on stdout, `format_version` first."""
    click.echo(
        json.dumps(
            {"format_version": FORMAT_VERSION, **payload}, indent=indent, ensure_ascii=False, default=str
        )
    )


def print_table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> None:
    """Print rows under a header, columns aligned by two blanks."""
    widths = [max(len(row[at]) for row in (header, *rows)) for at in range(len(header))]
    click.echo(styled(_line(header, widths), "dim"))
    for row in rows:
        click.echo(_line(row, widths))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def print_failure(error: CompozyError, *, as_json: bool) -> None:
    """Print a failure: its text on stderr, with `as_json` one object on stdout."""
    findings = [item for item in getattr(error, "findings", ()) if isinstance(item, Finding)]
    if as_json:
        facts = {"id": error.id, "message": error.message, "exit_code": error.exit_code, "hint": error.hint}
        print_json({"error": facts, "findings": [finding.as_json() for finding in findings]})
    if isinstance(error, ConfigurationError):
        texts = getattr(error, "texts", {})
        print_findings(findings, texts)
        click.echo(styled("error", "error", err=True) + f": {error.message.splitlines()[0]}", err=True)
        return
    click.echo(styled(f"error[{error.id}]", "error", err=True) + f": {error.message}", err=True)
    if error.hint:
        click.echo(f"  fix: {error.hint}", err=True)


def print_findings(findings: Iterable[Finding], texts: Mapping[str, str], *, err: bool = True) -> None:
    """Print findings one after the other; `texts` are the files that they point into."""
    for finding in findings:
        click.echo("\n".join(finding_lines(finding, texts, err=err)) + "\n", err=err)


def finding_lines(finding: Finding, texts: Mapping[str, str], *, err: bool = True) -> list[str]:
    """Return a finding as lines: text, place with the source line and a caret, hint, rule row and page."""
    first, *details = finding.message.splitlines()
    lines = [styled(f"{finding.severity}[{finding.id}]", finding.severity, err=err) + f": {first}", *details]
    place = finding.where.place
    lines.append(f"  --> {place or finding.where}")
    if place is not None:
        lines += excerpt(place, texts.get(place.file, ""))
    if finding.hint:
        lines.append(f"  = hint: {finding.hint}")
    if finding.rule is not None:
        lines.append(f"  = rule: {finding.rule.file}:{finding.rule.line} ({finding.row})")
    if finding.docs:
        lines.append(f"  = see:  {finding.docs}")
    return lines


def excerpt(place: Place, text: str) -> list[str]:
    """Return the source line of `place` with a caret under it; nothing when the file has no such line."""
    lines = text.splitlines()
    if not 0 < place.line <= len(lines):
        return []
    line = lines[place.line - 1]
    number, blank = str(place.line), " " * len(str(place.line))
    marks = "^" * max(1, min(place.length, len(line) - place.column + 1))
    before = "".join("\t" if char == "\t" else " " for char in line[: place.column - 1])
    return [f" {blank} |", f" {number} | {line}", f" {blank} | {before}{marks}"]
