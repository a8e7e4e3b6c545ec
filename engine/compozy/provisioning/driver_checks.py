"""Checks of a driver that ask the driver itself: what `compozy doctor` and a start have in common.

Each takes a resolution, a step and a check of its row, and yields answers. A failure of the Python of a rule pack is
raised; the caller names the row.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from compozy.drivers.inventory import Inventory, holding_of
from compozy.drivers.protocol import StartContext
from compozy.errors import DriverError, ForeignCodeError, InUseError
from compozy.provisioning.plan import Step
from compozy.provisioning.provision import build_driver
from compozy.resolution.resolve import Resolved
from compozy.rulebook.drivers import VECTOR_STORES, CheckRow
from compozy.settings.values import MEMORY
from compozy.state.file_lock import beside
from compozy.state.move_journal import pending

REACH_S = 3.0
CLOCK_SKEW_S = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One answer; `status` is `pass`, `warn`, `fail` or `skip`, `fix` the remedy when it is not `pass`.

    `user` is the id of the process that uses what was checked, where one does.
    """

    id: str
    status: str
    message: str
    fix: str = ""
    user: int | None = None


def user_of(error: DriverError) -> int | None:
    """Return the process that uses what an error is about, where one does."""
    return error.owner if isinstance(error, InUseError) else None


def check_intact(resolved: Resolved, step: Step, check: CheckRow, context: StartContext) -> Iterator[Check]:
    """Let the driver look at its files, and at what else it refuses, as its start does."""
    place, name = resolved.get(check.argument), f"{step.component}.intact"
    kept = bool(place) and place != MEMORY
    if kept and pending([os.path.dirname(place)]):
        yield Check(name, "skip", "an interrupted restore is completed first", "see the check above")
        return
    driver = build_driver(step)
    examine = getattr(driver, "examine", None)
    if examine is None:
        yield Check(name, "skip", f"{step.driver} does not look into its files", f"remove the check of {step.row}")
        return
    try:
        if kept:
            beside(place).examine(place)
        if kept and context.state_dir is not None:
            Inventory(context.state_dir).check(step.component, holding_of(driver))
        examine(context)
    except ForeignCodeError:
        raise
    except DriverError as error:
        yield Check(name, "fail", error.message, error.hint or "restore a backup, or move it away", user_of(error))
    else:
        if kept and os.path.exists(place):
            yield Check(name, "pass", f"{place} is intact")


def check_reach(resolved: Resolved, step: Step, check: CheckRow, context: StartContext) -> Iterator[Check]:
    """Start the driver, ask it and stop it."""
    driver = build_driver(step)
    name, where = f"{step.component}.reach", ", ".join(step.addresses)
    redactor = resolved.redactor()
    try:
        driver.start(StartContext(context.loop, context.notice, time.monotonic() + min(REACH_S, step.timeout_s)))
        began = time.perf_counter()
        driver.ping()
        took_ms = (time.perf_counter() - began) * 1000
        details = driver.describe().details
    except ForeignCodeError:
        raise
    except DriverError as error:
        yield Check(name, "fail", redactor.text(error.message), redactor.text(error.hint or f"check that {where} runs"))
        return
    finally:
        driver.stop(0)
    version = f", version {details['version']}" if details.get("version") else ""
    yield Check(name, "pass", f"{where} answers in {took_ms:.1f} ms{version}")


def check_schema(resolved: Resolved, step: Step, check: CheckRow, context: StartContext) -> Iterator[Check]:
    """Require the schema as a start does; a migration is rolled back, and a file is only read."""
    from compozy.store import Store

    driver, name = build_driver(step), f"{step.component}.schema"
    reader = getattr(driver, "reader", None)
    try:
        if reader is None:
            driver.start(StartContext(context.loop, context.notice, time.monotonic() + min(REACH_S, step.timeout_s)))
        store = Store(driver.handle if reader is None else reader())
    except ForeignCodeError:
        raise
    except DriverError:
        yield Check(name, "skip", "not asked, because the database was not reached", "see the check above")
        return
    try:
        missing = store.rehearse() if reader is None and resolved.get(check.argument) else store.missing()
        if not resolved.get(check.argument):
            store.require_schema()
    except ForeignCodeError:
        raise
    except DriverError as error:
        yield Check(name, "fail", error.message, error.hint or "see the log of the database")
    else:
        text = f"a start can apply {', '.join(missing)}" if missing else "every migration is applied"
        yield Check(name, "pass", text)
    finally:
        driver.stop(0)


def check_extension(resolved: Resolved, step: Step, check: CheckRow, context: StartContext) -> Iterator[Check]:
    """Look for an extension of the database server, and compare the clocks."""
    extension, said = check.argument, check.provider or check.argument
    name = f"{step.component}.{said}"
    driver = build_driver(step)
    try:
        driver.start(StartContext(context.loop, context.notice, time.monotonic() + min(REACH_S, step.timeout_s)))
        query = "SELECT default_version, extract(epoch FROM now()) FROM pg_available_extensions WHERE name = %s"
        row = driver.handle.execute_sql(query, (extension,)).fetchone()
    except ForeignCodeError:
        raise
    except DriverError:
        yield Check(name, "skip", "not asked, because the database was not reached", "see the check above")
        return
    finally:
        driver.stop(0)
    if row is None:
        status, fix = "fail" if _wanted(resolved, check) else "warn", f"install {said} on the database server"
        yield Check(name, status, f"the extension {extension} is not available", fix)
        return
    yield Check(name, "pass", f"{said} {row[0]} is available")
    yield _skew(step, float(row[1]))


def _wanted(resolved: Resolved, check: CheckRow) -> bool:
    """Tell whether a vector store needs the extension; one that is for no kind of vector store is always needed."""
    stores = resolved.get(VECTOR_STORES) or ()
    return check.provider is None or any(store.get("provider") == check.provider for store in stores)


def _skew(step: Step, theirs: float) -> Check:
    skew = abs(time.time() - theirs)
    status, fix = ("pass", "") if skew <= CLOCK_SKEW_S else ("warn", "synchronise the clocks of both machines")
    return Check(f"{step.component}.clock", status, f"its clock differs by {skew:.1f} s", fix)
