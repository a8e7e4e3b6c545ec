"""`compozy start`: provision the mode and serve in the foreground until a signal."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import threading
import time
from functools import partial

import click

from compozy.cli.logs import note_later
from compozy.cli.options import configuration_options, format_option, runs_project_code
from compozy.cli.output import print_document, print_line, print_note, print_table, styled
from compozy.cli.prepare import prepared, seconds
from compozy.cli.signals import Signals
from compozy.cli.status import whereabouts
from compozy.client.answers import ReadyLine
from compozy.client.local import note_kept_data
from compozy.drivers.inventory import forget_inventory
from compozy.errors import DriverError, InUseError, ProvisionError
from compozy.provisioning.plan import bracketed, make_plan
from compozy.provisioning.provision import provision_components
from compozy.server.limits import raise_file_limit
from compozy.server.stack import Stack
from compozy.settings.values import EVERY_ADDRESS
from compozy.state.presence import Presence, find_server

log = logging.getLogger("compozy.start")

GRACE_S = 10.0
# Longer than the grace of requests, tools and components together, so that only a process that hangs is killed.
STUCK_S = 40.0


@click.command(name="start", epilog="Example: compozy start --mode persistent --port 9000")
@configuration_options
@format_option()
@click.option("--timeout", default="60s", metavar="DURATION", show_default=True, help="How long the start may take.")
@click.option("--accept-loss", is_flag=True, help="Start although kept data is missing or smaller than it was.")
@runs_project_code
def command(format_: str, timeout: str, accept_loss: bool, strict: bool, **options: object) -> int:
    """Provision the mode and run the HTTP interface and the workers until a signal comes."""
    began = time.perf_counter()
    signals = Signals()
    raise_file_limit()
    provisioner = partial(provision_components, timeout_s=seconds(timeout), notice=note_later)
    lifecycle = prepared(options, strict, provisioner)
    note_kept_data(lifecycle.resolved, print_note)
    # Before the start, after which its own record would be found.
    other = find_server(lifecycle.resolved.directory)
    state_dir = make_plan(lifecycle.resolved, seconds(timeout)).state_dir if accept_loss else None
    if state_dir is not None:
        forget_inventory(state_dir)
    stack = Stack(lifecycle, notice=note_later)
    try:
        stack.open(serve=True)
        # Before the ready line is printed: its reader may send a signal before the next line runs.
        signals.starting = False
        took = time.perf_counter() - began
        note_other_server(other)
        # A closed pipe, such as that of `head`, does not end the server.
        with contextlib.suppress(OSError):
            print_ready(stack, took) if format_ == "json" else print_banner(stack, took)
        # Only now, because before the ready line an interrupt ends the start anyway.
        signals.watch(STUCK_S)
        collect_garbage_of_requests()
        threading.Thread(target=import_ciphers, name="compozy-import", daemon=True).start()
        report_unusable(stack)
        signals.wait()
        note_later("stopping; a second signal ends at once")
        stack.close(GRACE_S)
    except ProvisionError as error:
        raise with_server(error, other) from error
    except KeyboardInterrupt:
        note_later("stopped while starting")
        return 130
    finally:
        stack.close(0)
        signals.close()
    return 0


def report_unusable(stack: Stack) -> None:
    """Print the workflow files that cannot be used; a database that does not answer now is no reason to end."""
    try:
        problems = stack.workflows.workflows().problems
    except DriverError as error:
        log.warning("workflows.not_listed", extra={"reason": error.message})
        return
    for problem in problems:
        note_later(problem.message)


def with_server(error: ProvisionError, other: Presence | None) -> ProvisionError:
    """Return the error with the address of the server that uses the data, where that is a server of this project."""
    if other is not None and isinstance(error.__cause__, InUseError):
        error.hint = f"the server of this project runs at {other.url} (process {other.pid}); use it, or stop it"
    return error


def note_other_server(other: Presence | None) -> None:
    """Report that another server of this project runs already."""
    if other is not None:
        print_note(f"another server of this project runs already: {other.url}, process {other.pid}, mode {other.mode}")
        print_note("commands in this directory use the one that started last, unless --port names the other")


def import_ciphers() -> None:
    """Import what the first workflow needs, so that neither the start nor that workflow waits for it."""
    import cryptography.hazmat.primitives.ciphers.aead  # noqa: F401


def collect_garbage_of_requests() -> None:
    """Collect from now on, except what the start made: it lives as long as the server."""
    # Frozen objects are not traversed, and those of the start live as long as the server.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def print_ready(stack: Stack, took_s: float) -> None:
    """Print the ready line for programs."""
    health = stack.health()
    line = ReadyLine(
        mode=health.mode, url=stack.url, pid=os.getpid(), elapsed_s=round(took_s, 3), components=health.components
    )
    print_document(line.to_json(), indent=None)


def listening(stack: Stack) -> str:
    """Return where the server listens; of all addresses of this machine, one is named."""
    host = str(stack.resolved.get("server.host"))
    if host not in EVERY_ADDRESS:
        return str(stack.url)
    return f"all addresses of this machine ({bracketed(host)}), for example {stack.url}"


def print_access(stack: Stack) -> None:
    """Print who may use the HTTP interface, and how a browser does."""
    decision = stack.resolved.decision("server.access")
    link = stack.browser_link() if decision.outputs["link"] else None
    print_line(f"  Access    {decision.rows[0].because}")
    print_line(
        f"  Browser   {f'{link}  (opens once)' if link else 'compozy status --link prints a link that opens once'}"
    )


def print_banner(stack: Stack, took_s: float) -> None:
    """Print what runs where, and the next steps."""
    health = stack.health()
    print_line(f"{styled('Compozy', 'bold')} is ready in {took_s:.2f} s, mode {styled(health.mode, 'bold')}\n")
    rows = [(name, part.mode, part.driver, *whereabouts(part)) for name, part in health.components.items()]
    print_table(rows, ("COMPONENT", "MODE", "DRIVER", "ADDRESS", "DATA"), "  ")
    print_line(f"\n  HTTP      {listening(stack)}  (interface described at {stack.url}/docs)")
    print_access(stack)
    temporal = health.components.get("temporal")
    ui = (temporal.details or {}).get("ui") if temporal else None
    if ui or (temporal and temporal.driver == "temporal-embedded"):
        print_line(f"  Temporal  {ui or 'web page is off; --set temporal.standalone.enable_ui=true serves it'}")
    print_line("\nRun a workflow: compozy workflow run FILE     Stop: Ctrl-C")
