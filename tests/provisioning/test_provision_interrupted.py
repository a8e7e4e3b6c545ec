"""A start that is interrupted at each of its steps in turn."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.project import FACTS
from tests.support.provisioning import Script, no_threads_left, plan, step

from compozy.base.interruption import interrupt
from compozy.provisioning.lifecycle import Lifecycle
from compozy.provisioning.provision import provision
from compozy.resolution.configuration import load_configuration

EACH = 23  # of so many calls of functions, one is interrupted


class Interrupting:
    """Interrupts the main thread in its n-th call of a function, 0 is never; `calls` counts them."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls = 0

    def __call__(self, frame: Any, event: str, argument: object) -> None:
        if event == "call" and threading.current_thread() is threading.main_thread():
            self.calls += 1
            if self.calls == self.number:
                interrupt()


def run_interrupted(work: Callable[[], object], number: int) -> tuple[int, bool]:
    """Return how many calls `work` made, and True if it raised KeyboardInterrupt."""
    profile = Interrupting(number)
    sys.setprofile(profile)
    try:
        work()
    except KeyboardInterrupt:
        return profile.calls, True
    finally:
        sys.setprofile(None)
    return profile.calls, False


def interrupted_start(directory: Path, number: int) -> tuple[int, bool, list[tuple[str, str]]]:
    """Return how many calls a start made, True if it was interrupted, and what its drivers did."""
    events: list[tuple[str, str]] = []
    scripts = [Script(events, name) for name in ("database", "temporal")]
    started = plan(step(scripts[0]), step(scripts[1], "database"), state_dir=str(directory / ".compozy"))
    configuration = load_configuration(directory=str(directory), environment={})
    lifecycle = Lifecycle(configuration, facts=FACTS, provisioner=lambda _, release: provision(started, release))
    lifecycle.validate()
    with no_threads_left():
        calls, interrupted = run_interrupted(lifecycle.provision, number)
        if lifecycle.state == "provisioned":  # what `Stack.open` does
            lifecycle.runtime.abandon()
    return calls, interrupted, events


def test_start_interrupted_at_any_step_leaves_nothing(tmp_path: Path) -> None:
    """No other error replaces the interrupt; each driver that started is stopped, and the directory is removed."""
    calls, *_ = interrupted_start(tmp_path, 0)
    for number in range(1, calls, EACH):
        made, interrupted, events = interrupted_start(tmp_path, number)
        # A start that waits less often than the first one has ended before that step.
        assert (interrupted, list(tmp_path.iterdir())) == (made >= number, []), number
        assert {name for verb, name in events if verb == "started"} <= {
            name for verb, name in events if verb == "stopped"
        }, number


def test_transition_interrupted_at_any_call_raises_the_interrupt(tmp_path: Path) -> None:
    """The library of state machines handles every exception, and some of its steps replace or drop one."""
    lifecycle = Lifecycle(load_configuration(directory=str(tmp_path), environment={}), facts=FACTS)
    lifecycle.resolve()
    calls, _ = run_interrupted(lifecycle.reset, 0)
    for number in range(1, calls + 1):
        if lifecycle.state == "unresolved":
            lifecycle.resolve()
        assert run_interrupted(lifecycle.reset, number)[1], number
