"""`compozy migrate`: bring what an older version or another mode left to the present form."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from compozy.cli.configmigration import config
from compozy.cli.options import configuration_options, format_option
from compozy.cli.output import print_json, print_line, print_note, print_table
from compozy.cli.prepare import prepared
from compozy.cli.status import with_mode_of_server
from compozy.errors import UsageError
from compozy.provisioning.plan import Plan, make_plan

if TYPE_CHECKING:
    from compozy.store import Store
    from compozy.store.schema_version import SchemaMigration

DATABASE = "database"


@click.group(name="migrate", epilog="Example: compozy migrate schema --list --mode persistent")
def command() -> None:
    """Bring configurations and databases to the present form."""


command.add_command(config)


@command.command(name="schema", epilog="Example: compozy migrate schema --mode distributed")
@configuration_options
@format_option()
@click.option("--list", "list_", is_flag=True, help="Show the migrations and change nothing.")
@click.option("--back", is_flag=True, help="Revert the newest migration, or all back through --to; data is lost.")
@click.option("--to", metavar="NAME", help="The last migration to apply, or with --back to revert.")
@click.option("--yes", is_flag=True, help="Revert without a question.")
def schema(
    format_: str, list_: bool, back: bool, to: str | None, yes: bool, strict: bool, **options: object
) -> None:  # fmt: skip
    """Apply, revert or list migrations of the database.

    A server that uses a SQLite file must be stopped; PostgreSQL is migrated under an advisory lock.
    """
    options, _ = with_mode_of_server(options)
    plan = database_plan(options, strict)
    if back and not list_:
        _confirm(yes)
    with opened(plan, keep=not list_) as store:
        changed: tuple[str, ...] = ()
        if not list_:
            changed = store.revert(to) if back else store.migrate(to)
        migrations = store.migrations()
    if format_ == "json":
        print_json({"migrations": [_json(one) for one in migrations], "reverted" if back else "applied": list(changed)})
        return
    for name in changed:
        print_line(f"{'reverted' if back else 'applied'} {name}")
    if not changed and not list_:
        print_line("nothing to do: every migration is applied")
    if list_:
        print_table([(one.name, _state(one)) for one in migrations], ("MIGRATION", "STATE"))


def database_plan(options: dict[str, object], strict: bool) -> Plan:
    """Return the plan of the configuration with nothing but its database.

    Raises:
        UsageError: the database is in memory.
    """
    resolved = prepared(options, strict).resolved
    plan = make_plan(resolved)
    if not resolved.components["database"].kept:
        hint = "choose --mode persistent or distributed"
        raise UsageError("a database in memory has no schema to migrate", hint=hint)
    return replace(plan, steps=tuple(step for step in plan.steps if step.component == DATABASE))


@contextmanager
def opened(plan: Plan, *, keep: bool) -> Iterator[Store]:
    """Yield the store of a database; without `keep`, files that were created for it are removed again.

    Raises:
        ProvisionError: the database is in use, out of reach, or cannot be opened.
    """
    from compozy.provisioning.provision import provision
    from compozy.store import Store

    runtime = provision(plan, notice=print_note)
    try:
        yield Store(runtime.database)
    except BaseException:
        runtime.abandon()
        raise
    runtime.close() if keep else runtime.abandon()


def _confirm(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("reverting a migration deletes data", hint="take a backup, then repeat the command with --yes")
    if not click.confirm("Reverting a migration deletes the data of its tables. Continue?", err=True):
        raise click.Abort


def _state(migration: SchemaMigration) -> str:
    if migration.applied_at is None:
        return "missing"
    when = f"applied {migration.applied_at:%Y-%m-%d %H:%M:%S}"
    return when if migration.shipped else f"{when}, by a newer version"


def _json(migration: SchemaMigration) -> dict[str, object]:
    applied_at = None if migration.applied_at is None else migration.applied_at.isoformat()
    return {"name": migration.name, "applied_at": applied_at, "shipped": migration.shipped}
