"""Plan what a valid configuration starts: which driver of which instance, with which values, after which others.

Drivers are built and asked where they keep data; nothing is opened or started.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

from compozy.base.record import dataclass
from compozy.drivers.port import Port
from compozy.errors import ProvisionError, RuleTableError, TrustError
from compozy.provisioning.step import Step, storage_of
from compozy.resolution.resolve import Component, Resolved
from compozy.rulebook import DriverRow
from compozy.rulebook.drivers import Condition
from compozy.settings.redact import redact_value
from compozy.settings.reference import IMPORT_S
from compozy.settings.values import parse_duration
from compozy.state.state_directory import STATE_DIRECTORY

if TYPE_CHECKING:
    from compozy.drivers.protocol import Storage

_PLACEHOLDER = re.compile(r"\{([\w.]+(?:\[\]\.[\w.]+)?)\}(:?)")
_GIVEN = ("flag", "env", "dotenv", "file")


@dataclass(frozen=True, slots=True)
class Plan:
    """The components to start, in dependency order.

    `state_dir` is the state directory of the project when a component keeps data in it, else None.
    """

    mode: str
    steps: tuple[Step, ...]
    directory: str
    state_dir: str | None


def make_plan(resolved: Resolved, limit_s: float = IMPORT_S, *, strict: bool = True) -> Plan:
    """Return the steps that provision `resolved`; each driver is built and asked where it keeps data.

    Python of a rule pack may take `limit_s` seconds for each of import, constructor and answer. A driver of a pack that
    fails is an error only if `strict`.

    Raises:
        RuleTableError: a component's driver has no provision row or cannot be built, or components need each other.
        ProvisionError: the constructor of a driver, or its `storage`, fails.
    """
    steps = ordered([_step(resolved, part) for part in resolved.components.values()])
    steps = [replace(step, storage=_storage(step, limit_s, strict=strict)) for step in steps]
    state_dir = os.path.join(resolved.directory, STATE_DIRECTORY)
    # With the separator, so that a sibling such as `.compozy-old` does not count.
    kept = any(path.startswith(state_dir + os.sep) for step in steps for path in step.files)
    return Plan(resolved.mode, tuple(steps), resolved.directory, state_dir if kept else None)


def _storage(step: Step, limit_s: float, *, strict: bool) -> tuple[Storage, ...] | None:
    try:
        return storage_of(step, limit_s)
    except (RuleTableError, ProvisionError, TrustError):
        if strict:
            raise
        return None


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
            raise RuleTableError.of(f"the provision rows cannot be ordered: {stuck}")
        done += ready
        waiting = [step for step in waiting if step not in ready]
    return done


def _step(resolved: Resolved, part: Component) -> Step:
    row = resolved.rulebook.drivers.get((part.id, part.driver))
    if row is None:
        raise RuleTableError.of(
            f"no provision row for component {part.id} with driver {part.driver}",
            hint="add one to drivers: in a file of rules/provision",
        )
    options = {name: value_of(resolved, source, part) for name, source in row.options.items()}
    needs = tuple(other.name for other in resolved.components.values() if other.id in row.needs)
    return Step(
        part.name,
        part.driver,
        row.id,
        row.factory,
        options,
        needs,
        _timeout(resolved, row),
        addresses=tuple(_addresses(resolved, row, part)),
        mode=part.mode,
        rules=row.place.file,
    )


def _holds(resolved: Resolved, when: Condition) -> bool:
    return all(resolved.get(path) == value for path, value in when.items())


def _addresses(resolved: Resolved, row: DriverRow, part: Component) -> Iterator[str]:
    """Yield, of each address whose condition holds, the first text whose settings and fields are all set."""
    for address in row.addresses:
        filled = (_filled(resolved, text, part) for text in address.texts if _holds(resolved, address.when))
        found = next((text for text in filled if text is not None), None)
        if found is not None:
            yield found


def _filled(resolved: Resolved, template: str, part: Component) -> str | None:
    found = {name: _shown(resolved, name, part) for name, _ in _PLACEHOLDER.findall(template)}
    if any(value in (None, "") for value in found.values()):
        return None

    def text(match: re.Match[str]) -> str:
        return f"{bracketed(str(found[match[1]]))}:" if match[2] else str(found[match[1]])

    return _PLACEHOLDER.sub(text, template)


def _shown(resolved: Resolved, name: str, part: Component) -> object:
    """Return the value of a setting, or of a field of the element (`list[].field`), without secrets."""
    path, listed, field_name = name.partition("[].")
    if not listed:
        return resolved.shown(path, resolved.get(path))
    item = resolved.rulebook.registry.settings[path].items[field_name]
    return redact_value(item, part.fields.get(field_name))


def bracketed(host: str) -> str:
    """Return a host as it is written before a port: an IPv6 address in brackets (RFC 3986, section 3.2.2).

    >>> [bracketed(host) for host in ("::1", "fe80::1%lo", "localhost", "127.0.0.1")]
    ['[::1]', '[fe80::1%lo]', 'localhost', '127.0.0.1']
    """
    try:
        return f"[{IPv6Address(host)}]"
    except ValueError:
        return host


def value_of(resolved: Resolved, source: Any, part: Component) -> object:
    """Return what a driver row means by `source`: a setting's value, or `port`, `group`, `origin`, `item` or `each`."""
    if isinstance(source, str):
        return resolved.get(source)
    kind, ref = next(iter(source.items()))
    if kind == "port":
        return port(resolved, ref)
    if kind == "origin":
        return str(resolved.values[ref].origin)
    if kind == "group":
        return {
            path.removeprefix(ref + "."): resolved.get(path) for path in resolved.values if path.startswith(ref + ".")
        }
    if kind == "each":
        return tuple(_each(resolved, ref))
    return part.fields.get(ref) if kind == "item" else ref


def _each(resolved: Resolved, ref: str) -> Iterator[object]:
    """Yield the values of a field (`list[].field`) of the elements that have one."""
    path, _, name = ref.partition("[].")
    found = (element.get(name) for element in resolved.get(path) or ())
    return (value for value in found if value is not None)


def port(resolved: Resolved, path: str) -> Port:
    """Return the port that the setting `path` asks for."""
    return Port(resolved.get(path), path, resolved.values[path].origin.kind in _GIVEN)


def _timeout(resolved: Resolved, row: DriverRow) -> float:
    if isinstance(row.timeout, Mapping):
        return float(resolved.get(row.timeout["setting"]))
    return parse_duration(str(row.timeout or "30s"))
