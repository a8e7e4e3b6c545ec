"""Checks for the `preflight` of drivers: a binary, a port, files, disk space and a backend that must answer.

Each yields what `compozy doctor` prints, and changes nothing that a start would not put back. `setting` names what the
user may change.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from compozy.drivers.inventory import Inventory, holding_of
from compozy.drivers.port import Port
from compozy.drivers.ports import is_free, owner_of, process_on
from compozy.drivers.process import environment
from compozy.drivers.protocol import Check, Driver, StartContext
from compozy.errors import DriverError, InUseError
from compozy.state.file_lock import beside
from compozy.state.move_journal import pending

LOW_DISK_BYTES = 100 * 1024 * 1024
# A first start writes about 5 MB.
NEEDED_DISK_BYTES = 8 * 1024 * 1024
REACH_S = 3.0
_VERSION_S = 5.0


def check_binary(name: str, found: str | None, fix: str) -> Check:
    """Run the binary at the path `found` (None: not found) as a start does, and return its version."""
    if found is None:
        return Check("binary", "fail", f"no {name} binary was found", fix)
    try:
        return Check("binary", "pass", f"{found}, {_version(found)}")
    except DriverError as error:
        return Check("binary", "fail", error.message, fix)


def _version(binary: str) -> str:
    """Return the first line that `--version` prints.

    Raises:
        DriverError: the binary does not run.
    """
    try:
        shown = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=_VERSION_S, check=False, env=environment()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DriverError(f"{binary} does not run: {error}") from error
    lines = (shown.stdout or shown.stderr).strip().splitlines() or ["no version"]
    if shown.returncode != 0:
        raise DriverError(f"{binary} does not run: {lines[0]}")
    return lines[0]


class Examined(Protocol):
    """A driver that keeps data."""

    def examine(self, context: StartContext) -> None:
        """Look at the data as `start` does, change nothing, and raise DriverError where `start` would."""


def check_port(port: Port, host: str) -> Check:
    """Return whether a server can listen on the port; a default port may move to a free one."""
    name, setting, number = port.setting.rpartition(".")[2], port.setting, port.number
    try:
        if is_free(number, host):
            return Check(name, "pass", f"port {number} on {host} is free")
    except DriverError as error:
        return Check(name, "fail", error.message, f"choose an address of this machine, and a port, for {setting}")
    user = process_on(number)
    by = owner_of(number) or "another process"
    if port.explicit:
        return Check(name, "fail", f"port {number} is taken by {by}", f"free it, or choose another {setting}", user)
    message = f"port {number} is taken by {by}; a free one will serve"
    return Check(name, "warn", message, f"nothing, or choose {setting} yourself", user)


def check_kept(driver: Examined, context: StartContext, path: str | None, setting: str) -> Iterator[Check]:
    """Yield whether the file or directory at `path` can be written, has room and is intact; None: no data on disk."""
    if path is None:
        yield Check("files", "skip", "nothing is kept on disk")
    else:
        yield check_writable(path, setting)
        yield from check_disk(path)
    yield from _intact(driver, context, path)


def check_writable(path: str, setting: str) -> Check:
    """Return whether the file or directory can be written, or created."""
    above = _above(path)
    wrong = [part for part in (path, above) if os.path.exists(part) and not os.access(part, os.W_OK)]
    if not os.path.isdir(above):
        return Check("files", "fail", no_directory(above), f"move it away, or choose another {setting}")
    if wrong:
        return Check("files", "fail", f"{wrong[0]} is not writable", f"change its owner or mode, or {setting}")
    return Check("files", "pass", f"{path} can be written")


def check_disk(path: str) -> Iterator[Check]:
    """Yield whether there is room for the file or directory."""
    if not os.path.isdir(_above(path)):
        return
    free = shutil.disk_usage(_above(path)).free
    status = "pass" if free >= LOW_DISK_BYTES else "warn" if free >= NEEDED_DISK_BYTES else "fail"
    fix = "" if status == "pass" else "free some space, or choose another disk"
    yield Check("disk", status, f"{free / 1e9:.3f} GB free", fix)


def _above(path: str) -> str:
    """Return the nearest entry above `path`, in which the rest of it would be created if it is a directory."""
    above = os.path.dirname(path)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    return above


def no_directory(path: str) -> str:
    """Return why a path is not a directory."""
    what = "is a dangling symlink" if not os.path.exists(path) else "is not a directory"
    return f"{path} {what}"


def _intact(driver: Examined, context: StartContext, path: str | None) -> Iterator[Check]:
    if path is not None and pending([os.path.dirname(path)]):
        yield Check("intact", "skip", "an interrupted restore is completed first", "see the check above")
        return
    try:
        if path is not None:
            beside(path).examine(path)
            if context.state_dir is not None:
                Inventory(context.state_dir).check(context.component, holding_of(driver))
        driver.examine(context)
    except DriverError as error:
        owner = error.owner if isinstance(error, InUseError) else None
        yield Check("intact", "fail", error.message, error.hint or "restore a backup, or move it away", owner)
    else:
        if path is not None and os.path.exists(path):
            yield Check("intact", "pass", f"{path} is intact")


def check_reach(driver: Driver, context: StartContext) -> Iterator[Check]:
    """Yield whether the driver starts and answers; it is stopped again."""
    with reached(driver, context) as check:
        yield check


@contextmanager
def reached(driver: Driver, context: StartContext) -> Iterator[Check]:
    """Start a driver and ask it; it runs within the block if the check passes, and is stopped after it."""
    deadline = min(context.deadline, time.monotonic() + REACH_S)
    try:
        yield _reach(driver, replace(context, deadline=deadline))
    finally:
        driver.stop(0)


def _reach(driver: Driver, context: StartContext) -> Check:
    try:
        driver.start(context)
        began = time.perf_counter()
        driver.ping()
        took_ms = (time.perf_counter() - began) * 1000
    except DriverError as error:
        return Check("reach", "fail", error.message, error.hint or "check that the server runs")
    about = driver.describe()
    version = f", version {about.details['version']}" if about.details.get("version") else ""
    return Check("reach", "pass", f"{about.address} answers in {took_ms:.1f} ms{version}")
