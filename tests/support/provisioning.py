"""Drivers whose behaviour a test sets, with the same protocol as the real ones."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.polling import eventually

from compozy.drivers.protocol import Description, StartContext
from compozy.errors import DriverError
from compozy.provisioning.plan import Plan
from compozy.provisioning.step import Step

Work = Callable[[StartContext], None]
Events = list[tuple[str, str]]
PATIENCE_S = 30.0
# Tables for a component `shop` that a rule pack adds: one mode, one driver.
SHOP_TABLES = """
tables:
  - table: shop.mode
    stage: resolve
    hit: unique
    inputs: {mode: {decision: mode}}
    outputs: {mode: [memory]}
    rows: [{id: all, then: {mode: memory}, because: x}]
  - table: shop.driver
    stage: resolve
    hit: unique
    inputs: {mode: {decision: shop.mode}}
    outputs: {driver: [shop]}
    rows: [{id: all, then: {driver: shop}, because: x}]
"""


@dataclass
class Script:
    """The script of one driver; `events` is shared by all drivers of a test, `(verb, name)` in order."""

    events: Events
    name: str
    on_start: Work = lambda context: None
    on_ping: Callable[[], None] = lambda: None
    on_stop: Callable[[float], None] = lambda grace_s: None
    graces: list[float] = field(default_factory=list)


class ScriptedDriver:
    """Follows its script."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.handle: Any = None

    def start(self, context: StartContext) -> None:
        self.script.on_start(context)
        self.handle = f"handle of {self.script.name}"
        self.script.events.append(("started", self.script.name))

    def ping(self) -> None:
        self.script.on_ping()

    def stop(self, grace_s: float) -> None:
        self.script.graces.append(grace_s)
        self.script.events.append(("stopped", self.script.name))
        self.script.on_stop(grace_s)

    def describe(self) -> Description:
        return Description(self.script.name)


def step(script: Script, *needs: str, timeout_s: float = PATIENCE_S) -> Step:
    """Return a step that starts a scripted driver."""
    factory = "tests.support.provisioning:ScriptedDriver"
    return Step(script.name, "scripted", f"row-{script.name}", factory, {"script": script}, needs, timeout_s)


def plan(*steps: Step, state_dir: str | None = None) -> Plan:
    """Return a plan of these steps."""
    return Plan("memory", steps, "/", state_dir)


def fail(reason: str) -> Work:
    """Return a start that fails."""

    def start(context: StartContext) -> None:
        raise DriverError(reason, hint=f"mend {reason}")

    return start


def wait_for_the_end(context: StartContext) -> None:
    """Start until the time is over or the start is called off, as an embedded server does that is never ready."""
    while context.left_s() > 0:
        time.sleep(0.002)
    raise DriverError("it was not ready in time")


def hang(context: StartContext) -> None:
    """Start for ever, even if the context is cancelled."""
    threading.Event().wait(PATIENCE_S)


def press_ctrl_c(context: StartContext) -> None:
    """Send SIGINT to the main thread, and continue the start."""
    os.kill(os.getpid(), signal.SIGINT)
    wait_for_the_end(context)


@contextmanager
def no_threads_left() -> Iterator[None]:
    """Check that the block leaves no thread of Compozy behind."""
    before = set(threading.enumerate())
    yield

    def left() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name.startswith("compozy-")} - before

    eventually(lambda: not left(), lambda: f"end of the threads {left()}", PATIENCE_S)
