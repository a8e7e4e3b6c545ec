"""`compozy migrate config`: rewrite a configuration file of an earlier version."""

from __future__ import annotations

import difflib
import os
import stat
from itertools import count
from typing import TYPE_CHECKING

import click

from compozy.base.output_file import copy_file, write_file
from compozy.base.source_file import UnreadableError, read_source
from compozy.cli.completion import FILE
from compozy.cli.options import format_option
from compozy.cli.output import print_json, print_line, print_note, styled
from compozy.errors import UsageError

if TYPE_CHECKING:
    from compozy.resolution.rewrite import FileChange, Rewrite

UNDONE = 2
_STYLES = {"+": "ok", "-": "error", "@": "dim"}


@click.command(name="config", epilog="Example: compozy migrate config compozy.yaml --to persistent --write")
@format_option()
@click.option("--to", type=click.Choice(["memory", "persistent"]), help="Mode in the place of standalone.")
@click.option("--diff/--write", "diff", default=True, help="Show what would change (default), or change the file.")
@click.option("--unsafe", is_flag=True, help="Make also those changes after which a restart keeps other data.")
@click.argument("file", type=FILE)
def config(format_: str, to: str | None, diff: bool, unsafe: bool, file: str) -> int:
    """Rewrite an older configuration FILE.

    Old modes and old names of keys are replaced; comments, order and quoting stay. --write keeps the old content in
    FILE.bak; its exit code is 2 when something is left to do.
    """
    from compozy.resolution.configuration import packs_in_force
    from compozy.resolution.rewrite import rewrite
    from compozy.rulebook import load_rulebook
    from compozy.settings.sources import make_inputs

    text, raw = _text(file)
    rulebook = load_rulebook(packs_in_force(make_inputs({}, file=file)))
    found = rewrite(rulebook, text, file, to=to, unsafe=unsafe)
    backup = _write(file, found.text, raw) if not diff and found.text != text else None
    lines = _diff(file, text, found)
    if format_ == "json":
        changes = [_json(change) for change in found.changes]
        print_json({"file": file, "changes": changes, "diff": lines, "written": backup is not None, "backup": backup})
    else:
        _print(found, lines, backup)
    left = any(change.obstacle for change in found.changes)
    return UNDONE if left and not diff else 0


def _text(file: str) -> tuple[str, bytes]:
    """Return the text of a file, and its bytes.

    Raises:
        UsageError: the file cannot be read, or its line breaks differ.
    """
    try:
        text = read_source(file)
        with open(file, "rb") as stream:
            raw = stream.read()
    except (UnreadableError, OSError) as error:
        raise UsageError(f"{file} cannot be read: {error}", hint="name a configuration file") from error
    if _encoded(text, raw) != raw:
        raise UsageError(f"{file} mixes line breaks", hint="end all lines alike, with LF or CRLF")
    return text, raw


def _encoded(text: str, raw: bytes) -> bytes:
    """Return `text` with the byte order mark and the line breaks of `raw`."""
    mark = b"\xef\xbb\xbf" if raw.startswith(b"\xef\xbb\xbf") else b""
    return mark + text.replace("\n", "\r\n" if b"\r\n" in raw else "\n").encode()


def _write(file: str, text: str, raw: bytes) -> str:
    """Write the file and return the name of its backup.

    Raises:
        UsageError: one of them cannot be written.
    """
    target = os.path.realpath(file)
    names = (f"{file}.bak{number or ''}" for number in count())
    backup = next(name for name in names if not os.path.lexists(name))
    try:
        copy_file(target, backup)
        write_file(target, _encoded(text, raw), mode=stat.S_IMODE(os.stat(target).st_mode))
    except OSError as error:
        raise UsageError(f"{error.filename or file} cannot be written: {error.strerror}") from error
    return backup


def _diff(file: str, text: str, found: Rewrite) -> list[str]:
    """Return a unified diff without secrets."""
    from compozy.settings.mask import masked_lines
    from compozy.settings.redact import Redactor, readable

    before, after = (masked_lines(Redactor(()).masked(side)) for side in (text, found.text))
    return [readable(line) for line in difflib.unified_diff(before, after, file, file, lineterm="")]


def _print(found: Rewrite, lines: list[str], backup: str | None) -> None:
    for line in lines if backup is None else ():
        print_line(styled(line, _STYLES[line[0]]) if line[0] in _STYLES else line)
    for change in found.changes:
        print_line("  ".join(_words(change, err=backup is None)), err=backup is None)
    if not found.changes:
        print_line("nothing to do: no old mode and no old key")
    elif backup is not None:
        print_line(f"written; the old content is in {backup}")
        print_note("compozy config validate checks the result")
    if any(change.needs_consent for change in found.changes):
        print_note("--unsafe makes the changes that are not safe, or choose a mode with --to")


def _words(change: FileChange, *, err: bool) -> tuple[str, ...]:
    state = "safe" if change.row.safe else "unsafe"
    left = f" (not changed: {'--unsafe is not given' if change.needs_consent else change.obstacle})"
    what = f"{change.place}: {change.before} -> {change.after}{left if change.obstacle else ''}"
    return (styled(f"{state:6}", "ok" if change.row.safe else "warning", err=err), what, change.row.because)


def _json(change: FileChange) -> dict[str, object]:
    return {
        "id": change.row.id,
        "where": {"kind": "file", "file": change.place.file, "line": change.place.line, "column": change.place.column},
        "before": change.before,
        "after": change.after,
        "safe": change.row.safe,
        "applied": not change.obstacle,
        "obstacle": change.obstacle,
        "because": change.row.because,
    }
