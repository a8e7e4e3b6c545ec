"""`compozy prune`: delete the rows of executions that ended long ago; running ones are never deleted."""

from __future__ import annotations

import click

from compozy.cli.options import configuration_options, format_option
from compozy.cli.output import print_json, print_line, print_note
from compozy.cli.prepare import report_preparation, validated
from compozy.client.connect import connected
from compozy.errors import UsageError
from compozy.settings.values import parse_duration


@click.command(name="prune", epilog="Example: compozy prune --older-than 720h")
@click.option("--older-than", metavar="DURATION", help="Age from which to remove; executions.retention by default.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@configuration_options
@format_option()
def command(older_than: str | None, dry_run: bool, format_: str, strict: bool, **options: object) -> None:
    """Remove executions that ended longer ago. Running ones and workflows stay."""
    lifecycle = validated(options, strict)
    age_s = lifecycle.resolved.get("executions.retention") if older_than is None else _seconds(older_than)
    if age_s is None:
        raise UsageError("executions are kept for ever", hint="give --older-than, or set executions.retention")
    with connected(lifecycle, report_preparation, print_note) as client:
        found = client.prune(age_s, dry_run=dry_run)
    if format_ == "json":
        print_json(found.to_json())
        return
    done = "would be removed" if dry_run else "were removed"
    print_line(f"{found.count} executions that ended before {found.before} {done}")


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--older-than {text}: {error}", hint="write a number with a unit, such as 720h") from error
