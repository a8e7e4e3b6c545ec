"""`compozy init`: write a new project that runs as written; existing files are never replaced."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from compozy.base.control import escape_line
from compozy.cli.completion import DIRECTORY
from compozy.cli.options import Command, format_option
from compozy.cli.output import print_json, print_line
from compozy.errors import UsageError
from compozy.rulebook import load_rulebook


def _mode_option() -> Callable[[Command], Command]:
    mode = load_rulebook().registry.settings["mode"]
    about, *meanings = mode.lines
    text = "\n\n".join([about, *meanings, f"Default: asked for on a terminal, else {mode.usual}."])
    return click.option("--mode", type=click.Choice(mode.values), help=text)


@click.command(name="init", epilog="Example: compozy init shop --mode persistent")
@click.argument("directory", default=".", type=DIRECTORY)
@_mode_option()
@click.option("--name", metavar="NAME", help="Name of the project. Default: the directory's name.")
@format_option()
def command(directory: str, mode: str | None, name: str | None, format_: str) -> None:
    """Write a new project into DIRECTORY: configuration, workflow, tool and test.

    Files that exist are not overwritten: then nothing is written.
    """
    from compozy.starter import project_files, write_project

    folder = Path(os.path.abspath(directory))
    asks = sys.stdin.isatty() and sys.stdout.isatty() and format_ == "text"
    if name is None:
        name = click.prompt("Name", default=folder.name) if asks else folder.name
    name = _name(name)
    mode = mode or _mode(asks)
    files = project_files(name, mode)
    write_project(folder, files)
    if format_ == "json":
        print_json({"directory": str(folder), "name": name, "mode": mode, "files": list(files)})
        return
    _print_steps(folder, mode, list(files))


def _name(text: str) -> str:
    """Return the name of the project.

    Raises:
        UsageError: it is empty, or holds control characters.
    """
    name = text.strip()
    if not name or escape_line(name) != name:
        raise UsageError(f'the name "{escape_line(text)}" cannot be used', hint="give --name a word or two")
    return name


def _mode(asks: bool) -> str:
    mode = load_rulebook().registry.settings["mode"]
    if not asks:
        return str(mode.usual)
    for line in mode.lines[1:]:
        print_line(f"  {line}")
    return str(click.prompt("Mode", type=click.Choice(mode.values), default=mode.usual))


def _print_steps(folder: Path, mode: str, files: list[str]) -> None:
    print_line(f"{folder} has a new project in mode {mode}: {', '.join(files)}\n")
    there = os.path.relpath(folder)
    before = [] if there == "." else [f"cd {there}"]
    services = ["docker compose up -d --wait"] if "compose.yaml" in files else []
    run = "compozy workflow run greet --param name=Ada   (in a second terminal)"
    for step in (*before, *services, "compozy start", run, "pytest"):
        print_line(f"  {step}")
