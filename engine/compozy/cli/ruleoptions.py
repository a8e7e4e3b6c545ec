"""Options and look-ups that the rule commands share: the options for rule packs, and a table by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypedDict, TypeVar

import click

from compozy.base.suggest import closest
from compozy.cli.options import note_project
from compozy.errors import NotFoundError
from compozy.resolution.configuration import packs_in_force
from compozy.rulebook import Rulebook
from compozy.settings.sources import make_inputs
from compozy.tables.table import Table

Command = TypeVar("Command", bound=Callable[..., object])


class RuleOptions(TypedDict):
    """The options that determine the rule packs in force."""

    config: str | None
    cwd: str | None
    rules: Sequence[str]


def rules_options(command: Command) -> Command:
    """Add `--config`, `--cwd` and `--rules`, which determine the rule packs in force."""
    options = [
        click.option("--config", metavar="FILE", help="Configuration file whose rule packs count."),
        click.option("--cwd", metavar="DIR", help="Directory to look for the configuration file from."),
        click.option("--rules", metavar="DIR", multiple=True, help="Directory of a rule pack; may be repeated."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def pack_folders(config: str | None, cwd: str | None, rules: Sequence[str]) -> tuple[str, ...]:
    """Return the directories of every pack in force, without reading one of them.

    Raises:
        UsageError: the file or directory that was named does not exist.
    """
    note_project(config, cwd)
    return packs_in_force(make_inputs(os.environ, directory=cwd, file=config), rules)


def find_table(rulebook: Rulebook, name: str) -> Table:
    """Return a table by its id.

    Raises:
        NotFoundError: no table has that name.
    """
    tables = rulebook.tables
    if name not in tables:
        near = closest(name, tables)
        hint = f"did you mean {near}?" if near else "compozy rules list shows them"
        raise NotFoundError("rule table", name, hint=hint)
    return tables[name]
