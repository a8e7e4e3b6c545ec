"""`compozy config`: show, validate and explain the effective configuration; secrets are never printed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from compozy.cli.completion import FILE, keys
from compozy.cli.file_findings import file_texts, workflow_findings
from compozy.cli.finding_formats import FORMATS, print_checked
from compozy.cli.options import configuration_options, format_option, read_configuration
from compozy.cli.output import (
    print_document,
    print_findings,
    print_in_brief,
    print_json,
    print_line,
    print_table,
    styled,
)
from compozy.cli.prepare import looking
from compozy.cli.simulate import simulate_
from compozy.errors import ConfigurationError, UsageError
from compozy.explain.show import Shown, resolved_json
from compozy.resolution.configuration import Configuration
from compozy.resolution.resolve import Resolved
from compozy.resolution.validate import errors, promoted, validate
from compozy.settings.origin import PROBLEMS

if TYPE_CHECKING:
    from compozy.client.finding_answers import ConfigurationReport

DIFFERENT = 1
INVALID = 2
WIDEST = 60


@click.group(name="config")
def command() -> None:
    """Show, validate, explain and simulate the configuration."""


command.add_command(simulate_, "simulate")


@command.command(epilog="Example: compozy config show --mode persistent")
@configuration_options
@format_option()
@click.option("--all", "everything", is_flag=True, help="Also show settings that are unset.")
def show(format_: str, everything: bool, strict: bool, **options: object) -> int:
    """Show every setting with its value and where it comes from. The exit code is 2 when a finding stops."""
    lifecycle = looking(read_configuration(options), strict=strict)
    resolved = lifecycle.resolve()
    findings = promoted(validate(resolved), strict=strict)
    stopping = len(errors(findings))
    if format_ == "json":
        print_json(resolved_json(resolved, lifecycle.state, findings))
        return INVALID if stopping else 0
    if stopping:
        print_line(verdict(stopping, len(findings)) + ". This is what the rest would give:\n")
    print_components(resolved)
    print_settings(resolved, everything)
    if findings:
        print_line(err=True)
        print_in_brief(findings, resolved.configuration.texts)
    return INVALID if stopping else 0


def print_components(resolved: Resolved) -> None:
    """Print the mode and the components."""
    print_line(styled(f"mode {resolved.mode}", "bold"))
    rows = [(part.name, part.mode, part.driver) for part in resolved.components.values()]
    print_table(rows, ("COMPONENT", "MODE", "DRIVER"))
    print_line()


def print_settings(resolved: Resolved, everything: bool) -> None:
    """Print settings with value and origin; those that are unset too when `everything` is asked for."""
    shown = Shown(resolved)
    rows = [
        (path, _cut(shown.line(path, value.value)), str(value.origin))
        for path, value in sorted(resolved.values.items())
        if everything or value.value is not None
    ]
    print_table(rows, ("SETTING", "VALUE", "ORIGIN"))


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."


@command.command(name="validate", epilog="Example: compozy config validate --config compozy.yaml --strict")
@configuration_options
@format_option(*FORMATS)
def validate_(format_: str, strict: bool, **options: object) -> int:
    """Check configuration and workflow files. Exit code 2 when a finding stops."""
    configuration = read_configuration(options)
    resolved = looking(configuration).resolve()
    in_files = workflow_findings(resolved)
    findings = (*promoted(validate(resolved), strict=strict), *in_files)
    stopping = len(errors(findings))

    def print_text() -> None:
        print_findings(findings, {**configuration.texts, **file_texts(resolved.directory, in_files)}, err=False)
        print_line(verdict(stopping, len(findings)))

    def report() -> ConfigurationReport:
        from compozy.client.finding_answers import ConfigurationReport, finding_answers

        return ConfigurationReport(valid=not stopping, findings=finding_answers(findings))

    folder = os.path.relpath(configuration.directory)
    print_checked(format_, findings, report, print_text, folder=folder)
    return INVALID if stopping else 0


def verdict(stopping: int, findings: int) -> str:
    """Return the last line of a report: whether something is valid."""
    if stopping:
        return styled("not valid", "error") + f": {_counted(findings, 'finding')}, {_stopping(stopping, findings)}"
    return styled("valid", "ok") + (f" with {_counted(findings, 'warning')}" if findings else "")


def _stopping(stopping: int, count: int) -> str:
    if stopping == count:
        return "which stops" if count == 1 else "all of which stop"
    return f"{stopping} of which {'stops' if stopping == 1 else 'stop'}"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


@command.command(epilog="Example: compozy config explain redis.mode")
@configuration_options
@format_option()
@click.option("--finding", metavar="ID", help="Explain a finding instead of a key.")
@click.argument("key", required=False, shell_complete=keys)
def explain(format_: str, key: str | None, finding: str | None, strict: bool, **options: object) -> None:
    """Explain the value of a setting, a decision or a finding.

    Prints allowed values, default, deciding row, shadowed values and near misses.
    """
    if (key is None) == (finding is None):
        raise UsageError("name a key, or a finding with --finding", hint="such as: compozy config explain redis.mode")
    resolved = looking(read_configuration(options), strict=strict).resolve()
    if finding is not None:
        explain_finding_(resolved, finding, format_)
        return
    from compozy.cli.explained import explanation_lines
    from compozy.explain.value import explain as explained

    found = explained(resolved, str(key))
    if format_ == "json":
        print_json(found.as_json())
    else:
        print_line("\n".join(explanation_lines(found)))


def explain_finding_(resolved: Resolved, finding: str, format_: str) -> None:
    """Print the explanation of a finding."""
    from compozy.cli.explained import finding_lines
    from compozy.explain.finding import explain_finding

    found = explain_finding(resolved, finding)
    if format_ == "json":
        print_json(found.as_json())
    else:
        print_line("\n".join(finding_lines(found)))


@command.command(epilog="Example: compozy config diff memory persistent")
@configuration_options
@format_option()
@click.argument("left", metavar="A", type=FILE)
@click.argument("right", metavar="B", type=FILE)
def diff(format_: str, left: str, right: str, strict: bool, **options: object) -> int:
    """Compare two configurations. Each is a file, its directory, a mode, or a file of variables (*.env).

    A mode or a file of variables stands for the present configuration with it. Exit code 0: the same, 1:
    different, 2: one of them cannot be read.
    """
    from compozy.cli.explained import difference_lines
    from compozy.explain.compare import compare

    sides = [readable(looking(read_side(name, options), strict=strict).resolve()) for name in (left, right)]
    differences = compare(*sides)
    if format_ == "json":
        found = {"same": not differences, "left": left, "right": right}
        print_json({**found, "differences": [difference.as_json() for difference in differences]})
    elif differences:
        print_line("\n".join(difference_lines(left, right, differences)))
    else:
        print_line(f"{left} and {right} are the same")
    return DIFFERENT if differences else 0


def read_side(name: str, options: Mapping[str, object]) -> Configuration:
    """Read one side of a comparison.

    Raises:
        UsageError: `name` is neither a mode, nor a file, nor a directory.
    """
    path = os.path.join(str(options.get("cwd") or "."), name)
    if os.path.isdir(path):
        return read_configuration({**options, "config": None, "cwd": path})
    if os.path.isfile(path) and is_variables(name):
        return read_configuration(options, variables=path)
    if os.path.isfile(path):
        return read_configuration({**options, "config": name})
    return _with_mode(name, options)


def is_variables(name: str) -> bool:
    """Return True if a file holds variables, by its name.

    >>> [is_variables(name) for name in ("staging.env", ".env.production", "compozy.yaml")]
    [True, True, False]
    """
    file = os.path.basename(name)
    return file.endswith(".env") or file.startswith(".env")


def _with_mode(name: str, options: Mapping[str, object]) -> Configuration:
    modes = read_configuration(options).rulebook.registry.settings["mode"].values
    if name not in modes:
        hint = f"name a configuration file, a directory, a *.env file, or one of {', '.join(modes)}"
        raise UsageError(f"{name} is no file and no mode", hint=hint)
    return read_configuration({**options, "setting_mode": name})


def readable(resolved: Resolved) -> Resolved:
    """Return a resolution whose sources could all be understood.

    Raises:
        ConfigurationError: a file, a variable or a flag could not.
    """
    tables = resolved.rulebook.ruleset.tables
    met = {row.id for table in tables.values() if table.for_each == PROBLEMS for row in table.rows}
    stopping = [finding for finding in errors(validate(resolved)) if finding.id in met]
    if stopping:
        raise ConfigurationError(stopping, len(stopping), resolved.configuration.texts)
    return resolved


@command.command(epilog="Example: compozy config diagnostics > report.txt")
@configuration_options
@format_option()
def diagnostics(format_: str, strict: bool, **options: object) -> None:
    """Show what a report of a problem needs, without secrets."""
    from compozy.cli.explained import diagnostics_lines
    from compozy.explain.diagnostics import diagnostics as everything

    resolved = looking(read_configuration(options)).resolve()
    findings = promoted(validate(resolved), strict=strict)
    found = everything(resolved, findings)
    if format_ == "json":
        print_json(found)
        return
    print_line("\n".join(diagnostics_lines(found)))
    print_findings(findings, resolved.configuration.texts, err=False)


@command.command(epilog="Example: compozy config schema > compozy.schema.json")
@configuration_options
@click.option(
    "--which", type=click.Choice(["config", "config-show"]), default="config", show_default=True,
    help="The schema of compozy.yaml, or of what `config show --format json` prints.",
)  # fmt: skip
def schema(which: str, strict: bool, **options: object) -> None:
    """Print the JSON Schema, rule packs included."""
    from compozy.schema.schema import file_schema, shown_schema

    rulebook = read_configuration(options).rulebook
    found = file_schema(rulebook, "config.json") if which == "config" else shown_schema(rulebook, "config-show.json")
    print_document(found)
