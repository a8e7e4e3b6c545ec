"""Pass secrets to tools without exposing them to templates, Temporal or results.

A workflow names a secret as a whole argument of a tool, `with: {key: "{{ secrets.NAME }}"}`. Only the name crosses
Temporal; the worker that calls the tool fills the value in and takes it out of the result again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from compozy.settings.redact import REDACTED
from compozy.workflows.model.tool_failure import ToolFailure

_SECRET = re.compile(r"\s*\{\{\s*secrets\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}\s*\Z")
# Shorter secrets occur in nearly every text by chance.
_SHORTEST = 4
Places = list[list[Any]]


def secret_name(text: str) -> str | None:
    """Return the name of the secret that a text stands for.

    >>> secret_name("{{ secrets.TOKEN }}"), secret_name("Bearer {{ secrets.TOKEN }}")
    ('TOKEN', None)
    """
    found = _SECRET.match(text)
    return found[1] if found else None


def split_secrets(value: object, path: tuple[object, ...] = ()) -> tuple[object, Places]:
    """Return a value with null in the place of secrets, and these places: a list of [name, key or index, ...].

    >>> split_secrets({"key": "{{ secrets.TOKEN }}", "n": 1})
    ({'key': None, 'n': 1}, [['TOKEN', 'key']])
    """
    if isinstance(value, str):
        name = secret_name(value)
        return (value, []) if name is None else (None, [[name, *path]])
    if not isinstance(value, (Mapping, list)):
        return value, []
    places: Places = []
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    parts = {}
    for key, item in items:
        parts[key], found = split_secrets(item, (*path, key))
        places += found
    return (parts if isinstance(value, Mapping) else list(parts.values())), places


def fill_secrets(arguments: dict[str, object], places: Places, secrets: Mapping[str, str]) -> None:
    """Put secrets into their places.

    Raises:
        ToolFailure: the project has no such secret.
    """
    for name, *path in places:
        if name not in secrets:
            reason = f'unknown secret "{name}"; declare it under secrets: in compozy.yaml'
            raise ToolFailure("ToolSecret", reason, final=True)
        holder: Any = arguments
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = secrets[name]


def without_secrets(value: object, secrets: Mapping[str, str]) -> object:
    """Return a result in which the values of secrets are redacted; those below four characters stay."""
    # The longest first: a secret that contains another one is replaced as a whole.
    long = sorted((secret for secret in secrets.values() if len(secret) >= _SHORTEST), key=len, reverse=True)
    return _redacted(value, re.compile("|".join(map(re.escape, long)))) if long else value


def _redacted(value: object, pattern: re.Pattern[str]) -> object:
    if isinstance(value, str):
        return pattern.sub(REDACTED, value)
    if isinstance(value, dict):
        return {pattern.sub(REDACTED, key): _redacted(item, pattern) for key, item in value.items()}
    return [_redacted(item, pattern) for item in value] if isinstance(value, list) else value
