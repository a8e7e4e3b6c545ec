"""The cerberus schema of the registry: types, ranges, lengths, allowed values and formats of settings.

Importing it imports cerberus, so it is imported when there is a value to check.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cerberus import TypeDefinition, Validator
from cerberus.errors import BaseErrorHandler, ErrorDefinition

from compozy.settings.registry import Setting
from compozy.settings.row_faults import TEXTS
from compozy.settings.values import LARGEST, LONGEST_S, form, fully_matches

_NO_FORM = ErrorDefinition(0x100, "form")
_AMOUNTS: Mapping[str, tuple[int | float, int | float]] = {
    "duration": (0, LONGEST_S),
    "size": (0, LARGEST),
    "integer": (-LARGEST, LARGEST),
}


class ErrorCollector(BaseErrorHandler):
    """Gives the errors as cerberus records them, with path, rule, constraint and value."""

    def __call__(self, errors: Iterable[object]) -> tuple[object, ...]:
        """Return the errors of the last validation."""
        return tuple(errors)


class SettingValidator(Validator):
    """A validator that knows the types of settings and the rule `form`, a pattern for the whole text."""

    types_mapping = {
        **Validator.types_mapping,
        **{name: TypeDefinition(name, (str,), ()) for name in (*TEXTS, "choice")},
        "integer": TypeDefinition("integer", (int,), (bool,)),
        "size": TypeDefinition("size", (int,), (bool,)),
        "duration": TypeDefinition("duration", (int, float), (bool,)),
        "map": TypeDefinition("map", (dict,), ()),
    }

    def _validate_form(self, pattern: str, field: str, value: str) -> None:
        """{'type': 'string'}"""  # noqa: D400, D403, D415 - cerberus reads the schema of the rule here
        if not fully_matches(pattern, value):
            self._error(field, _NO_FORM, pattern)


def make_validator(settings: Mapping[str, Setting]) -> SettingValidator:
    """Return a validator of mappings from the names of `settings` to their values."""
    return SettingValidator(cerberus_schema(settings), error_handler=ErrorCollector())


def cerberus_schema(settings: Mapping[str, Setting]) -> dict[str, dict[str, object]]:
    """Return the schema of a flat document: name of a setting -> value as it was read."""
    return {name: _rules(setting) for name, setting in settings.items()}


def _rules(setting: Setting) -> dict[str, object]:
    least, most = _AMOUNTS.get(setting.type, (None, None))
    rules = {
        "allowed": list(setting.allowed) or None,
        "min": least if setting.minimum is None else setting.minimum,
        "max": most if setting.maximum is None else setting.maximum,
        "maxlength": None if setting.of else setting.longest,
        "form": form(setting),
    }
    given = {name: rule for name, rule in rules.items() if rule is not None}
    return {"type": setting.type, "nullable": True, **given}
