"""Representative values of a setting: at least one for each combination of answers that its views can give.

Every value that a source can hold behaves, in all cells and views at once, like one of the representatives.
Relative paths are seen from `/`; the project's real directory is not known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import product
from typing import Any, NamedTuple

from compozy.base.document import Scalar
from compozy.rulebook.domains import normalised, setting_domain
from compozy.settings.endpoint import endpoint
from compozy.settings.registry import CONTAINERS, Setting
from compozy.settings.row_faults import NUMBERS
from compozy.settings.values import KEYWORDS, MEMORY
from compozy.settings.views import VIEWS
from compozy.tables.table import Domain

WRITTEN, DEFAULT, RULE = "file", "default", "rule"
_QUERIES = ("", "?sslmode=disable", "?sslmode=require", "?sslmode=verify-full", "?ssl_cert_reqs=none")
# What depends on nothing of an address but its protection, its password and its `sslmode`.
_READING_ADDRESSES = {"url_tls", "url_password", "weaker"}
# Below which a project may lie; the length of a path depends on it.
_DIRECTORIES = ("", "/" + "d" * 64)
# Zero counts as empty, so every interval around it needs a number beside it, however narrow it is.
_AMOUNTS = (0, 1, -1, 5e-324, -5e-324)
# The setting whose default is the name of the directory.
NAMED_BY_THE_DIRECTORY = "name"


class Representative(NamedTuple):
    """A value, the kind of its origin, and what a column without view reads of it.

    `anchored` is true for a path below the project's directory, which `plain` may then be in several ways; `free`
    for a text that was chosen for what views show of it. `derived` is what a table gives a setting for which nothing
    is written, and `below` the default that is read before the table has decided.
    """

    value: Any
    kind: str
    plain: tuple[Scalar, ...]
    anchored: bool = False
    free: bool = False
    derived: Scalar = None
    below: Representative | None = None

    @property
    def unresolved(self) -> tuple[Scalar, ...]:
        """The value of a column without view before derivation."""
        return (self.below or self).plain


def given(setting: Setting, values: Collection[Scalar], copies: int, inspected: frozenset[str]) -> list[Representative]:
    """Return the default, then what a source may write; `values` are those that cells distinguish.

    `copies` is the number of settings that are compared with each other: so many values that no cell lists are
    needed to make them all different. `inspected` are the views and comparisons that look into texts.
    """
    every = written(setting, values, copies, inspected)
    if setting.path == NAMED_BY_THE_DIRECTORY:
        found = [Representative(value, DEFAULT, (value,)) for value in every]
    else:
        found = [of_rules(setting, setting.default, DEFAULT, values)]
    lower: tuple[Scalar, ...] = ()
    for value in every:
        free = value not in values
        if setting.accepts(value):
            found.append(Representative(value, WRITTEN, (value,), False, free))
        elif value == "":
            # Only a file, the lowest source, empties a choice.
            found.append(Representative(value, WRITTEN, (setting.default,), False, free))
        else:
            lower = lower or _lower(setting, values, inspected)
            found += [Representative(value, WRITTEN, (plain,), False, free) for plain in lower]
    return found


def placements(one: Representative) -> tuple[object, ...]:
    """Return a value as it reads in projects that lie in different directories."""
    return tuple(directory + str(one.value) for directory in _DIRECTORIES) if one.anchored else (one.value,)


def of_rules(setting: Setting, value: object, kind: str, values: Collection[Scalar]) -> Representative:
    """Return a default or a derived value."""
    taken = None if value is None else normalised(setting, value)
    if setting.type != "path" or taken in (None, value):
        return Representative(taken, kind, (taken,))
    tail = str(taken)
    listed = [path for path in values if isinstance(path, str) and path.endswith(tail)]
    return Representative(taken, kind, (*listed, _unlisted("/{name}" + _literal(tail), values)), anchored=True)


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def written(setting: Setting, values: Collection[Scalar], copies: int, inspected: frozenset[str]) -> list[Any]:
    """Return the listed values that the setting can hold, and unlisted ones."""
    if setting.type in CONTAINERS:
        return [(), ("x",)]
    if setting.type == "boolean":
        return [False, True]
    domain = setting_domain(setting) if values or setting.type in NUMBERS else None
    listed = [
        value
        for value in values
        if value is not None and domain is not None and domain.contains(value) and normalised(setting, value) == value
    ]
    return listed + (
        _amounts(setting, domain) if setting.type in NUMBERS else _texts(setting, listed, copies, inspected)
    )


def _amounts(setting: Setting, domain: Domain | None) -> list[object]:
    found: list[object] = [amount for amount in _AMOUNTS if domain is not None and domain.contains(amount)]
    if setting.minimum is not None:
        # Rejected numbers, zero among them if it is one: their views stand beside a lower source's value.
        found += {setting.minimum - 1, setting.minimum - 2, min(0, setting.minimum - 1)}
    if setting.maximum is not None:
        found += (setting.maximum + 1, setting.maximum + 2)
    return found


def _texts(setting: Setting, listed: Collection[Scalar], copies: int, inspected: frozenset[str]) -> list[str]:
    found = [text for text in (*setting.values, *([MEMORY] if setting.memory else [])) if text not in listed]
    known = {*found, *listed}
    for pattern in _patterns(setting, inspected):
        for _ in range(copies if "{" in pattern else 1):
            text = _unlisted(pattern, known)
            known.add(text)
            found.append(text)
    return found


def _patterns(setting: Setting, inspected: frozenset[str]) -> list[str]:
    """Return an empty text, any other, and those that views distinguish; rows list none of those in braces."""
    empty = [] if setting.ignores_empty else [""]
    special = [text for word, view in VIEWS.items() if word in inspected for text in view.texts] if inspected else []
    patterns = [*dict.fromkeys(("{name}", *special))]
    if setting.type == "path":
        patterns = [text if text.startswith("/") else f"/{text}" for text in patterns if text != MEMORY]
    if setting.type == "url" and inspected:
        schemes = [scheme for scheme in setting.schemes if scheme != KEYWORDS] or ["http"]
        urls = [scheme + url for scheme in schemes for url in _urls(inspected)]
        if inspected <= _READING_ADDRESSES:
            read: dict[object, str] = {}
            for url in urls:
                read.setdefault(_read_of(url, inspected), url)
            urls = [*read.values()]
        patterns += urls
    return empty + patterns


def _read_of(address: str, inspected: frozenset[str]) -> tuple[object, ...]:
    """Return all that some of `_READING_ADDRESSES` read of an address."""
    parts = endpoint(address)
    asked = parts.options.get("sslmode") if "weaker" in inspected else None
    return (parts.protection, parts.has_password, asked)


def _urls(inspected: frozenset[str]) -> Iterator[str]:
    """Yield addresses without scheme, as different as the views are that inspect them."""
    queries = _QUERIES if inspected - {"url_password"} else ("",)
    userinfos = ("", "user:pw@") if inspected - {"url_tls", "weaker"} else ("",)
    hosts = ("{name}", "localhost") if inspected - {"url_password", "weaker"} else ("{name}",)
    yield from (f"://{userinfo}{host}/{query}" for query, userinfo, host in product(queries, userinfos, hosts))


def _unlisted(pattern: str, known: Collection[Scalar]) -> str:
    """Return the first text of a pattern that is not among the known ones."""
    if "{" not in pattern:
        return pattern
    text, number = pattern.format(name="other", number=1), 1
    while text in known:
        number += 1
        text = pattern.format(name=f"other-{number}", number=number)
    return text


def _lower(setting: Setting, values: Collection[Scalar], inspected: frozenset[str]) -> tuple[Scalar, ...]:
    """Return what a column without view may read where a value is rejected: what a lower source gives."""
    lower = [other for other in written(setting, values, 1, inspected) if setting.accepts(other)]
    return (*((setting.default,) if setting.default is None else ()), *lower)
