"""Verify what a driver row names: settings of the right type, groups, fields, conditions that may hold.

Only data is checked; whether the factory can be imported is checked by `trial.rules`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from compozy.base.document import Scalar
from compozy.base.suggest import did_you_mean
from compozy.rulebook.drivers import AddressRow, Condition, DriverRow
from compozy.rulebook.rule_records import Rulebook
from compozy.settings.registry import Setting
from compozy.settings.values import from_text, from_yaml, parse_duration

_PLACEHOLDER = re.compile(r"\{([\w.]+(?:\[\]\.[\w.]+)?)\}")


def driver_faults(rulebook: Rulebook, row: DriverRow) -> Iterator[str]:
    """Yield what keeps a driver row from being used."""
    settings = rulebook.registry.settings
    yield from _option_faults(rulebook, row)
    yield from _timeout_faults(settings, row)
    for address in row.addresses:
        yield from _address_faults(rulebook, row, address)


_KINDS = ("port", "group", "origin", "item", "each", "value")  # of an option that is not simply a setting


def _list_of(rulebook: Rulebook, row: DriverRow) -> str:
    """Return the list of a driver's component, empty where the component has one instance."""
    return next((part.for_each or "" for part in rulebook.components if part.id == row.component), "")


def _field_faults(rulebook: Rulebook, row: DriverRow, name: str) -> Iterator[str]:
    """Yield why a driver cannot refer to a field of its element."""
    path = _list_of(rulebook, row)
    fields = rulebook.registry.settings[path].items if path in rulebook.registry.settings else {}
    if not path:
        yield f"component {row.component} has no `for_each`, and so no field {name}"
    elif name not in fields:
        yield f"{path} has no field {name}{did_you_mean(name, fields)}"


def _each_faults(settings: Mapping[str, Setting], ref: str) -> Iterator[str]:
    """Yield why a text does not name the fields of a list, as `list[].field`."""
    path, _, name = ref.partition("[].")
    if path not in settings:
        yield f"unknown setting {path}{did_you_mean(path, settings)}"
    elif name not in settings[path].items:
        yield f"{path} has no field {name}{did_you_mean(name, settings[path].items)}"


def _option_faults(rulebook: Rulebook, row: DriverRow) -> Iterator[str]:
    settings = rulebook.registry.settings
    for name, source in row.options.items():
        if isinstance(source, str):
            kind, ref = "setting", source
        elif isinstance(source, dict) and len(source) == 1 and set(source) <= set(_KINDS):
            kind, ref = next(iter(source.items()))
        else:
            kinds = ", ".join(f"{{{kind}: ..}}" for kind in _KINDS)
            yield f"option {name} must be a setting, or one of {kinds}"
            continue
        if kind in ("setting", "origin") and ref not in settings:
            yield f"option {name}: unknown setting {ref}{did_you_mean(ref, settings)}"
        if kind == "item":
            yield from (f"option {name}: {reason}" for reason in _field_faults(rulebook, row, str(ref)))
        if kind == "each":
            yield from (f"option {name}: {reason}" for reason in _each_faults(settings, str(ref)))
        if kind == "port" and (ref not in settings or settings[ref].type != "integer"):
            yield f"option {name}: {ref} is not a setting of type integer"
        if kind == "group" and ref not in rulebook.registry.groups:
            yield f"option {name}: unknown group of settings {ref}{did_you_mean(ref, rulebook.registry.groups)}"


def _timeout_faults(settings: Mapping[str, Setting], row: DriverRow) -> Iterator[str]:
    timeout = row.timeout
    if isinstance(timeout, dict):
        path = timeout.get("setting")
        setting = settings.get(path) if isinstance(path, str) else None
        if list(timeout) != ["setting"] or setting is None or setting.type != "duration":
            yield "`timeout` must be a duration, or {setting: ..} of a setting that is one"
    elif timeout is not None:
        try:
            parse_duration(str(timeout))
        except ValueError as error:
            yield f"`timeout`: {error}"


def _address_faults(rulebook: Rulebook, row: DriverRow, address: AddressRow) -> Iterator[str]:
    settings = rulebook.registry.settings
    for text in address.texts:
        for name in _PLACEHOLDER.findall(text):
            path, listed, field = name.partition("[].")
            if listed and path == _list_of(rulebook, row):
                yield from (f"address {text}: {reason}" for reason in _field_faults(rulebook, row, field))
            elif listed or name not in settings:
                yield f"address {text}: unknown setting {name}{did_you_mean(name, settings)}"
    yield from (f"address {address.texts[0]}: {reason}" for reason in _condition_faults(settings, address.when))


def _condition_faults(settings: Mapping[str, Setting], when: Condition) -> Iterator[str]:
    for path, value in when.items():
        if path not in settings:
            yield f"unknown setting {path}{did_you_mean(path, settings)}"
        elif not _may_be(settings[path], value):
            yield f"{path} is never {_written(value)}"


def _may_be(setting: Setting, value: object) -> bool:
    """Return True if a setting may have exactly this value, which is compared as it is written here."""
    if setting.type in ("list", "map") or (setting.values and value not in setting.values):
        return False
    try:
        taken = from_text(setting, value, "/") if isinstance(value, str) else from_yaml(setting, value, str(value), "/")
    except ValueError:
        return False
    return bool(taken == value)


def _written(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
