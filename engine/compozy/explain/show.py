"""Show a resolution as plain JSON values and text without secrets: `config show`, the HTTP interface, diagnostics."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from compozy.base.control import escape_line
from compozy.base.findings import Finding
from compozy.resolution.resolve import Resolved, Value
from compozy.settings.redact import redact_value
from compozy.settings.registry import Setting
from compozy.settings.values import duration_text, size_text

_UNITS: Mapping[str, Callable[[Any], str]] = {"duration": duration_text, "size": size_text}


class Shown:
    """Shows the values of one resolution; it knows every secret of the configuration."""

    def __init__(self, resolved: Resolved) -> None:
        self.resolved = resolved
        self._settings = resolved.rulebook.registry.settings
        self._redactor = resolved.redactor()

    def plain(self, path: str, value: object) -> Any:
        """Return `value` of the setting `path` as JSON, also where a secret is part of another text."""
        return self._deep(redact_value(self._settings[path], value))

    def line(self, path: str, value: object) -> str:
        """Return `value` of the setting `path` as one line, durations and sizes in units; unset is `-`."""
        return self.words(self._settings[path], self.plain(path, value))

    def words(self, setting: Setting | None, value: object) -> str:
        """Return a value without secrets as one line; `setting` determines its unit."""
        if value is None:
            return "-"
        unit = _UNITS.get(setting.type) if setting else None
        if unit is not None and isinstance(value, int | float):
            return unit(value)
        if isinstance(value, str):
            return escape_line(value) or '""'
        return escape_line(json.dumps(value, ensure_ascii=False, default=str))

    def text(self, text: str) -> str:
        """Return any text without secrets."""
        return self._redactor.text(text)

    def _deep(self, value: object) -> object:
        if isinstance(value, str):
            return self._redactor.text(value)
        if isinstance(value, list | tuple):
            return [self._deep(item) for item in value]
        if isinstance(value, dict):
            return {key: self._deep(item) for key, item in value.items()}
        return value

    def value(self, path: str, value: Value) -> dict[str, object]:
        """Return a setting's value with origin and shadowed values; `text` has the unit of a duration or size."""
        shadowed = [
            {"value": self.plain(path, lower.value), "origin": lower.origin.as_json()} for lower in value.shadowed
        ]
        found = {"value": self.plain(path, value.value), "origin": value.origin.as_json(), "shadowed": shadowed}
        in_units = value.value is not None and self._settings[path].type in _UNITS
        return {**found, "text": self.line(path, value.value)} if in_units else found


def resolved_json(resolved: Resolved, state: str, findings: Iterable[Finding]) -> dict[str, object]:
    """Return state, mode, components, every setting with origin and shadowed values, and findings."""
    shown = Shown(resolved)
    return {
        "state": state,
        "mode": resolved.mode,
        "components": {part.name: {"mode": part.mode, "driver": part.driver} for part in resolved.components.values()},
        "settings": {path: shown.value(path, value) for path, value in sorted(resolved.values.items())},
        "findings": [finding.as_json() for finding in findings],
    }
