"""`compozy trust`: remember directories whose files count although another user owns or may write them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from compozy.base.output_file import write_file
from compozy.base.ownership import TRUST_VARIABLE, listed_directories, trust_file, trusted_directories, unsafe_owner
from compozy.cli.completion import DIRECTORY
from compozy.cli.options import format_option
from compozy.cli.output import print_json, print_line
from compozy.errors import UsageError


@click.command(name="trust", epilog="Example: compozy trust /srv/shop")
@click.argument("directory", required=False, type=DIRECTORY)
@click.option("--remove", is_flag=True, help="Forget the directory instead.")
@click.option("--list", "list_", is_flag=True, help="Only list the trusted directories.")
@format_option()
def command(directory: str | None, remove: bool, list_: bool, format_: str) -> None:
    """Trust DIRECTORY and everything below it, for any owner.

    Its configuration, .env, rule packs, tools and state are used from then on. Without DIRECTORY it is the working
    directory.
    """
    if not list_:
        _change(os.path.realpath(directory or "."), remove=remove)
    found = list(dict.fromkeys(trusted_directories()))
    if format_ == "json":
        print_json({"trusted": found})
    elif list_ or remove:
        print_line("\n".join(found) if found else "no directory is trusted")
    else:
        print_line(f"trusted from now on: {os.path.realpath(directory or '.')}")


def _change(directory: str, *, remove: bool) -> None:
    """Add a directory to the user's list, or remove it.

    Raises:
        UsageError: the directory or the list cannot be used.
    """
    # The list has one directory a line, so that a name cannot contain a line break.
    if not remove and (not os.path.isdir(directory) or "\n" in directory):
        raise UsageError(f"{directory!r} is not a directory", hint="name a directory that exists")
    file = trust_file()
    if file is None:
        raise UsageError("no home directory", hint=f"set {TRUST_VARIABLE}={directory} in the environment")
    others = [one for one in listed_directories() if one != directory]
    _save(file, others if remove else [*others, directory])


def _save(file: Path, directories: Sequence[str]) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = unsafe_owner(file.parent)
        if reason is not None:
            raise UsageError(f"{file.parent} cannot be used: {reason}", hint="change its owner or mode")
        write_file(file, "".join(f"{one}\n" for one in directories).encode(errors="surrogateescape"))
    except OSError as error:
        hint = "set XDG_CONFIG_HOME to a directory that you can write"
        raise UsageError(f"{file} cannot be written: {error.strerror}", hint=hint) from error
