"""Check the references between settings, and their own defaults and values.

Faults name the place of the row. Tables are not read here; derived values are checked with the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from compozy.base.findings import Collector
from compozy.base.suggest import did_you_mean
from compozy.settings.registry import CONTAINERS, Registry, Setting
from compozy.settings.row_faults import TEXTS
from compozy.settings.values import from_text, from_yaml, is_loopback


def check_settings(registry: Registry, faults: Collector) -> None:
    """Note every default that does not fit, and every setting that names another one in vain."""
    for setting in registry.settings.values():
        _check_named(setting, registry.settings, faults)
        _check_default(setting, faults)
        _check_fields(setting, registry.settings, faults)


def _check_fields(setting: Setting, settings: Mapping[str, Setting], faults: Collector) -> None:
    """Note the fields of a list that name another list, field or value in vain."""
    for item in setting.items.values():
        for reason in _field_faults(item, setting.items, settings):
            faults.add("bad-reference", f"field {item.path} of {setting.path}: {reason}", item.place)
        _check_fields(item, settings, faults)


def _field_faults(item: Setting, siblings: Mapping[str, Setting], settings: Mapping[str, Setting]) -> Iterator[str]:
    if item.refers and not (item.refers in settings and settings[item.refers].key_field):
        yield f"`refers` names {item.refers}, which is not a list with a `unique` field"
    if item.below and not (item.below in siblings and item.type == siblings[item.below].type == "integer"):
        yield f"`below` names {item.below}; both must be fields of type integer"
    for need in item.needed_for:
        field, _, value = need.partition("=")
        if field not in siblings or value not in siblings[field].values:
            yield f"`needed_for` has {need}, which is not a field with one of its values"


def _check_named(setting: Setting, settings: Mapping[str, Setting], faults: Collector) -> None:
    one = (setting.same_as, setting.authenticated_by, setting.url)
    named = [*setting.splits, *setting.parts.values(), *filter(None, one)]
    for other in (other for other in named if other not in settings):
        known = did_you_mean(other, settings)
        message = f"setting {setting.path} names the setting {other}, which does not exist{known}"
        faults.add("unknown-setting", message, setting.place)
    if all(other in settings for other in named):
        faults_of = (_split_faults, _same_faults, _key_faults)
        for reason in (reason for found in faults_of for reason in found(setting, settings)):
            faults.add("bad-reference", f"setting {setting.path}: {reason}", setting.place)


def _split_faults(setting: Setting, settings: Mapping[str, Setting]) -> Iterator[str]:
    if setting.url is not None and not (setting.splits and settings[setting.url].type == "url"):
        yield f"`url` belongs to `splits` and names a setting of type url, and not {setting.url}"
    if not setting.splits:
        return
    if len(set(setting.splits)) != 2 or len(setting.splits) != 2:
        yield f"`splits` names the settings of a host and of a port, and not {', '.join(setting.splits)}"
    if setting.type != "text":
        yield f"`splits` takes a text apart, and this is a {setting.type}"
    for path in setting.splits:
        if settings[path].splits:
            yield f"`splits` names {path}, which is taken apart itself"
        elif settings[path].type in CONTAINERS:
            yield f"`splits` names {path}, a {settings[path].type}, which no part of a text can be"


def _same_faults(setting: Setting, settings: Mapping[str, Setting]) -> Iterator[str]:
    if setting.same_as is None:
        return
    other = settings[setting.same_as]
    circle = _circle(setting, settings)
    if circle:
        yield f"`same_as` leads in a circle: {' -> '.join(circle)}"
    if other.type != setting.type:
        yield f"it is a {setting.type}, and {other.path}, whose value it takes, is a {other.type}"
    foreign = sorted(set(other.values) - set(setting.values)) if setting.type == other.type else []
    if foreign:
        yield f"it does not list {', '.join(foreign)}, which {other.path} may be, whose value it takes"


def _key_faults(setting: Setting, settings: Mapping[str, Setting]) -> Iterator[str]:
    if setting.authenticated_by is not None and not settings[setting.authenticated_by].secret:
        yield f"`authenticated_by` names {setting.authenticated_by}, which is not a secret"


def _circle(setting: Setting, settings: Mapping[str, Setting]) -> list[str]:
    """Return the settings from one back to itself; empty when its chain ends, or never comes back to it."""
    chain = [setting.path]
    while (following := settings[chain[-1]].same_as) is not None and following in settings:
        if following == setting.path:
            return [*chain, following]
        if following in chain:
            return []
        chain.append(following)
    return []


def _check_default(setting: Setting, faults: Collector) -> None:
    default = setting.default
    if default is None:
        return
    if setting.type in CONTAINERS:
        fits = isinstance(default, list if setting.type == "list" else dict)
        faults.require(fits, "bad-default", f"the default of {setting.path} is no {setting.type}", setting.place)
        return
    try:
        value = from_yaml(setting, default, str(default), "/")
    except ValueError as error:
        faults.add("bad-default", f"the default of {setting.path}: {error}", setting.place)
        return
    reason = _outside(setting, value)
    message = f"the default of {setting.path} is {default}, which is {reason}"
    faults.require(not reason, "bad-default", message, setting.place)


def refusal(setting: Setting, value: object) -> str:
    """Return why a setting does not accept a value that a table derives; empty when it does.

    A text is parsed as in a file, every other value is taken as it is.
    """
    try:
        taken = from_text(setting, value, "/") if isinstance(value, str) else from_yaml(setting, value, str(value), "/")
    except ValueError as error:
        return str(error)
    if setting.type in (*TEXTS, "choice") and not isinstance(value, str):
        return "expected a text"
    return _outside(setting, taken)


def _outside(setting: Setting, value: Any) -> str:
    if setting.values and value not in setting.values:
        return f"not one of {', '.join(setting.values)}{did_you_mean(value, setting.values)}"
    if setting.minimum is not None and value < setting.minimum:
        return f"less than {setting.minimum}, its minimum"
    if setting.maximum is not None and value > setting.maximum:
        return f"more than {setting.maximum}, its maximum"
    if setting.longest is not None and len(value) > setting.longest:
        return f"longer than {setting.longest} characters"
    if setting.type == "listen_address" and not is_loopback(value):
        return "reachable from other machines; only a user may open a listener"
    return ""
