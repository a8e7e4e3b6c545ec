"""Check whether `start` would succeed, with the code that it uses; each failed check has a fix.

What a component depends on is known to its driver, whose `preflight` runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec

from compozy.base.findings import Finding
from compozy.base.manual import published_page
from compozy.drivers.ports import descends_from
from compozy.drivers.preflight import REACH_S, check_port, no_directory
from compozy.drivers.protocol import Check, LoopThread, StartContext
from compozy.errors import (
    ConfigurationError,
    DriverError,
    ForeignCodeError,
    InUseError,
    ProjectCodeError,
    ProvisionError,
    RuleTableError,
    TrustError,
)
from compozy.provisioning.lifecycle import Lifecycle
from compozy.provisioning.plan import make_plan, port
from compozy.provisioning.step import Step, build_driver, is_shipped, may_import
from compozy.resolution.configuration import Configuration
from compozy.resolution.permissions import exposed_files
from compozy.resolution.resolve import Resolved
from compozy.settings.outline import outline_fault
from compozy.state.move_journal import pending, read_journal
from compozy.state.state_directory import StateDirectory

__all__ = ["Check", "examine", "examine_step", "failed"]

# For Python of a rule pack, which may hang.
CHECK_S = 15.0
# The tables that decide who may use what, and the names of their checks.
ACCESS = {
    "server.access": "access.http",
    "temporal.access": "access.temporal",
    "temporal.encryption": "access.payloads",
}
_DATABASE = "database"  # the component that holds the tables of workflows and executions


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
    yield from _embedder(resolved)
    plan = make_plan(resolved, CHECK_S, strict=False)
    if plan.state_dir is not None:
        yield _unless_ours(_state_directory(plan.state_dir), server)
    yield from _restore([os.path.dirname(path) for step in plan.steps for path in step.files])
    wanted = check_port(port(resolved, "server.port"), resolved.get("server.host"))
    yield _unless_ours(replace(wanted, id="server.port"), server)
    loop = LoopThread()
    with closing(loop):
        for step in plan.steps:
            deadline = time.monotonic() + min(REACH_S, step.timeout_s)
            context = StartContext(loop, lambda line: None, deadline, plan.state_dir, component=step.component)
            yield from (_unless_ours(check, server) for check in examine_step(resolved, step, context))


def _unless_ours(check: Check, server: int | None) -> Check:
    """Return a check that passes where the running server, or a process below it, is the one in the way."""
    if server is None or check.user is None or not descends_from(check.user, server):
        return check
    return Check(check.id, "pass", f"in use by the running server of this project (process {server})")


def _findings(findings: Iterable[Finding], strict: bool) -> Iterator[Check]:
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
    yield Check("clock", status, f"the clock shows {now:%Y-%m-%d %H:%M:%S} UTC", fix)


def _embedder(resolved: Resolved) -> Iterator[Check]:
    """Yield whether the weights of an embedder that a knowledge base uses are installed; a start does without them."""
    offline = {model.get("id") for model in resolved.get("models") or () if model.get("provider") == "wordllama"}
    if not any(base.get("embedder") in offline for base in resolved.get("knowledge.bases") or ()):
        return
    if find_spec("wordllama") is not None:
        yield Check("knowledge.embedder", "pass", "the embedder wordllama is installed")
    else:
        message = "the embedder wordllama is not installed: its knowledge bases can be neither ingested nor queried"
        yield Check("knowledge.embedder", "warn", message, "pip install 'compozy[embeddings]'")


def _state_directory(path: str) -> Check:
    if not os.path.lexists(path):
        return Check("state-directory", "pass", f"{path} does not exist yet and will be created")
    if not os.path.isdir(path):
        return Check("state-directory", "fail", no_directory(path), f"move {path} away; a directory takes its place")
    try:
        StateDirectory(path).examine()
    except DriverError as error:
        user = error.owner if isinstance(error, InUseError) else None
        return Check("state-directory", "fail", error.message, error.hint or "stop the other process", user)
    return Check("state-directory", "pass", f"{path} is free, and of this version")


def _restore(folders: Sequence[str]) -> Iterator[Check]:
    for journal in pending(folders):
        try:
            read_journal(journal)
        except DriverError as error:
            yield Check("restore", "fail", error.message, error.hint or "restore a backup")
        else:
            yield Check("restore", "warn", f"{journal} records an interrupted restore", "a start completes it")


def examine_step(resolved: Resolved, step: Step, context: StartContext) -> Iterator[Check]:
    """Yield the checks of one instance: those of its driver, and the migrations of its database."""
    if not is_shipped(step):
        code = _code(step)
        yield code
        if code.status != "pass":
            if code.status == "skip":
                yield replace(code, id=f"{step.component}.preflight")
            return
    redactor = resolved.redactor()
    for check in _of_driver(resolved, step, context):
        message, fix = redactor.text(check.message), redactor.text(check.fix)
        yield replace(check, id=f"{step.component}.{check.id}", message=message, fix=fix)


def _of_driver(resolved: Resolved, step: Step, context: StartContext) -> Iterator[Check]:
    """Yield what a driver checks; a failure of the Python of a rule pack names its row."""
    try:
        yield from build_driver(step, CHECK_S).preflight(context)
        if step.component == _DATABASE:
            yield from _schema(resolved, step, context)
    except (ForeignCodeError, ProvisionError, RuleTableError) as error:
        named = f"driver {step.driver}, rule row {step.row}: {error.message}"
        yield Check("preflight", "fail", named, error.hint or "fix the driver")


def _code(step: Step) -> Check:
    """Build the driver of a rule pack; a command that must not import it looks at its source only."""
    name, fix = f"{step.component}.code", "compozy rules check imports it"
    try:
        if may_import(step):
            build_driver(step, CHECK_S)
            return Check(name, "pass", f"{step.factory} can be used")
        fault = outline_fault(step.factory)
    except (RuleTableError, ProvisionError, TrustError) as error:
        return Check(name, "fail", error.message, error.hint or fix)
    if fault:
        return Check(name, "fail", f"provision row {step.row}: {step.factory} cannot be imported: {fault}", fix)
    folder = os.path.dirname(step.rules)
    return Check(name, "skip", ProjectCodeError(step.factory).message, f"compozy trust {folder} lets doctor run it")


def _schema(resolved: Resolved, step: Step, context: StartContext) -> Iterator[Check]:
    """Require the schema as a start does; a migration is rolled back, and a file is only read."""
    from compozy.store import Store

    driver, migrates = build_driver(step, CHECK_S), resolved.get("database.auto_migrate")
    reader = getattr(driver, "reader", None)
    try:
        if reader is None:
            driver.start(replace(context, deadline=time.monotonic() + min(REACH_S, step.timeout_s)))
        store = Store(driver.handle if reader is None else reader())
    except ForeignCodeError:
        raise
    except DriverError:
        yield Check("schema", "skip", "not asked, because the database was not reached", "see the check above")
        return
    try:
        missing = store.rehearse() if reader is None and migrates else store.missing()
        if not migrates:
            store.require_schema(kept=bool(resolved.components[_DATABASE].kept))
    except ForeignCodeError:
        raise
    except DriverError as error:
        yield Check("schema", "fail", error.message, error.hint or "see the log of the database")
    else:
        text = f"a start can apply {', '.join(missing)}" if missing else "every migration is applied"
        yield Check("schema", "pass", text)
    finally:
        driver.stop(0)


def failed(checks: list[Check]) -> bool:
    """Return True if a check failed."""
    return any(check.status == "fail" for check in checks)
