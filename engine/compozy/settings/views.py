"""What a table may ask about a setting besides its value.

What comes in: a setting with its value and origin. What goes out: a scalar of a small domain. A view is
one row of `VIEWS`; `equals PATH` compares with another setting.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from unicodedata import category

from compozy.document import Scalar
from compozy.settings.registry import Setting
from compozy.settings.values import MEMORY, is_loopback

EQUALS = "equals "
_DERIVED = ("default", "rule")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a view looks at: the setting, its value, the kind of its origin and the anchor directory."""

    setting: Setting
    value: Any
    kind: str
    directory: str


@dataclass(frozen=True, slots=True)
class View:
    """A function of a setting with the listed `values` it returns; `optional` says that it may be unset."""

    values: tuple[Scalar, ...]
    optional: bool
    look: Callable[[Seen], Scalar]


def _given(seen: Seen) -> bool:
    return seen.value is not None and seen.kind not in _DERIVED


def _presence(seen: Seen) -> Scalar:
    if seen.value is None:
        return None
    return "empty" if seen.value == "" else "given"


def _known(seen: Seen) -> Scalar:
    if seen.value is None:
        return None
    return "known" if seen.value in seen.setting.values else "unknown"


def _in_memory(seen: Seen) -> Scalar:
    return None if not seen.value else seen.value == MEMORY


def _path_kind(seen: Seen) -> Scalar:
    if not seen.value:
        return None
    path = str(seen.value)
    if path == MEMORY:
        return "memory"
    if any(category(char) == "Cc" for char in path):
        return "control"
    if _climbs(path, seen.directory):
        return "climbing"
    return "directory" if path.endswith("/") or os.path.isdir(path) else "file"


def _climbs(path: str, directory: str) -> bool:
    """Tell whether a path below `directory` leads out of it; `data/../x.db` stays inside."""
    anchor = directory.rstrip("/") + "/"
    below = path.removeprefix(anchor).replace("\\", "/").lstrip("/")
    return path.startswith(anchor) and os.path.normpath(below).split("/")[0] == ".."


def _host_kind(seen: Seen) -> Scalar:
    return "loopback" if is_loopback(str(seen.value or "")) else "other"


def _filled(seen: Seen) -> bool:
    return bool(seen.value)


VIEWS: Mapping[str, View] = {
    "given": View((False, True), False, _given),
    "presence": View(("empty", "given"), True, _presence),
    "known": View(("known", "unknown"), True, _known),
    "in_memory": View((False, True), True, _in_memory),
    "path_kind": View(("memory", "file", "directory", "climbing", "control"), True, _path_kind),
    "host_kind": View(("loopback", "other"), False, _host_kind),
    "filled": View((False, True), False, _filled),
}
