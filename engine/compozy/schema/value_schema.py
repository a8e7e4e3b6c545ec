"""JSON Schemas of single values: the domain of a setting, and the values that satisfy a condition of a table.

A condition that no schema can express gives None. A text with `${VAR}` may expand to any value, so it satisfies none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from compozy.settings.registry import Setting
from compozy.settings.row_faults import TEXTS
from compozy.settings.values import DURATION, MEMORY, SIZE, form
from compozy.settings.views import VIEWS, Seen
from compozy.tables.table import Condition, Interval, Scalar, is_number

Schema: TypeAlias = dict[str, Any]

VARIABLE: Schema = {"$ref": "#/$defs/variable"}
NULL: Schema = {"type": "null"}
BLANK: Schema = {"type": "string", "pattern": r"^\s*$"}
NEVER: Schema = {"not": {}}
DEFINITIONS: Mapping[str, Schema] = {
    "variable": {
        "description": "A text with a variable, expanded when the file is read.",
        "type": "string",
        "pattern": r"(?:^|[^$])(?:\$\$)*\$\{[A-Za-z_]",
    },
    "duration": {
        "description": "A duration such as 500ms, 5m or 168h.",
        "anyOf": [{"const": 0}, {"type": "string", "pattern": rf"^\s*(?:{DURATION}|-?0(?:\.0*)?)\s*$"}],
    },
    "size": {
        "description": "A size such as 512KB, 64MiB or 1GB.",
        "anyOf": [{"const": 0}, {"type": "string", "pattern": rf"^\s*(?:{SIZE}|-?0(?:\.0*)?)\s*$"}],
    },
}
_PLAIN: Mapping[str, Schema] = {
    **dict.fromkeys(TEXTS, {"type": ["string", "number", "boolean", "null"]}),
    "integer": {"type": ["integer", "null"]},
    "number": {"type": ["number", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "list": {"type": ["array", "null"]},
    "map": {"type": ["object", "null"]},
}
_EMPTY: Schema = {"const": ""}
_CONTROL: Schema = {"type": "string", "pattern": r"[\u0000-\u001f\u007f-\u009f]"}
# A pattern cannot find a path that climbs out further on, such as a/../../b.
_CLIMBING: Schema = {"type": "string", "pattern": r"^(?:\.[/\\]+)*\.\.(?:[/\\]|$)"}
_ZERO_DURATION: Schema = {
    "anyOf": [
        {"const": 0},
        {"type": "string", "pattern": r"^\s*(?:(?:0+(?:\.0+)?(?:ms|us|s|m|h|d))+|-?0(?:\.0*)?)\s*$"},
    ]
}


def value_schema(setting: Setting) -> Schema:
    """Return what may be written for a scalar setting, or the outside of a list or map."""
    if setting.type == "choice":
        return {"anyOf": [{"enum": [*setting.values, *setting.also, None]}, choice_text(setting), BLANK, VARIABLE]}
    if setting.type in ("duration", "size"):
        return {"anyOf": [{"$ref": f"#/$defs/{setting.type}"}, NULL, BLANK, VARIABLE]}
    bounds = {"minimum": setting.minimum, "maximum": setting.maximum, "maxLength": setting.longest}
    plain = {**_PLAIN[setting.type], **{name: bound for name, bound in bounds.items() if bound is not None}}
    pattern = form(setting)
    if pattern is not None and not setting.header:
        empty = BLANK if setting.ignores_empty else _EMPTY
        fits = {**plain, "type": "string", "pattern": rf"^\s*(?:{pattern})\s*$"}
        numbers = [{"type": ["number", "boolean"]}] if setting.type == "host" else []
        return {"anyOf": [empty, fits, *numbers, NULL, VARIABLE]}
    if setting.header:
        plain["pattern"] = rf"^{pattern}(?![\s\S])"
    if setting.type in TEXTS:
        return {"anyOf": [plain, VARIABLE]} if setting.header or setting.longest else plain
    blank = [BLANK] if setting.ignores_empty else []
    return {"anyOf": [plain, *blank, *([VARIABLE] if setting.type not in ("list", "map") else [])]}


def unset(setting: Setting) -> Schema:
    """Return what counts as not set."""
    return any_of([NULL, BLANK]) if setting.ignores_empty else NULL


def choice_text(setting: Setting, wanted: Iterable[Scalar] | None = None) -> Schema:
    """Return the texts that mean one of `wanted` (all values when None): case and blanks around do not count."""
    values = set(setting.values) if wanted is None else set(wanted)
    words = [word for word in setting.values if word in values]
    words += [word for word, value in setting.also.items() if value in values]
    return {"type": "string", "pattern": rf"^\s*(?:{'|'.join(map(_any_case, words))})\s*$"}


def _any_case(word: str) -> str:
    return "".join(f"[{char.upper()}{char}]" if char.isalpha() else re.escape(char) for char in word)


def none_of(*schemas: Schema) -> Schema:
    """Return the complement of these."""
    return {"not": any_of(schemas)}


def any_of(schemas: Iterable[Schema]) -> Schema:
    """Return what is one of these."""
    found = list(schemas)
    return found[0] if len(found) == 1 else {"anyOf": found}


def all_of(schemas: Iterable[Schema]) -> Schema:
    """Return what is all of these."""
    found = list(schemas)
    return found[0] if len(found) == 1 else {"allOf": found}


def written(setting: Setting, view: str | None, condition: Condition) -> Schema | None:
    """Return the written values that satisfy `condition`; None where no schema can express them."""
    if view is None:
        return _written_value(setting, condition)
    classes = dict(_classes(setting, view))
    wanted = [value for value in VIEWS[view].values if condition.matches(value)] if view in VIEWS else [None]
    if any(value not in classes for value in wanted):
        return None
    return any_of([classes[value] for value in wanted]) if wanted else NEVER


def holds_unwritten(setting: Setting, view: str | None, condition: Condition) -> bool:
    """Return True if `condition` holds for the default of the setting, which is not written."""
    if view is None:
        return condition.matches(setting.default)
    return condition.matches(VIEWS[view].look(Seen(setting, setting.default, "default", "/")))


def _classes(setting: Setting, view: str) -> Iterator[tuple[Scalar, Schema]]:
    """Yield each value of a view with the written values that give it, as far as a schema can express them."""
    if view == "given":
        yield from ((True, none_of(unset(setting))), (False, NEVER))
    elif view == "presence":
        yield from (("empty", NEVER if setting.ignores_empty else _EMPTY), ("given", none_of(_EMPTY, unset(setting))))
    elif view == "known":
        yield from (
            ("known", choice_text(setting)),
            ("unknown", none_of(choice_text(setting), VARIABLE, unset(setting))),
        )
    elif view == "in_memory":
        yield from ((True, {"const": MEMORY}), (False, none_of({"const": MEMORY}, VARIABLE, unset(setting))))
    elif view == "path_kind":
        yield from (("memory", {"const": MEMORY}), ("control", all_of([_CONTROL, none_of(unset(setting))])))
        yield "climbing", all_of([_CLIMBING, none_of(_CONTROL)])
    elif view == "directory_kind":
        yield "control", all_of([_CONTROL, none_of(unset(setting))])
        yield "climbing", all_of([_CLIMBING, none_of(_CONTROL)])


def _written_value(setting: Setting, condition: Condition) -> Schema | None:
    listed = _listed(setting, condition)
    if listed is None:
        return None
    if not condition.negated:
        return any_of(listed) if listed else NEVER
    return none_of(*listed, VARIABLE, unset(setting))


def _listed(setting: Setting, condition: Condition) -> list[Schema] | None:
    """Return the values and ranges that a condition lists, negation aside."""
    if setting.type in ("duration", "size"):
        return _listed_amounts(condition)
    values = list(condition.values)
    found: list[Schema] = [{"type": "number", **_bounds(interval)} for interval in condition.intervals]
    if values and setting.type == "choice":
        # A word that is no value of the choice, such as an old one, is still a word.
        others = [value for value in values if value not in setting.values]
        found += [choice_text(setting, values)] if len(others) < len(values) else []
        found += [{"type": "string", "pattern": rf"^\s*{_any_case(str(word))}\s*$"} for word in others]
    elif values:
        found.append({"enum": values} if len(values) > 1 else {"const": values[0]})
    return found


def _listed_amounts(condition: Condition) -> list[Schema] | None:
    """Zero is the only bound that a pattern can compare with."""
    nothing = Interval(high=0)
    if condition.values or any(interval != nothing for interval in condition.intervals):
        return None
    return [_ZERO_DURATION] if condition.intervals else []


def _bounds(interval: Interval) -> Schema:
    found: Schema = {}
    if is_number(interval.low):
        found["exclusiveMinimum" if interval.low_open else "minimum"] = interval.low
    if is_number(interval.high):
        found["exclusiveMaximum" if interval.high_open else "maximum"] = interval.high
    return found
