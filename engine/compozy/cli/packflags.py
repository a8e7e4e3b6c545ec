"""Flags of settings that rule packs add: the packs are known only when the arguments are.

What comes in: arguments that hold a flag which no command declares. What goes out: the same arguments with
`--set path=value` in its place. Nothing here is imported unless such a flag is met.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compozy.cli.ruleoptions import pack_folders
from compozy.rulebook import load_rulebook


def with_pack_flags(args: Sequence[str]) -> tuple[list[str], dict[str, str]] | None:
    """Return the arguments with the flags of the packs in force written out, and those flags by path; None without.

    Raises:
        UsageError: the configuration file or directory that is named does not exist.
        RuleTableError: a pack cannot be used.
    """
    config, cwd = _last(args, "--config"), _last(args, "--cwd")
    registry = load_rulebook(pack_folders(config, cwd, list(_values(args, "--rules")))).registry
    paths = {str(setting.flag): path for path, setting in registry.settings.items() if setting.flag}
    shipped = {setting.flag for setting in load_rulebook().registry.settings.values()}
    added = {flag: path for flag, path in paths.items() if flag not in shipped}
    found = list(_written_out(args, added))
    used = {path: flag for flag, path in added.items() if any(arg.partition("=")[0] == flag for arg in args)}
    return (found, used) if found != list(args) else None


def _written_out(args: Sequence[str], paths: dict[str, str]) -> Iterator[str]:
    rest = iter(args)
    for arg in rest:
        flag, equals, value = arg.partition("=")
        if flag not in paths:
            yield arg
        else:
            value = value if equals else next(rest, "")
            yield from ("--set", f"{paths[flag]}={'@' * value.startswith('@')}{value}")  # @ alone names a file


def _values(args: Sequence[str], flag: str) -> Iterator[str]:
    for arg, following in zip(args, [*args[1:], ""], strict=True):
        if arg == flag:
            yield following
        elif arg.startswith(f"{flag}="):
            yield arg.partition("=")[2]


def _last(args: Sequence[str], flag: str) -> str | None:
    return next(reversed(list(_values(args, flag))), None)
