"""`compozy config`: what the configuration is, whether it is valid, and why."""

from __future__ import annotations

from typing import Any

import click

from compozy.cli.options import configuration_options, format_option, read_configuration, texts_of
from compozy.cli.output import print_findings, print_json, print_table, styled
from compozy.lifecycle import Lifecycle
from compozy.resolve import Resolved
from compozy.show import resolved_json, shown_text
from compozy.validate import errors, validate


@click.group(name="config")
def command() -> None:
    """Show, validate and explain the configuration."""


@command.command(epilog="Example: compozy config show --mode persistent")
@configuration_options
@format_option()
@click.option("--all", "everything", is_flag=True, help="Also show settings that are unset.")
def show(format_: str, everything: bool, strict: bool, **options: Any) -> None:
    """Show every setting with its effective value and where it comes from."""
    lifecycle = Lifecycle(read_configuration(options), strict=strict)
    resolved = lifecycle.resolve()
    findings = validate(resolved)
    if format_ == "json":
        print_json(resolved_json(resolved, lifecycle.state, findings))
        return
    print_components(resolved)
    rows = [
        (path, shown_text(resolved, path), str(value.origin))
        for path, value in sorted(resolved.values.items())
        if everything or value.value is not None
    ]
    print_table(rows, ("SETTING", "VALUE", "ORIGIN"))
    if findings:
        click.echo("", err=True)
        print_findings(findings, texts_of(resolved.configuration))


def print_components(resolved: Resolved) -> None:
    """Print the mode and the components."""
    click.echo(styled(f"mode {resolved.mode}", "bold"))
    rows = [(part.name, part.mode, part.driver) for part in resolved.components.values()]
    print_table(rows, ("COMPONENT", "MODE", "DRIVER"))
    click.echo()


@command.command(name="validate", epilog="Example: compozy config validate --config compozy.yaml --strict")
@configuration_options
@format_option("github", "sarif")
def validate_(format_: str, strict: bool, **options: Any) -> int:
    """Check the configuration and print every finding; exit code 2 when one of them stops."""
    configuration = read_configuration(options)
    findings = validate(Lifecycle(configuration).resolve())
    stopping = errors(findings, strict=strict)
    if format_ == "json":
        print_json({"valid": not stopping, "findings": [finding.as_json() for finding in findings]})
    else:
        print_findings(findings, texts_of(configuration), err=False)
        click.echo(_verdict(len(stopping), len(findings)))
    return 2 if stopping else 0


def _verdict(stopping: int, findings: int) -> str:
    if stopping:
        return styled("not valid", "error") + f": {findings} findings, {stopping} of them stop"
    return styled("valid", "ok") + (f" with {findings} warnings" if findings else "")
