"""Injected driver faults: if any drivers fail at any verb, a start is complete or leaves nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.provisioning import Events, Script, no_threads_left, plan, step

from compozy.drivers.protocol import StartContext
from compozy.errors import DriverError, ProvisionError
from compozy.provisioning.provision import Runtime, provision

NAMES = ("a", "b", "c", "d")
RAISED = (DriverError, ValueError, OSError, SystemExit, KeyboardInterrupt, GeneratorExit, RecursionError)


@dataclass(frozen=True)
class World:
    """The needs of each component, and what the verbs of some raise."""

    needs: Mapping[str, tuple[str, ...]]
    faults: Mapping[tuple[str, str], type[BaseException]]

    def scripts(self, events: Events) -> dict[str, Script]:
        """Return the script of each component."""

        def verb(name: str, what: str) -> None:
            if (name, what) in self.faults:
                raise self.faults[name, what]("the injected fault")

        def script(name: str) -> Script:
            def start(context: StartContext) -> None:
                up = {other for event, other in events if event == "started"}
                assert up >= set(self.needs[name])
                verb(name, "start")

            return Script(events, name, start, lambda: verb(name, "ping"), lambda grace_s: verb(name, "stop"))

        return {name: script(name) for name in self.needs}

    def failing(self, *verbs: str) -> set[str]:
        """Return the components of which one of the verbs raises."""
        return {name for name, verb in self.faults if verb in verbs}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """One to four components, each of which may need earlier ones."""
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    needs = {
        name: tuple(other for other in names[:number] if draw(st.integers(0, 2)) == 0)
        for number, name in enumerate(names)
    }
    verbs = st.tuples(st.sampled_from(names), st.sampled_from(["start", "ping", "stop", "stop"]))
    return World(needs, draw(st.dictionaries(verbs, st.sampled_from(RAISED), max_size=3)))


@settings(max_examples=60)
@given(worlds())
def test_a_start_with_injected_faults_is_complete_or_leaves_nothing(world: World) -> None:
    events: Events = []
    scripts = world.scripts(events)
    steps = [step(script, *world.needs[name]) for name, script in scripts.items()]
    failing = world.failing("start", "ping")
    with no_threads_left():
        if failing:
            with pytest.raises(ProvisionError) as caught:
                provision(plan(*steps))
            named = {name for name in NAMES if f"row-{name}" in str(caught.value)}
            assert named
            assert named <= failing
        else:
            check_closing(world, provision(plan(*steps)))
    check_stopped(world, events)


def check_closing(world: World, runtime: Runtime) -> None:
    """Closing stops every driver, and names those that did not stop."""
    if world.failing("stop"):
        with pytest.raises(DriverError) as caught:
            runtime.close()
        for name in world.needs:
            assert (f"row-{name}" in str(caught.value)) == (name in world.failing("stop"))
    else:
        runtime.close()


def check_stopped(world: World, events: Events) -> None:
    """Every driver that began to start is stopped, after all that need it."""
    stopped = [name for event, name in events if event == "stopped"]
    assert {name for event, name in events if event == "started"} <= set(stopped)
    for name, needs in world.needs.items():
        for other in needs:
            if name in stopped:
                assert stopped.index(name) < stopped.index(other)
