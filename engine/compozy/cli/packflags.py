"""Accept the flags of settings that rule packs add.

The packs are known only when the arguments are, so a flag that no command declares becomes `--set path=value`, and help
lists the flags of the packs. This module is imported only for such arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import click

from compozy.cli.options import flag_options
from compozy.cli.ruleoptions import pack_folders
from compozy.errors import CompozyError
from compozy.rulebook import load_rulebook
from compozy.settings.registry import Setting

# A command with this flag has those of all settings.
_SHIPPED_FLAG = "--mode"


def with_pack_flags(args: Sequence[str]) -> tuple[list[str], dict[str, str]] | None:
    """Return the arguments with the flags of the packs in force written out, and those flags by path; None without.

    Raises:
        UsageError: the configuration file or directory that is named does not exist.
        RuleTableError: a pack cannot be used.
    """
    added = {flag: setting.path for flag, setting in _added(args).items()}
    found = list(_written_out(args, added))
    used = {path: flag for flag, path in added.items() if any(arg.partition("=")[0] == flag for arg in args)}
    return (found, used) if found != list(args) else None


@contextmanager
def help_with_pack_flags(group: click.Group, args: Sequence[str]) -> Iterator[None]:
    """List the flags of the packs in force in the help of the command that the arguments name.

    Help is printed without them where a pack, or the configuration that names it, cannot be used.
    """
    command = _named(group, args)
    params = command.params
    if any(_SHIPPED_FLAG in param.opts for param in params):
        with suppress(CompozyError):
            command.params = [*params, *flag_options(_added(args).values())]
    try:
        yield
    finally:
        # Commands are objects of their modules, which later calls in the same process use again.
        command.params = params


def _named(command: click.Command, args: Sequence[str]) -> click.Command:
    for arg in args:
        found = command.get_command(click.Context(command), arg) if isinstance(command, click.Group) else None
        command = found or command
    return command


def _added(args: Sequence[str]) -> Mapping[str, Setting]:
    """Return the settings of the packs in force by the flags that no shipped setting has."""
    config, cwd = _last(args, "--config"), _last(args, "--cwd")
    registry = load_rulebook(pack_folders(config, cwd, list(_values(args, "--rules")))).registry
    shipped = {setting.flag for setting in load_rulebook().registry.settings.values()}
    return {one.flag: one for one in registry.settings.values() if one.flag and one.flag not in shipped}


def _written_out(args: Sequence[str], paths: dict[str, str]) -> Iterator[str]:
    rest = iter(args)
    for arg in rest:
        flag, equals, value = arg.partition("=")
        if flag not in paths:
            yield arg
        else:
            value = value if equals else next(rest, "")
            # In `--set path=@FILE` an @ names a file, so that of a value is doubled.
            yield from ("--set", f"{paths[flag]}={'@' * value.startswith('@')}{value}")


def _values(args: Sequence[str], flag: str) -> Iterator[str]:
    for arg, following in zip(args, [*args[1:], ""], strict=True):
        if arg == flag:
            yield following
        elif arg.startswith(f"{flag}="):
            yield arg.partition("=")[2]


def _last(args: Sequence[str], flag: str) -> str | None:
    return next(reversed(list(_values(args, flag))), None)
