"""From a valid configuration to steps: which driver of which component is started, with what, after what.

What comes in: a `Resolved` record. What goes out: a `Plan`. Pure: nothing is opened, probed or started.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from compozy.errors import RuleTableError
from compozy.resolve import Component, Resolved
from compozy.rulebook import DriverRow
from compozy.settings.values import MEMORY, parse_duration

STATE_DIRECTORY = ".compozy"
_PLACEHOLDER = re.compile(r"\{([\w.]+)\}")
_GIVEN = ("flag", "env", "dotenv", "file")


@dataclass(frozen=True, slots=True)
class Port:
    """A port asked for: its number, the setting behind it, and whether somebody chose it.

    A port that nobody chose moves to a free one when it is busy.
    """

    number: int
    setting: str
    explicit: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One driver to start: `factory` is `module:Class`, called with `options`, after the components in `needs`.

    `row` is the provision row behind it. `options` may hold secrets and do not show in `repr`. `addresses` are where
    it will be, without secrets; a default port may still move. `checks` are what `compozy doctor` asks of it.
    """

    component: str
    driver: str
    row: str
    factory: str
    options: Mapping[str, Any] = field(repr=False)
    needs: tuple[str, ...]
    timeout_s: float
    addresses: tuple[str, ...] = ()
    checks: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything to start, in dependency order.

    `state_dir` is the state directory of the project when a component keeps data in it, else None.
    """

    mode: str
    steps: tuple[Step, ...]
    directory: str
    state_dir: str | None


def make_plan(resolved: Resolved) -> Plan:
    """Return the steps that provision `resolved`.

    Raises:
        RuleTableError: a component's driver has no provision row, or components need each other in a circle.
    """
    steps = ordered([_step(resolved, part) for part in resolved.components.values()])
    state_dir = os.path.join(resolved.directory, STATE_DIRECTORY)
    kept = any(path.startswith(state_dir + os.sep) for step in steps for path in paths(step))
    return Plan(resolved.mode, tuple(steps), resolved.directory, state_dir if kept else None)


def paths(step: Step) -> Iterator[str]:
    """Yield the files and directories in which a step keeps data."""
    for value in step.options.values():
        if isinstance(value, str) and value != MEMORY and os.path.isabs(value):
            yield value


def ordered(steps: list[Step]) -> list[Step]:
    """Return the steps so that each comes after what it needs, else as given.

    Raises:
        RuleTableError: a step needs a component that does not exist, or steps need each other in a circle.
    """
    waiting, done = list(steps), list[Step]()
    while waiting:
        ready = [step for step in waiting if {part.component for part in done} >= set(step.needs)]
        if not ready:
            stuck = ", ".join(f"{step.component} needs {' and '.join(step.needs)}" for step in waiting)
            raise RuleTableError([f"the provision rows cannot be ordered: {stuck}"])
        done += ready
        waiting = [step for step in waiting if step not in ready]
    return done


def _step(resolved: Resolved, part: Component) -> Step:
    row = resolved.rulebook.drivers.get((part.name, part.driver))
    if row is None:
        raise RuleTableError(
            [f"no provision row for component {part.name} with driver {part.driver}"],
            hint="add one to drivers: in a file of rules/provision",
        )
    options = {name: _option(resolved, source) for name, source in row.options.items()}
    addresses = tuple(_addresses(resolved, row.addresses))
    return Step(
        part.name, part.driver, row.id, row.factory, options, row.needs, _timeout(resolved, row), addresses, row.checks
    )


def _addresses(resolved: Resolved, templates: Iterable[Any]) -> Iterator[str]:
    """Yield the address templates whose settings are set; a list stands for the first complete one in it."""
    for template in templates:
        choices = template if isinstance(template, list) else [template]
        filled = (_filled(resolved, choice) for choice in choices)
        found = next((text for text in filled if text is not None), None)
        if found is not None:
            yield found


def _filled(resolved: Resolved, template: str) -> str | None:
    paths = _PLACEHOLDER.findall(template)
    if any(resolved.get(path) in (None, "") for path in paths):
        return None
    return _PLACEHOLDER.sub(lambda found: str(resolved.shown(found[1], resolved.get(found[1]))), template)


def _option(resolved: Resolved, source: Any) -> Any:
    """Return the value of an option: a setting, or one of `port`, `group`, `value`."""
    if isinstance(source, str):
        return resolved.get(source)
    kind, ref = next(iter(source.items()))
    if kind == "port":
        return port(resolved, ref)
    if kind == "group":
        return {
            path.removeprefix(ref + "."): resolved.get(path) for path in resolved.values if path.startswith(ref + ".")
        }
    return ref


def port(resolved: Resolved, path: str) -> Port:
    """Return the port that the setting `path` asks for."""
    return Port(resolved.get(path), path, resolved.values[path].origin.kind in _GIVEN)


def _timeout(resolved: Resolved, row: DriverRow) -> float:
    if isinstance(row.timeout, Mapping):
        return float(resolved.get(row.timeout["setting"]))
    return parse_duration(str(row.timeout or "30s"))
