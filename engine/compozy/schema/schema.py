"""JSON Schemas (draft 2020-12) of `compozy.yaml` and of the output of `config show --format json`, packs included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from compozy.base.manual import schema_url
from compozy.rulebook.rule_records import Rulebook
from compozy.schema.conditions import Constraints, constraints
from compozy.schema.value_schema import DEFINITIONS, NULL, Schema, value_schema
from compozy.settings.redact import REDACTED
from compozy.settings.registry import Setting

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_FREE_KEYS: Schema = {"^x-": {}}


def file_schema(rulebook: Rulebook, name: str) -> Schema:
    """Return the schema of the configuration file, which `name` publishes: every setting by each of its spellings."""
    found = constraints(rulebook)
    registry = rulebook.registry
    root = _group({spelled: _property(registry.settings[path], found) for spelled, path in registry.spelled.items()})
    return {
        "$schema": DRAFT,
        "$id": schema_url(name),
        "title": "compozy.yaml",
        "description": "Configuration of Compozy. Keys that start with x- are free; null means not set.",
        **root,
        "allOf": found.whole,
        "$defs": {**DEFINITIONS, **found.definitions},
    }


def _group(properties: Mapping[str, Schema]) -> Schema:
    """Return the object that holds settings under dotted names."""
    here: dict[str, Schema] = {}
    below: dict[str, dict[str, Schema]] = {}
    for name, schema in properties.items():
        first, dot, rest = name.partition(".")
        if dot:
            below.setdefault(first, {})[rest] = schema
        else:
            here[first] = schema
    groups = {name: _group(found) for name, found in below.items()}
    return {
        "type": ["object", "null"],
        "properties": {**here, **groups},
        "patternProperties": _FREE_KEYS,
        "additionalProperties": False,
    }


def _property(setting: Setting, found: Constraints) -> Schema:
    schema = _described(setting)
    refused = found.single.get(setting.path, [])
    return {**schema, "allOf": refused} if refused else schema


def _about(setting: Setting) -> Schema:
    default = {} if setting.shown_default is None else {"default": setting.shown_default}
    return {"description": "\n".join(setting.lines), **default, **({"writeOnly": True} if setting.secret else {})}


def _described(setting: Setting) -> Schema:
    """Return what may be written for a setting, with what a list or a map holds."""
    schema = {**_about(setting), **value_schema(setting)}
    if setting.of:
        schema["items"] = value_schema(setting.element)
    elif setting.items and setting.type == "list":
        schema["items"] = {**_fields(setting.items.values()), "type": "object"}
    elif setting.items:
        fields = _fields(setting.items.values())
        schema |= {name: part for name, part in fields.items() if name != "type"}
    return schema


def _fields(items: Iterable[Setting]) -> Schema:
    spelled = {name: item for item in items for name in (item.path, *item.aliases)}
    return _group({name: _described(item) for name, item in spelled.items()})


_SHOWN: Mapping[str, str] = {
    "integer": "integer", "number": "number", "boolean": "boolean", "duration": "number", "size": "integer",
    "list": "array", "map": "object",
}  # fmt: skip


def shown_schema(rulebook: Rulebook, name: str) -> Schema:
    """Return the schema of what `compozy config show --format json` and `/api/v0/config` answer."""
    registry = rulebook.registry
    part = _object({"mode": {"type": "string"}, "driver": {"type": "string"}})
    settings = {path: _shown_setting(setting) for path, setting in sorted(registry.settings.items())}
    properties = {
        "format_version": {"const": 1},
        "state": {"enum": list(rulebook.lifecycle.states)},
        "mode": {"enum": list(registry.settings["mode"].values)},
        "components": _object({row.id: part for row in rulebook.components if row.for_each is None}),
        "settings": _object(settings),
        "findings": {"type": "array", "items": {"$ref": "#/$defs/finding"}},
    }
    about = "The effective configuration: what `compozy config show --format json` prints, without secrets."
    return {
        "$schema": DRAFT,
        "$id": schema_url(name),
        "title": "compozy config show",
        "description": about,
        **_object(properties),
        "$defs": _shown_definitions(),
    }


def _object(properties: Mapping[str, object], optional: Mapping[str, object] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
    }


def _shown_setting(setting: Setting) -> Schema:
    value: Schema = {"type": [_SHOWN.get(setting.type, "string"), "null"]}
    if setting.secret:
        value = {"enum": [REDACTED, "", None]}
    elif setting.allowed:
        value = {"enum": [*setting.allowed, None]}
    below = _object({"value": value, "origin": {"$ref": "#/$defs/origin"}})
    shown = _object(
        {**below["properties"], "shadowed": {"type": "array", "items": below}}, {"text": {"type": "string"}}
    )
    return {"description": setting.help, **shown}


def _shown_definitions() -> Schema:
    text, line = {"type": "string"}, {"type": "integer", "minimum": 1}
    place = {"file": text, "line": line, "column": line}
    origin = {"kind": {"enum": ["default", "file", "dotenv", "env", "flag", "machine", "rule", "document"]}}
    more = {"name": text, "table": text, "row": text, "variables": {"type": "array", "items": text}}
    words = dict.fromkeys(("id", "message", "details", "hint", "key", "row", "docs"), text)
    finding = {
        "severity": {"enum": ["error", "warning"]},
        "where": {"anyOf": [{"$ref": "#/$defs/origin"}, NULL]},
        "also": {"type": "array", "items": {"$ref": "#/$defs/origin"}},
        "rule": {"anyOf": [_object(place), NULL]},
    }
    return {"origin": _object(origin, {**place, **more}), "finding": _object({**words, **finding})}
