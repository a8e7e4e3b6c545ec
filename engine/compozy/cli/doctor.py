"""`compozy doctor`: check whether `start` would succeed, and print a fix for each failure; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import click

from compozy.cli.file_findings import workflow_findings
from compozy.cli.options import configuration_options, format_option, read_configuration
from compozy.cli.output import print_json, print_line, protect_output, styled
from compozy.cli.prepare import looking
from compozy.cli.redaction import redacted
from compozy.cli.status import with_mode_of_server
from compozy.provisioning.lifecycle import Lifecycle

if TYPE_CHECKING:
    from compozy.client.answers import DoctorAnswer
    from compozy.provisioning.doctor import Check

_SUCCESS = "start would succeed"
_STYLES = {"pass": "ok", "warn": "warning", "fail": "error", "skip": "dim"}


@click.command(name="doctor", epilog="Example: compozy doctor --mode distributed")
@configuration_options
@format_option()
def command(format_: str, strict: bool, **options: object) -> int:
    """Check everything that a start depends on; exit code 4 when something would fail."""
    from compozy.provisioning.doctor import examine, failed

    # A trusted rule pack may print, which must not be taken for the result.
    protect_output()
    checks: list[Check] = []
    options, server = with_mode_of_server(options)
    lifecycle = looking(read_configuration(options), strict=strict)
    for check in chain(examine(lifecycle, server.pid if server else None), workflow_checks(lifecycle)):
        check = replace(check, message=redacted(check.message), fix=redacted(check.fix))
        checks.append(check)
        if format_ == "text":
            print_check(check)
    if format_ == "json":
        print_json(_answer(checks).to_json())
    else:
        print_line("\n" + _verdict(checks))
    return 4 if failed(checks) else 0


def workflow_checks(lifecycle: Lifecycle) -> Iterator[Check]:
    """Yield a check for each fault of a workflow file; a start ignores the file."""
    from compozy.provisioning.doctor import Check

    status = "fail" if lifecycle.strict else "warn"
    for finding in workflow_findings(lifecycle.resolved):
        message = f"{finding.message.splitlines()[0]} ({finding.where})"
        yield Check(finding.id, status, message, finding.hint or "compozy config validate shows the line")


def _answer(checks: Sequence[Check]) -> DoctorAnswer:
    from compozy.client.answers import DoctorAnswer, DoctorCheck

    found = [DoctorCheck(id=one.id, status=one.status, message=one.message, fix=one.fix) for one in checks]
    return DoctorAnswer(checks=found)


def print_check(check: Check) -> None:
    """Print one check as it comes."""
    print_line(f"{styled(check.status, _STYLES[check.status])}  {check.id}: {check.message}")
    if check.fix and check.status != "pass":
        print_line(f"      fix: {check.fix}")


def _verdict(checks: Sequence[Check]) -> str:
    counts = {status: sum(check.status == status for check in checks) for status in _STYLES}
    counted = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    unseen = any(check.id.endswith(".code") and check.status == "skip" for check in checks)
    success = "nothing was found that stops a start; Python of this project was not run" if unseen else _SUCCESS
    outcome = styled("start would fail", "error") if counts["fail"] else styled(success, "ok")
    return f"{outcome} ({counted})"
