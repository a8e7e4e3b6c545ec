"""`compozy plan`: print the components that `start` would provision, without starting or writing anything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from compozy.cli.options import configuration_options, format_option
from compozy.cli.output import print_json, print_line, print_table, styled
from compozy.cli.prepare import prepared
from compozy.cli.redaction import redacted
from compozy.provisioning.plan import Plan, bracketed, make_plan
from compozy.provisioning.step import Step

if TYPE_CHECKING:
    from compozy.client.answers import PlanAnswer


@click.command(name="plan", epilog="Example: compozy plan --mode persistent")
@configuration_options
@format_option()
def command(format_: str, strict: bool, **options: object) -> None:
    """Show what `start` would provision: order, drivers, addresses and files."""
    lifecycle = prepared(options, strict)
    plan = make_plan(lifecycle.resolved)
    get = lifecycle.resolved.get
    server = f"http://{bracketed(get('server.host'))}:{get('server.port')}"
    listening = server if get("server.port") else f"http://{bracketed(get('server.host'))}, a free port"
    state_dir = None if plan.state_dir is None else redacted(plan.state_dir)
    if format_ == "json":
        print_json(plan_answer(plan, state_dir, server).to_json())
        return
    print_line(styled(f"mode {plan.mode}", "bold"))
    rows = [_row(number, step) for number, step in enumerate(plan.steps, 1)]
    rows.append((str(len(rows) + 1), "server", "http", "-", listening, "-"))
    print_table(rows, ("STEP", "COMPONENT", "DRIVER", "AFTER", "ADDRESSES", "FILES"))
    unknown = any(step.storage is None for step in plan.steps)
    print_line(f"\nstate directory: {state_dir or ('not known' if unknown else 'none, nothing is kept')}")
    print_line("A default port that is busy at the start moves to a free one.")
    for folder in dict.fromkeys(os.path.dirname(step.rules) for step in plan.steps if step.storage is None):
        print_line(f"Files of drivers in {folder} are not known, because their Python is not run; see compozy trust.")


def plan_answer(plan: Plan, state_dir: str | None, server: str) -> PlanAnswer:
    """Return a plan without secrets in the form that is printed as JSON."""
    from compozy.client.answers import PlanAnswer, PlanStep

    steps = [
        PlanStep(
            component=step.component,
            driver=step.driver,
            row=step.row,
            needs=step.needs,
            addresses=[redacted(address) for address in step.addresses],
            files=[redacted(file) for file in step.files],
            files_known=step.storage is not None,
            timeout_s=step.timeout_s,
        )
        for step in plan.steps
    ]
    return PlanAnswer(mode=plan.mode, state_dir=state_dir, server=server, steps=steps)


def _row(number: int, step: Step) -> tuple[str, ...]:
    return (
        str(number),
        step.component,
        step.driver,
        ", ".join(step.needs) or "-",
        redacted(", ".join(step.addresses)) or "-",
        redacted(", ".join(step.files)) or ("-" if step.storage is not None else "not known"),
    )
