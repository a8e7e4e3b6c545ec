"""The domain of a setting: every value that a decision table may read from it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from compozy.settings.registry import CONTAINERS, Setting
from compozy.settings.row_faults import NUMBERS
from compozy.settings.values import LARGEST, LONGEST_S, duration_text, from_text, from_yaml, parse_duration
from compozy.tables.table import Domain

_NEVER_NEGATIVE = ("duration", "size")


def setting_domain(setting: Setting) -> Domain | None:
    """Return the domain of a setting's accepted values; None for lists and maps, which a table reads by views."""
    # A setting with a default is never unset.
    optional = setting.default is None
    if setting.type == "choice" and setting.allowed:
        return Domain.finite(setting.allowed, optional=optional)
    if setting.type == "boolean":
        return Domain.boolean(optional=optional)
    if setting.type in NUMBERS:
        return _numbers(setting, optional=optional)
    return None if setting.type in CONTAINERS else Domain.text(optional=optional, nonempty=setting.ignores_empty)


def _numbers(setting: Setting, *, optional: bool) -> Domain:
    integer = setting.type in ("integer", "size")
    least = 0 if setting.type in _NEVER_NEGATIVE else -LARGEST if integer else None
    minimum = least if setting.minimum is None else setting.minimum
    limit = LONGEST_S if setting.type == "duration" else LARGEST if integer else None
    return Domain.number(
        integer=integer,
        minimum=minimum,
        maximum=limit if setting.maximum is None else setting.maximum,
        optional=optional,
    )


def normalised(setting: Setting, value: object) -> Any:
    """Return a value of a rule as the setting reads it, a list as a tuple; one that it refuses stays as it is."""
    if setting.type in CONTAINERS:
        return tuple(value) if isinstance(value, list | dict) else value
    try:
        return from_text(setting, value, "/") if isinstance(value, str) else from_yaml(setting, value, str(value), "/")
    except ValueError:
        return value


def spelled(setting: Setting, value: Any) -> object:
    """Return a value as written in a configuration file, in plain data: the inverse of `normalised`."""
    if isinstance(value, tuple):
        return [*value] if setting.type == "list" else dict.fromkeys(value, 1)
    if setting.type == "duration":
        return _duration(value)
    if setting.type == "size":
        return f"{value}B"
    if not isinstance(value, str):
        return value
    # A path that climbs is one that is seen from the project's directory.
    relative = setting.type == "path" and value.startswith("/../")
    return value.removeprefix("/" if relative else "").replace("$", "$$")


def _duration(seconds: float) -> str:
    text = duration_text(seconds)
    return text if parse_duration(text) == seconds else f"{Decimal(seconds):f}s"
