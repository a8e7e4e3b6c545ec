"""Print JSON, aligned tables, and findings with source line and caret.

The only module that writes to the terminal: it escapes control characters of any origin, and adds colour
only on a terminal, never with NO_COLOR.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, TextIO

import click

from compozy.base.control import escape_control, escape_json, escape_line
from compozy.base.findings import Finding
from compozy.base.manual import published_page
from compozy.base.output_file import write_file
from compozy.base.place import Place
from compozy.cli.places import relative_finding
from compozy.cli.redaction import redacted
from compozy.errors import CompozyError, ConfigurationError, UsageError
from compozy.settings.mask import masked_lines
from compozy.settings.redact import MASK, readable

if TYPE_CHECKING:
    from compozy.client.finding_answers import FailureReport

FORMAT_VERSION = 1
_COLOURS = {"error": "red", "warning": "yellow", "ok": "green", "dim": "bright_black", "bold": None}
_VALUE = re.compile(r"(?<=[=\s])\S.*$")
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
# A closed pipe, a closed stream, or a full disk.
_NOT_PRINTED = (OSError, ValueError, UsageError)
_WIDEST = 100
_LONGEST = 10_000
# Stands for the escape character of our own colours until everything else is escaped; foreign text cannot guess it.
_own_stdout: list[TextIO] = []
_ESCAPE = f"\ue001{secrets.token_hex(8)}\ue001"


def protect_output() -> None:
    """Keep standard output for this module: what tools and their children write to descriptor 1 goes to stderr."""
    stdout = sys.__stdout__
    if _own_stdout or stdout is None or sys.stdout is not stdout or stdout.fileno() != 1:
        # It is protected already, or the caller has put a stream of its own there.
        return
    # Buffered text must reach the old descriptor 1 before that leads to stderr.
    stdout.flush()
    _own_stdout.append(open(os.dup(1), "w", encoding=stdout.encoding, errors=stdout.errors))  # noqa: SIM115
    os.dup2(2, 1)


def _stream(*, err: bool) -> TextIO:
    if err:
        return sys.stderr
    return _own_stdout[0] if _own_stdout else sys.stdout


def styled(text: str, style: str, *, err: bool = False) -> str:
    """Return `text` for `print_line`, in the colour of `style` where the stream is a terminal."""
    if "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" or not _stream(err=err).isatty():
        return text
    start, end = click.style("|", fg=_COLOURS[style], bold=style in ("bold", "error", "warning") or None).split("|")
    return _marked(start) + text + _marked(end)


def _marked(colour: str) -> str:
    return colour.replace("\x1b", _ESCAPE)


def print_line(text: str = "", *, err: bool = False) -> None:
    """Print one or more lines; control characters and what the stream cannot encode are escaped.

    Raises:
        UsageError: the stream leads to a full disk or a broken device.
    """
    stream = _stream(err=err)
    encoding = stream.encoding or "utf-8"
    plain = escape_control(text).replace(_ESCAPE, "\x1b")
    try:
        click.echo(plain.encode(encoding, "backslashreplace").decode(encoding), stream)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise UsageError(f"the output cannot be written: {error.strerror}") from error


def print_note(text: str) -> None:
    """Print a note on stderr; if it cannot be written, as to a closed pipe, the command continues."""
    with contextlib.suppress(*_NOT_PRINTED):
        print_line(f"{styled('note', 'dim', err=True)}: {redacted(text)}", err=True)


def json_text(value: object, *, indent: int | None = 2, ascii_only: bool = False) -> str:
    """Return JSON in which control characters, C1 and bidirectional formatting included, are escaped."""
    return escape_json(json.dumps(value, indent=indent, ensure_ascii=ascii_only, default=str))


def print_document(value: object, *, indent: int | None = 2) -> None:
    """Print a value as JSON on stdout; ASCII where the stream is not UTF-8."""
    encoding = (sys.stdout.encoding or "utf-8").casefold().replace("_", "-")
    print_line(json_text(value, indent=indent, ascii_only=encoding not in ("utf-8", "utf8")))


def print_json(payload: Mapping[str, object], *, indent: int | None = 2) -> None:
    """Print one JSON object on stdout, `format_version` first."""
    print_document({"format_version": FORMAT_VERSION, **payload}, indent=indent)


def shown(value: object) -> str:
    """Return a value for people: texts as they are, the rest as JSON."""
    return value if isinstance(value, str) else json_text(value, indent=None)


def print_table(rows: Sequence[Sequence[str]], header: Sequence[str], indent: str = "") -> None:
    """Print rows under a header, columns aligned by two blanks; a cell takes one line."""
    first, *lines = table_lines(rows, header)
    print_line(indent + styled(first, "dim"))
    for line in lines:
        print_line(indent + line)


def table_lines(rows: Sequence[Sequence[str]], header: Sequence[str]) -> list[str]:
    """Return a header and rows as lines, columns aligned by two blanks."""
    rows = [header, *([escape_line(cell) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(header))]
    return [_line(row, widths) for row in rows]


def write_output(file: str, text: str) -> None:
    """Write a report to a file instead of standard output; control characters are escaped.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        write_file(file, escape_control(text.rstrip("\n")) + "\n", mode=0o644)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from error


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def print_failure(error: CompozyError, format_: str = "text") -> None:
    """Print a failure: its text on stderr, and on stdout what `format_` of JSON, GitHub or SARIF asks for.

    A stream that cannot be written is left out, because a failure to print would hide the failure itself.
    """
    message, hint = redacted(error.message), redacted(error.hint or "")
    if format_ != "text":
        with contextlib.suppress(*_NOT_PRINTED):
            _print_failure_as(format_, error, message, hint)
    with contextlib.suppress(*_NOT_PRINTED):
        _print_failure_text(error, message, hint)


