"""The domain of a setting: every value that a decision table may read from it."""

from __future__ import annotations

from typing import Any

from compozy.settings.registry import CONTAINERS, NUMBERS, Setting
from compozy.settings.values import from_text, from_yaml
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
        least = 0 if setting.type in _NEVER_NEGATIVE and setting.minimum is None else setting.minimum
        return Domain.number(integer=setting.type in ("integer", "size"), minimum=least, optional=optional)
    return None if setting.type in CONTAINERS else Domain.text(optional=optional)


def normalised(setting: Setting, value: Any) -> Any:
    """Return a value of a rule as the setting reads it, a list as a tuple; one that it refuses stays as it is."""
    if setting.type in CONTAINERS:
        return tuple(value) if isinstance(value, list | dict) else value
    try:
        return from_text(setting, value, "/") if isinstance(value, str) else from_yaml(setting, value, str(value), "/")
    except ValueError:
        return value
