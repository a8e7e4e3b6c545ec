"""Views of a setting: derived values of a small domain that the columns of a table may use.

A view is one row of `VIEWS`; a row of `COMPARISONS`, such as `equals PATH`, compares with another setting.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from compozy.base.document import Scalar
from compozy.base.record import dataclass
from compozy.settings.endpoint import endpoint
from compozy.settings.keyring import parse_keyring
from compozy.settings.registry import Setting
from compozy.settings.values import KEY_LENGTH, MEMORY, is_loopback
from compozy.tables.table import identity

_DERIVED = ("default", "rule")
# Unicode's category of control characters.
_CONTROL = re.compile(r"[\0-\x1f\x7f-\x9f]")
# Forms of texts that views distinguish; the key is valid Base64, and a path.
_UNUSABLE = ("../{name}", "{name}\x01")
_KEY = "/" + "A" * 42 + "="


class Seen(NamedTuple):
    """The input of a view: the setting, its value, the kind of its origin and the anchor directory."""

    setting: Setting
    value: object
    kind: str
    directory: str


@dataclass(frozen=True, slots=True)
class View:
    """A function of a setting with the listed `values` it returns; with `optional` it may be unset.

    A view with `reads_text` is defined for settings whose values are texts; `texts` holds one of each form that it
    distinguishes from other texts, addresses aside, with a name or number in braces. Verification needs all of them.
    """

    values: tuple[Scalar, ...]
    optional: bool
    look: Callable[[Seen], Scalar]
    reads_text: bool = True
    texts: tuple[str, ...] = ()


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
    path = str(seen.value or "")
    if path == MEMORY:
        return "memory"
    return _unusable(seen) or ("directory" if path.endswith("/") or os.path.isdir(path) else "file") if path else None


def _directory_kind(seen: Seen) -> Scalar:
    path = str(seen.value or "")
    if not path:
        return None
    is_file = os.path.lexists(path) and not os.path.isdir(path)
    return _unusable(seen) or ("file" if is_file else "directory")


def _unusable(seen: Seen) -> str | None:
    path = str(seen.value)
    if _CONTROL.search(path):
        return "control"
    return "climbing" if _climbs(path, seen.directory) else None


def _climbs(path: str, directory: str) -> bool:
    """Return True if a path below `directory` leads out of it; `data/../x.db` stays inside."""
    anchor = directory.rstrip("/") + "/"
    below = path.removeprefix(anchor).replace("\\", "/").lstrip("/")
    return path.startswith(anchor) and os.path.normpath(below).split("/")[0] == ".."


def _host_kind(seen: Seen) -> Scalar:
    host = str(seen.value or "")
    if seen.setting.host_port:
        host = host.rpartition(":")[0]
    hosts = host.split(",") if seen.setting.type == "host" else [host]
    is_socket = seen.setting.type == "host" and host.startswith("/")
    return "loopback" if is_socket or all(map(is_loopback, hosts)) else "other"


def _key_length(seen: Seen) -> Scalar:
    if not seen.value:
        return "none"
    return "short" if len(str(seen.value)) < KEY_LENGTH else "long"


def _url_password(seen: Seen) -> bool:
    return endpoint(str(seen.value or "")).has_password


def _url_tls(seen: Seen) -> Scalar:
    return endpoint(str(seen.value or "")).protection


def _filled(seen: Seen) -> bool:
    return bool(seen.value)


def _keyring(seen: Seen) -> Scalar:
    if not seen.value:
        return None
    try:
        parse_keyring(str(seen.value))
    except ValueError:
        return "malformed"
    return "usable"


VIEWS: Mapping[str, View] = {
    "given": View((False, True), False, _given, reads_text=False),
    "presence": View(("empty", "given"), True, _presence, reads_text=False),
    "known": View(("known", "unknown"), True, _known),
    "in_memory": View((False, True), True, _in_memory, texts=(MEMORY,)),
    "path_kind": View(
        ("memory", "file", "directory", "climbing", "control"), True, _path_kind, texts=(MEMORY, "{name}/", *_UNUSABLE)
    ),
    "directory_kind": View(
        ("file", "directory", "climbing", "control"), True, _directory_kind, texts=(*_UNUSABLE, os.devnull)
    ),
    "host_kind": View(
        ("loopback", "other"), False, _host_kind, texts=("localhost", "127.0.0.{number}", "localhost:{number}")
    ),
    "filled": View((False, True), False, _filled, reads_text=False),
    "key_length": View(("none", "short", "long"), False, _key_length, texts=("{name}-of-some-length", _KEY)),
    "url_password": View((False, True), False, _url_password),
    "url_tls": View(("none", "clear", "unverified", "verified", "unstated"), False, _url_tls),
    "keyring": View(("usable", "malformed"), True, _keyring, texts=(_KEY,)),
}


def _equals(value: Any, other: Any, setting: Setting) -> bool:
    return value is not None and identity(value) == identity(other)


def _weaker(value: object, other: object, setting: Setting) -> bool:
    """Return True if the `sslmode` of an address comes before the other setting's value in that setting's `values`."""
    asked, order = endpoint(str(value or "")).options.get("sslmode"), setting.values
    return asked in order and other in order and order.index(asked) < order.index(other)


# The first word of a view that compares with the setting named after it; `setting` is that other setting.
COMPARISONS: Mapping[str, Callable[[object, object, Setting], bool]] = {"equals": _equals, "weaker": _weaker}


def compared_with(view: str | None) -> str | None:
    """Return the path of the setting that a view compares with; None where it compares with none.

    >>> compared_with("equals server.port"), compared_with("presence")
    ('server.port', None)
    """
    word, _, path = (view or "").partition(" ")
    return path if word in COMPARISONS and path else None
