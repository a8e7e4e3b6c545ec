"""Prepare a command: read, resolve and validate the configuration, and report warnings before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from compozy.cli.options import read_configuration
from compozy.cli.output import print_in_brief, print_note, protect_output
from compozy.errors import UsageError
from compozy.provisioning.lifecycle import Lifecycle, Provisioner, log_transition
from compozy.resolution.configuration import Configuration
from compozy.settings.reference import is_project_code_allowed
from compozy.settings.values import parse_duration

if TYPE_CHECKING:
    from compozy.client.project_client import ProjectClient


def looking(configuration: Configuration, *, strict: bool = False) -> Lifecycle:
    """Return the lifecycle of a command that provisions nothing and has one thread."""
    return Lifecycle(configuration, strict=strict, threads=False)


def prepared(options: dict[str, object], strict: bool, provisioner: Provisioner | None = None) -> Lifecycle:
    """Return the lifecycle in the state `validated`; warnings go to stderr, log lines where the settings send them.

    Without a `provisioner` the command provisions nothing.

    Raises:
        ConfigurationError: a finding stops.
        DriverError: the log file cannot be written.
    """
    # A trusted rule pack may print, which must not be taken for the result.
    protect_output()
    configuration = read_configuration(options)
    lifecycle = Lifecycle(configuration, strict=strict, provisioner=provisioner, threads=provisioner is not None)
    lifecycle.validate()
    report_preparation(lifecycle)
    return lifecycle


def report_preparation(lifecycle: Lifecycle) -> None:
    """Print the warnings of a validated lifecycle, and start logging by its settings.

    A command that only looks writes no file that the project names, which could be any file of the user.
    """
    from compozy.cli.logs import LogSettings, start_logging

    get, file = lifecycle.resolved.get, lifecycle.resolved.values["log.file"]
    writes = is_project_code_allowed() or file.origin.kind in ("flag", "env")
    settings = LogSettings(get("log.level"), get("log.format"), file.value if writes else None)
    start_logging(settings, lifecycle.resolved.redactor())
    # Logged only now, because the settings of the log were not known before.
    for entry in lifecycle.journal:
        log_transition(entry)
    print_in_brief(lifecycle.findings, lifecycle.configuration.texts)


def validated(options: dict[str, object], strict: bool) -> Lifecycle:
    """Return the lifecycle of a command that provisions nothing, in the state `validated`; nothing is printed.

    Raises:
        ConfigurationError: a finding stops.
    """
    lifecycle = looking(read_configuration(options), strict=strict)
    lifecycle.validate()
    return lifecycle


@contextmanager
def project_client(options: dict[str, object], strict: bool) -> Iterator[ProjectClient]:
    """Yield a client of the project: of its server where one runs.

    Raises:
        ConfigurationError: a finding stops.
        UsageError: the server that runs is not the one that was asked for.
    """
    from compozy.client.connect import connected

    with connected(validated(options, strict), report_preparation, print_note) as client:
        yield client


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
