"""Add the options of every command that reads the configuration; they derive from the registry of settings."""

from __future__ import annotations

import os.path
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from itertools import takewhile
from typing import Any, TypeVar, cast

import click

from compozy.base.source_file import SourceFiles, UnreadableError, read_source
from compozy.cli.completion import DIRECTORY, FILE, among, settings
from compozy.cli.output import print_note, protect_output
from compozy.cli.redaction import remember
from compozy.errors import UsageError
from compozy.resolution.configuration import Configuration, load_configuration
from compozy.rulebook import load_rulebook
from compozy.settings.locate import find_file, project_above
from compozy.settings.reference import project_code
from compozy.settings.registry import Setting
from compozy.settings.value_check import FROM_FILE

Command = TypeVar("Command", bound=Callable[..., object])
Made = TypeVar("Made")


def configuration_options(command: Command) -> Command:
    """Add `--config`, `--cwd`, `--set`, `--rules`, `--strict` and the flags of the registry."""
    for setting in reversed([one for one in load_rulebook().registry.settings.values() if one.flag]):
        command = click.option(*_names(setting), **_declaration(setting))(command)
    for option in reversed(_general_options()):
        command = option(command)
    return command


def flag_options(settings: Iterable[Setting]) -> list[click.Option]:
    """Return the options of the settings that have a flag, as `configuration_options` declares them."""
    return [click.Option(_names(setting), **_declaration(setting)) for setting in settings if setting.flag]


def _names(setting: Setting) -> list[str]:
    return [str(setting.flag), _parameter(setting.path)]


def _declaration(setting: Setting) -> dict[str, Any]:
    complete = among(setting.values or ())
    return {"metavar": _metavar(setting), "help": _help(setting), "shell_complete": complete}


def _metavar(setting: Setting) -> str:
    return f"[{'|'.join(setting.values)}]" if setting.values else "VALUE"


def _help(setting: Setting) -> str:
    """Return the help of a flag: the setting's, its values, default and variable."""
    default = [] if setting.shown_default in (None, "") else [f"Default: {setting.shown_default}."]
    about, *values = setting.lines
    facts = " ".join([*default, f"Environment: {setting.env}."])
    return "\n\n".join([about, *values, facts]) if values else f"{about} {facts}"


def _general_options() -> list[Callable[[object], Any]]:
    return [
        click.option(
            "--config", metavar="FILE", type=FILE, help="Configuration file; else compozy.yaml is looked for upwards."
        ),
        click.option(
            "--cwd", metavar="DIR", type=DIRECTORY, help="Directory to work in; relative paths are relative to it."
        ),
        click.option(
            "--set",
            "set_",
            metavar="PATH=VALUE",
            multiple=True,
            shell_complete=settings,
            help="Set any setting; may be repeated. @FILE reads the value from a file, @- from standard input.",
        ),
        click.option(
            "--rules", metavar="DIR", type=DIRECTORY, multiple=True, help="Directory of a rule pack; may be repeated."
        ),
        click.option("--strict", is_flag=True, help="Make warnings stop."),
    ]


def runs_project_code(command: Command) -> Command:
    """Allow a command to import the project's Python, because it runs the project; no other command may."""

    @wraps(command)
    def running(*args: object, **options: object) -> object:
        # What foreign code prints must not be taken for the result.
        protect_output()
        with project_code(allowed=True):
            return command(*args, **options)

    running.runs_project_code = True  # type: ignore[attr-defined]
    return cast("Command", running)


def format_option(*more: str) -> Callable[[Command], Command]:
    """Add `--format` with `text`, `json` and `more`."""
    choices = click.Choice([*dict.fromkeys(("text", "json", *more))])
    return click.option(
        "--format", "format_", type=choices, default="text", show_default=True, help="Form of the output."
    )


def _parameter(path: str) -> str:
    return "setting_" + path.replace(".", "__")


def _spelled(text: str) -> str:
    """Return the path at the beginning of a text; what comes after it may be a secret."""
    return "".join(takewhile(lambda char: char.isalnum() or char in "._-[]", text))


def read_configuration(options: Mapping[str, Any], *, variables: str | None = None) -> Configuration:
    """Load the configuration that the parsed `options` describe; `variables` is a file that goes before `.env`.

    Raises:
        UsageError: a `--set` without `=`, or a file or directory that does not exist.
    """
    flags, names = dict[str, str](), dict[str, str]()
    context = click.get_current_context(silent=True)
    pack_flags: Mapping[str, str] = (context.find_object(dict) if context else None) or {}
    for text in options.get("set_") or ():
        path, equals, value = text.partition("=")
        if not equals:
            raise UsageError(
                f"--set {_spelled(text)} has no value", hint="write --set path=value, such as --set server.port=8081"
            )
        name = path.strip()
        in_file = value.startswith("@") and not value.startswith("@@")
        flags[name] = file_text(name, value[1:]) if in_file else value.replace("@@", "@", value.startswith("@@"))
        names[name] = pack_flags.get(name) or f"--set {name}" + (FROM_FILE if in_file else "")
    for setting in load_rulebook().registry.settings.values():
        given = options.get(_parameter(setting.path)) if setting.flag else None
        if given is not None:
            flags[setting.path], names[setting.path] = str(given), str(setting.flag)
    note_project(options.get("config"), options.get("cwd"))
    configuration = load_configuration(
        directory=options.get("cwd"), file=options.get("config"), flags=flags, flag_names=names,
        packs=options.get("rules") or (), variables=variables, files=_once(SourceFiles),
    )  # fmt: skip
    remember(configuration)
    return configuration


def _once(make: Callable[[], Made]) -> Made:
    """Return the one object of a command that `make` makes, because a pipe has no content for a second reader."""
    context = click.get_current_context(silent=True)
    return cast("Made", context.meta.setdefault(f"{__name__}.{make.__qualname__}", make())) if context else make()


def file_text(path: str, file: str) -> str:
    """Return the value of `--set path=@file`, without the line break at its end; `-` is standard input.

    Raises:
        UsageError: the file cannot be read; its name may be a secret that begins with @ and is not repeated.
    """
    try:
        read = _once(dict[str, str])
        content = read.get(file)
        if content is None:
            content = read[file] = sys.stdin.read() if file == "-" else read_source(file, own=False)
    except (UnreadableError, UnicodeDecodeError) as error:
        reason = str(error) if isinstance(error, UnreadableError) else "it is not UTF-8 text"
        hint = "the name follows @; write @@ for a value that begins with @"
        raise UsageError(f"--set {path}: the file cannot be read: {reason}", hint=hint) from None
    return content.removesuffix("\n").removesuffix("\r")


def note_project(config: str | None, cwd: str | None) -> None:
    """Print, once a command, which project is used where that does not follow from the working directory."""
    start, context = os.path.abspath(cwd or "."), click.get_current_context(silent=True)
    if config is not None or not os.path.isdir(start) or context is None or context.meta.get(note_project.__name__):
        return
    context.meta[note_project.__name__] = True
    found, above = find_file(start), project_above(start)
    if found is not None and os.path.dirname(found) != start:
        print_note(f"using the configuration {found}")
    elif found is None and above is not None and not os.path.isdir(os.path.join(start, os.path.basename(above))):
        print_note(f"no configuration here, so {start} is a project of its own; {above} belongs to another one")
        print_note(f"--cwd {os.path.dirname(above)} uses that one")