def _print_failure_as(format_: str, error: CompozyError, message: str, hint: str) -> None:
    from compozy.cli.finding_formats import print_checked

    whole = Finding.at(error.id, message, hint=hint)
    findings = [_safe(finding) for finding in error.findings] or ([] if format_ == "json" else [whole])

    def report() -> FailureReport:
        from compozy.client.finding_answers import FailureFacts, FailureReport, finding_answers

        facts = FailureFacts(id=error.id, message=message, exit_code=error.exit_code, hint=hint or None)
        return FailureReport(error=facts, findings=finding_answers(findings))

    print_checked(format_, findings, report, print_line)


def _print_failure_text(error: CompozyError, message: str, hint: str) -> None:
    if isinstance(error, ConfigurationError):
        print_findings(error.findings, error.texts)
        print_line(styled("error", "error", err=True) + f": {message.splitlines()[0]}", err=True)
        return
    print_line(styled(f"error[{error.id}]", "error", err=True) + f": {message}", err=True)
    if hint:
        print_line(f"  fix: {hint}", err=True)


def _safe(finding: Finding) -> Finding:
    """Return a finding without secrets, its files named as seen from the working directory."""
    return relative_finding(replace(finding, message=redacted(finding.message), hint=redacted(finding.hint)))


def print_in_brief(findings: Iterable[Finding], texts: Mapping[str, str]) -> None:
    """Print warnings on stderr in one line each, and where to read more; an error in full."""
    warnings = [finding for finding in findings if finding.severity == "warning"]
    print_findings([finding for finding in findings if finding.severity != "warning"], texts)
    for finding in warnings:
        head = styled(f"warning[{finding.id}]", "warning", err=True)
        print_line(f"{head}: {finding.message.splitlines()[0]} ({finding.where})", err=True)
    if warnings:
        print_note("compozy config validate shows the place, the rule and a hint")


def print_findings(findings: Iterable[Finding], texts: Mapping[str, str], *, err: bool = True) -> None:
    """Print findings one after the other; `texts` are the files that they point into, secrets masked."""
    for finding in findings:
        print_line("\n".join(finding_lines(finding, texts, err=err)) + "\n", err=err)


def finding_lines(finding: Finding, texts: Mapping[str, str], *, err: bool = True) -> list[str]:
    """Return a finding as lines: text, place with the source line and a caret, hint, rule row and page."""
    first, *details = finding.message.splitlines()
    head = styled(f"{finding.severity}[{finding.id}]", finding.severity, err=err)
    return [f"{head}: {first}", *details, *_where(finding, texts), *_rule(finding, texts)]


def _where(finding: Finding, texts: Mapping[str, str]) -> Iterator[str]:
    place = finding.where.place
    named = f" ({finding.where.name})" if place and finding.where.name else ""
    yield escape_line(f"  --> {place or finding.where}{named}")
    if place is not None:
        # The value of a variable that sets nothing may be anything, a secret too.
        only_name = finding.where.kind == "dotenv" and finding.key in ("", finding.where.name)
        yield from excerpt(place, masked_lines(texts.get(place.file, "")), only_name=only_name)
    if finding.hint:
        yield f"  = hint: {finding.hint}"


def _rule(finding: Finding, texts: Mapping[str, str]) -> Iterator[str]:
    if finding.rule is not None:
        yield f"  ::: {finding.rule} (rule {finding.row})"
        yield from excerpt(finding.rule, _lines(texts.get(finding.rule.file, "")), mark="-")
    if finding.docs:
        yield f"  = see:  {published_page(finding.docs)}"


def excerpt(place: Place, lines: Sequence[str], *, mark: str = "^", only_name: bool = False) -> list[str]:
    """Return the source line of `place` with marks under it; nothing for a missing or overlong line.

    Masked characters print as `[REDACTED]`; `only_name` hides everything after the first `=` or blank.
    """
    if not 0 < place.line <= len(lines) or len(lines[place.line - 1]) > _LONGEST:
        return []
    line = lines[place.line - 1]
    if only_name:
        line = _VALUE.sub(MASK, line)
    before, marked = line[: place.column - 1], line[place.column - 1 :][: max(1, place.length)]
    before, marked, after = (_readable(part) for part in (before, marked, line[len(before) + len(marked) :]))
    if len(before) > _WIDEST // 2:
        before = "..." + before[-_WIDEST // 2 :]
    shown = before + marked + after
    shown = shown if len(shown) <= _WIDEST else shown[:_WIDEST] + "..."
    number, blank = str(place.line), " " * len(str(place.line))
    marks = mark * min(max(1, len(marked)), max(1, _WIDEST - len(before)))
    return [f" {blank} |", f" {number} | {shown}", f" {blank} | {' ' * len(before)}{marks}"]


@lru_cache(maxsize=4)
def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.splitlines())


def _readable(text: str) -> str:
    return escape_line(readable(text.replace("\t", " ")))
