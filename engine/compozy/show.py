"""What `config show`, the HTTP interface and the tests see of a resolution, without secrets.

What comes in: a `Resolved` record. What goes out: plain JSON values and texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from compozy.resolve import Resolved, Value
from compozy.settings.origin import Finding
from compozy.settings.redact import Redactor


def resolved_json(resolved: Resolved, state: str, findings: Iterable[Finding]) -> dict[str, Any]:
    """Return state, mode, components, every setting with origin and shadowed values, and findings."""
    redactor = resolved.redactor()
    return {
        "state": state,
        "mode": resolved.mode,
        "components": {
            part.name: {"mode": part.mode, "driver": part.driver} for part in resolved.components.values()
        },
        "settings": {path: value_json(resolved, path, value, redactor) for path, value in sorted(resolved.values.items())},
        "findings": [finding.as_json() for finding in findings],
    }


def value_json(resolved: Resolved, path: str, value: Value, redactor: Redactor) -> dict[str, Any]:
    """Return one setting's value, origin and shadowed values."""
    return {
        "value": shown_value(resolved, path, value.value, redactor),
        "origin": value.origin.as_json(),
        "shadowed": [
            {"value": shown_value(resolved, path, lower.value, redactor), "origin": lower.origin.as_json()}
            for lower in value.shadowed
        ],
    }


def shown_value(resolved: Resolved, path: str, value: Any, redactor: Redactor) -> Any:
    """Return `value` of the setting `path` without secrets, also where one is part of another text."""
    return _deep(resolved.shown(path, value), redactor)


def _deep(value: Any, redactor: Redactor) -> Any:
    if isinstance(value, str):
        return redactor.text(value)
    if isinstance(value, list):
        return [_deep(item, redactor) for item in value]
    if isinstance(value, dict):
        return {key: _deep(item, redactor) for key, item in value.items()}
    return value


def shown_text(resolved: Resolved, path: str) -> str:
    """Return the effective value of `path` as one line; unset is `-`."""
    return value_text(resolved.shown(path, resolved.get(path)), resolved.redactor())


def value_text(value: Any, redactor: Redactor) -> str:
    """Return a redacted value as one line; unset is `-`."""
    if value is None:
        return "-"
    return redactor.text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
