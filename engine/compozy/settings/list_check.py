"""Check the fields of list elements against other fields and other lists, as their rows of the registry state it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from compozy.base.suggest import closest
from compozy.settings.origin import Candidate, Problem
from compozy.settings.registry import Setting


def list_problems(settings: Mapping[str, Setting], candidates: Mapping[str, Candidate]) -> Iterator[Problem]:
    """Yield one problem for each field that does not fit beside the other values."""
    for path, candidate in candidates.items():
        for kind, key, facts in _elements(settings[path], path, candidate.value, candidates, settings):
            element = candidate.parts.get(key[: key.rindex("]") + 1], candidate.origin)
            yield Problem(kind, key, candidate.parts.get(key, element), facts)


Found = tuple[str, str, dict[str, str]]


def _elements(
    setting: Setting, path: str, value: object, candidates: Mapping[str, Candidate], settings: Mapping[str, Setting]
) -> Iterator[Found]:
    for at, element in enumerate(value if setting.items and isinstance(value, list) else ()):
        for item in setting.items.values() if isinstance(element, dict) else ():
            key = f"{path}[{at}].{item.path}"
            given = element.get(item.path)
            if item.below:
                yield from _not_below(item, key, setting.items[item.below], element)
            if given is None:
                yield from _missing(item, f"{path}[{at}]", element)
                continue
            yield from _elements(item, key, given, candidates, settings)
            if item.refers:
                listed = candidates[item.refers].value if item.refers in candidates else ()
                yield from _dangling(item, key, given, [one.get(settings[item.refers].key_field) for one in listed])
            if item.inside and (PurePath(given).is_absolute() or ".." in PurePath(given).parts):
                yield "climbing", key, {"value": given}


def _missing(item: Setting, key: str, element: Mapping[str, object]) -> Iterator[Found]:
    """Yield a field that is not set although another field has one of the values that need it."""
    for need in item.needed_for:
        field, _, value = need.partition("=")
        if element.get(field) == value:
            yield "missing-field", key, {"field": item.path, "because": f"{field}: {value}"}


def _dangling(item: Setting, key: str, given: object, names: Sequence[object]) -> Iterator[Found]:
    if given not in names:
        suggestion = closest(str(given), [str(name) for name in names if name]) or ""
        yield "unknown-reference", key, {"value": str(given), "list": item.refers, "suggestion": suggestion}


def _not_below(item: Setting, key: str, other: Setting, element: Mapping[str, Any]) -> Iterator[Found]:
    value, limit = element.get(item.path, item.default), element.get(other.path, other.default)
    whole = type(value) is int and type(limit) is int
    if whole and item.accepts(value) and other.accepts(limit) and value >= limit:
        yield "not-below", key, {"value": str(value), "field": other.path, "limit": str(limit)}
