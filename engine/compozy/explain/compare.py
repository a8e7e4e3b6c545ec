"""Compare two resolutions: components and settings that differ, and the row or source behind each side.

A secret that differs is reported without its values.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator

from compozy.base.place import Origin
from compozy.base.record import dataclass
from compozy.explain.show import Shown
from compozy.explain.value import Given, decision_key, given
from compozy.resolution.resolve import UNSET, Resolved


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference; `kind` is `component` (its mode or driver) or `setting`. A side is None where it does not exist."""

    key: str
    kind: str
    left: Given | None
    right: Given | None

    def as_json(self) -> dict[str, object]:
        """Return the record as JSON."""
        left, right = (side.as_json() if side else None for side in (self.left, self.right))
        return {"key": self.key, "kind": self.kind, "left": left, "right": right}


def compare(left: Resolved, right: Resolved) -> tuple[Difference, ...]:
    """Return the differences, components first, then settings in the order of the registry.

    Paths are compared as seen from the directory of their configuration file.
    """
    sides = Shown(left), Shown(right)
    return (*_components(left, right), *_settings(*sides))


def _components(left: Resolved, right: Resolved) -> Iterator[Difference]:
    for name in dict.fromkeys((*left.components, *right.components)):
        for part in ("mode", "driver"):
            sides = _decided(left, name, part), _decided(right, name, part)
            if _value(sides[0]) != _value(sides[1]):
                yield Difference(f"{name}.{part}", "component", *sides)


def _value(side: Given | None) -> object:
    return side.value if side else None


def _decided(resolved: Resolved, name: str, part: str) -> Given | None:
    component, key = resolved.components.get(name), decision_key(resolved, f"{name}.{part}")
    if component is None or key is None:
        return None
    behind, value = resolved.decisions[key].rows[0], getattr(component, part)
    origin = Origin("rule", table=key, row=behind.id)
    return Given(value, str(value), origin, behind.place, behind.because)


def _settings(left: Shown, right: Shown) -> Iterator[Difference]:
    for path in dict.fromkeys((*left.resolved.values, *right.resolved.values)):
        if _compared(left.resolved, path) != _compared(right.resolved, path):
            yield Difference(path, "setting", _side(left, path), _side(right, path))


def _compared(resolved: Resolved, path: str) -> object:
    value, setting = resolved.get(path), resolved.rulebook.registry.settings.get(path)
    within = setting is not None and setting.type == "path" and str(value).startswith(resolved.directory + os.sep)
    return os.path.relpath(value, resolved.directory) if within else value


def _side(shown: Shown, path: str) -> Given | None:
    if path not in shown.resolved.values:
        return None
    value = shown.resolved.values.get(path, UNSET)
    return given(shown, path, value.value, value.origin)
