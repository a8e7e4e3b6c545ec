"""The entry point: turn every known failure into text, JSON and an exit code.

0 done, 1 a bug, 2 configuration or usage, 3 rule table, 4 provisioning, 5 workflow run. Commands are imported when
they are called.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING

import click

from compozy import __version__
from compozy.base.manual import DOCS_URL
from compozy.base.system_hints import HINTS, hint_for
from compozy.cli.redaction import install_hooks
from compozy.cli.signals import end_on_signals, end_worker_processes, interrupt_on_signals
from compozy.errors import CompozyError, SystemProblem, UsageError
from compozy.settings.reference import project_code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

_REPEAT_S = 0.01

# command -> (module, one line for `compozy --help`)
COMMANDS = {
    "init": ("compozy.cli.init", "Write a new project that runs as it is."),
    "start": ("compozy.cli.start", "Provision the mode, run the HTTP interface and the workers."),
    "status": ("compozy.cli.status", "Show state and health of the running server."),
    "workflow": ("compozy.cli.workflow", "Run and list workflows."),
    "memory": ("compozy.cli.memory", "List, show and change conversation memories."),
    "knowledge": ("compozy.cli.knowledge", "Ingest documents into knowledge bases and query them."),
    "doctor": ("compozy.cli.doctor", "Check whether a start would succeed, and report what to fix."),
    "plan": ("compozy.cli.plan", "Show what start would provision, without starting."),
    "backup": (
        "compozy.cli.backup",
        "Copy everything that is kept into one file, also while the server runs.",
    ),
    "restore": ("compozy.cli.restore", "Put a backup back."),
    "prune": ("compozy.cli.prune", "Remove executions that ended long ago."),
    "migrate": ("compozy.cli.migrate", "Bring a configuration file or the database to the form of this version."),
    "config": ("compozy.cli.config", "Show, validate, explain and simulate the configuration."),
    "rules": ("compozy.cli.rules", "List, show, verify, test, compare, import and export the rule tables."),
    "trust": ("compozy.cli.trust", "Use the files of a directory that another user owns or may write."),
}


class LazyGroup(click.Group):
    """A group that knows the names of its commands and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, or None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        return import_module(module).command  # type: ignore[no-any-return]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, with a suggestion when its name is misspelled."""
        from compozy.base.suggest import closest

        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = closest(name, COMMANDS)
            hint = f"did you mean {near}?" if near else "compozy --help lists the commands"
            raise UsageError(f"no such command: {name}", hint=hint)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"""Example: compozy start, then in a second terminal: compozy workflow run examples/hello-world.yaml

    Documentation: {DOCS_URL}""",
)
@click.version_option(__version__, "-V", "--version", prog_name="compozy")
def cli() -> None:
    """Declarative workflows on Temporal; one word, the mode, decides how everything is provided.

    Shell completion: eval "$(_COMPOZY_COMPLETE=bash_source compozy)", also for zsh and fish.
    """


# A start makes about a million objects, so that no collection runs before its end.
COMMAND_OBJECTS = 2_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    # First of all: a file opened before would get the number of a closed stream, and output would go into it.
    _open_standard_streams()
    install_hooks()
    interrupt_on_signals()
    # Nearly all objects of a start or a short command live to its end: a collection would traverse them for nothing.
    gc.set_threshold(COMMAND_OBJECTS)
    try:
        code = run(list(sys.argv[1:] if arguments is None else arguments))
        # From here on the command is done; an interrupt must not change its exit code or print a traceback.
        end_on_signals(code)
    # Interrupted while a failure was printed.
    except KeyboardInterrupt:
        end_on_signals(code := 130)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    end_worker_processes()
    _write_recording()
    if "logging" in sys.modules:
        import logging

        logging.shutdown()
    # Everything is closed by now. Native threads of the Temporal client may still be in a call, and an
    # interpreter that is taken apart beneath them can crash.
    os._exit(code)


def _write_recording() -> None:
    """Write the rows that decided, where that was asked for; a failure is a note, because the command is done."""
    if "compozy.rulebook.recording" in sys.modules:
        from compozy.cli.output import print_note

        try:
            import_module("compozy.rulebook.recording").write_recording()
        except UsageError as error:
            print_note(error.message)


def _open_standard_streams() -> None:
    """Open those of the descriptors 0 to 2 that the caller closed, so that no other file takes their number."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - lives as long as the process


def run(args: Sequence[str], pack_flags: Mapping[str, str] | None = None) -> int:
    """Run one command and return its exit code; a traceback passes only when there is a bug.

    `pack_flags` are the flags of rule packs, by path, that the arguments were written with.
    """
    try:
        _check_directory()
        # Only `options.runs_project_code` allows it, for the commands that need it.
        with project_code(allowed=False), _pack_flags_in_help(args):
            code: object = cli.main(args=list(args), prog_name="compozy", standalone_mode=False, obj=pack_flags)
        return code if isinstance(code, int) else 0
    except CompozyError as error:
        return report(error, wanted_format(args))
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except click.exceptions.NoArgsIsHelpError as error:
        from compozy.cli.output import print_line

        print_line(error.format_message())
        return 0
    except click.exceptions.NoSuchOption as error:
        return _run_with_pack_flags(args, error)
    except click.exceptions.ClickException as error:
        return report(_usage_error(error), wanted_format(args))
    except OSError as error:
        # An error of the system without a hint is a bug, and keeps its traceback.
        if error.errno not in HINTS:
            raise
        place = f" ({error.filename})" if error.filename else ""
        return report(SystemProblem(f"{error.strerror}{place}", hint=hint_for(error)), wanted_format(args))
    except SystemExit:
        # click raises SystemExit for a closed pipe, such as that of `head`, which is not a failure.
        return 0


def _pack_flags_in_help(args: Sequence[str]) -> AbstractContextManager[None]:
    """Return the context in which the help of a command lists the flags of rule packs."""
    if len(args) < 2 or not {"-h", "--help"} & {*args}:
        return contextlib.nullcontext()
    from compozy.cli.packflags import help_with_pack_flags

    return help_with_pack_flags(cli, args)


def _check_directory() -> None:
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UsageError("the working directory does not exist any more", hint="change to another one") from error


def _run_with_pack_flags(args: Sequence[str], error: click.exceptions.NoSuchOption) -> int:
    """Try again with the flags of settings that rule packs add."""
    from compozy.cli.packflags import with_pack_flags

    try:
        written_out = with_pack_flags(args)
    except CompozyError as problem:
        return report(problem, wanted_format(args))
    return report(_usage_error(error), wanted_format(args)) if written_out is None else run(*written_out)


def wanted_format(args: Sequence[str]) -> str:
    """Return which of the forms of a failure the arguments ask for, also when they could not be parsed."""
    asked = [value for name, value in pairwise(args) if name == "--format"]
    asked += [arg.removeprefix("--format=") for arg in args if arg.startswith("--format=")]
    return next((name for name in ("json", "github", "sarif") if name in asked), "text")


def _usage_error(error: click.exceptions.ClickException) -> UsageError:
    context = getattr(error, "ctx", None)
    hint = f"{context.command_path} --help shows how it is used" if context else "compozy --help shows the commands"
    return UsageError(error.format_message(), hint=hint)


def report(error: CompozyError, format_: str) -> int:
    """Print a failure, see `print_failure`; return the exit code."""
    from compozy.cli.output import print_failure

    print_failure(error, format_)
    return error.exit_code
