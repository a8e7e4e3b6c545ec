"""What commands do before they start anything: read, resolve, validate, and say what the user should know.

What comes in: the parsed options. What goes out: a lifecycle in the state `validated`, or the error that stops.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from compozy.cli.logs import LogSettings, start_logging
from compozy.cli.options import read_configuration
from compozy.cli.output import print_in_brief, print_note
from compozy.errors import UsageError
from compozy.provisioning.lifecycle import Lifecycle, Provisioner, log_transition
from compozy.provisioning.plan import make_plan
from compozy.resolution.configuration import Configuration
from compozy.resolution.resolve import Resolved
from compozy.settings.values import parse_duration
from compozy.state.state_directory import STATE_DIRECTORY


def looking(configuration: Configuration, *, strict: bool = False) -> Lifecycle:
    """Return the lifecycle of a command that provisions nothing and has one thread."""
    return Lifecycle(configuration, strict=strict, threads=False)


def prepared(options: dict[str, Any], strict: bool, provisioner: Provisioner | None = None) -> Lifecycle:
    """Return the lifecycle in the state `validated`; warnings go to stderr, log lines to where the settings say.

    Without a `provisioner` the command provisions nothing.

    Raises:
        ConfigurationError: a finding stops.
        DriverError: the log file cannot be written.
    """
    configuration = read_configuration(options)
    lifecycle = Lifecycle(configuration, strict=strict, provisioner=provisioner, threads=provisioner is not None)
    lifecycle.resolve()
    lifecycle.validate()
    get = lifecycle.resolved.get
    start_logging(LogSettings(get("log.level"), get("log.format"), get("log.file")), lifecycle.resolved.redactor())
    for entry in lifecycle.journal:  # before the settings of the log were known
        log_transition(entry)
    print_in_brief(lifecycle.findings, configuration.texts)
    return lifecycle


def seconds(text: str) -> float:
    """Return the seconds of a duration on the command line.

    Raises:
        UsageError: the text is not a duration.
    """
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--timeout {text}: {error}", hint="write a number with a unit, such as 30s") from error
    if found <= 0:
        raise UsageError(f"--timeout {text}: must be longer than zero", hint="write a number with a unit, such as 30s")
    return found


def say(line: str) -> None:
    """Print a line for people on stderr."""
    print_note(line)


def tell_kept_data(resolved: Resolved, note: Callable[[str], None] = say) -> None:
    """Print a note when the mode does not use an existing state directory."""
    if make_plan(resolved).state_dir is None and Path(resolved.directory, STATE_DIRECTORY, "version").exists():
        note(f"{STATE_DIRECTORY}/ holds data of an earlier run, which mode {resolved.mode} leaves alone")
        note("--mode persistent uses it")
