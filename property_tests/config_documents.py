"""Strategies for configuration documents, derived from the registry: a new setting is fuzzed without a new test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from compozy.rulebook import load_rulebook
from compozy.settings.registry import Setting

REGISTRY = load_rulebook().registry
DURATIONS = ("0", "0s", "500ms", "5m", "1h30m", "168h", " 2s ")
WORDS = ("", "a", "localhost", "0.0.0.0", ":memory:", "./data/x.db", "../x", "a\tb", "http://u:p@h/x?token=t", "db:1")
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-2, 70_000),
        st.sampled_from([0.0, 1.5, -1.0, 5.0, 1e300]),
        st.text("aBmM019.:/-_ \t\né", max_size=8),
    ),
    lambda below: st.one_of(
        st.lists(below, max_size=2), st.dictionaries(st.text("abx-_", max_size=4), below, max_size=2)
    ),
    max_leaves=4,
)
NUMBERS = st.sampled_from([0, 1, 3, 10, 11, 50, 7233, 8080, 8233, 65535, 65536, -1, 5.0])


def values(setting: Setting) -> st.SearchStrategy[Any]:
    """Return a strategy for valid and nearly valid values of a setting."""
    if setting.items:
        fields = {name: values(item) for item in setting.items.values() for name in (item.path, *item.aliases)}
        chosen = st.dictionaries(st.sampled_from(sorted(fields)), st.none(), max_size=4)
        filled = chosen.flatmap(_filled(fields))
        return filled if setting.type == "map" else st.lists(filled, max_size=2)
    if setting.of:
        return st.lists(st.one_of(values(setting.element), JUNK), max_size=2)
    if setting.splits:
        return st.sampled_from(["cache", "cache:6380", "[::1]:6379"])
    if setting.type == "choice":
        return st.sampled_from([*setting.values, *setting.also]).flatmap(_disguised)
    return {
        "integer": NUMBERS,
        "number": NUMBERS,
        "boolean": st.booleans(),
        "duration": st.sampled_from([*DURATIONS, 0]),
        "size": st.sampled_from(["1KiB", "64 mb", 0]),
        "list": st.lists(JUNK, max_size=2),
        "map": st.dictionaries(st.text("ab", max_size=2), JUNK, max_size=2),
    }.get(setting.type, st.sampled_from(WORDS))


def _disguised(word: str) -> st.SearchStrategy[str]:
    return st.sampled_from([word, word.upper(), f" {word.title()} "])


def _filled(fields: Mapping[str, st.SearchStrategy[Any]]) -> Any:
    def build(chosen: Mapping[str, None]) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({name: fields[name] for name in chosen}).map(_tree)

    return build


def _tree(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mappings; of two names that exclude each other the first stays."""
    root: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, key = name.split(".")
        here: Any = root
        for group in groups:
            here = here.setdefault(group, {}) if isinstance(here, dict) else None
        if isinstance(here, dict):
            here.setdefault(key, value)
    return root


_SPELLED = sorted(REGISTRY.spelled)
_ONE = st.sampled_from(_SPELLED).flatmap(
    lambda name: st.tuples(st.just(name), values(REGISTRY.settings[REGISTRY.spelled[name]]))
)
_OFTEN = ["mode", "database.driver", "temporal.mode", "redis.mode", "database.url", "redis.url", "database.host"]
_DECISIVE = st.sampled_from([*_OFTEN, "vector_dbs"]).flatmap(
    lambda name: st.tuples(st.just(name), values(REGISTRY.settings[REGISTRY.spelled[name]]))
)
_NAMES = st.one_of(
    st.sampled_from(_SPELLED), st.sampled_from(sorted(REGISTRY.groups)), st.text("abx-.", min_size=1, max_size=5)
)
_WRONG = st.tuples(_NAMES, JUNK)

VALID = st.lists(st.one_of(_ONE, _DECISIVE), max_size=8).map(lambda pairs: _tree(dict(pairs)))
MUTATED = st.lists(st.one_of(_ONE, _DECISIVE, _WRONG), max_size=8).map(lambda pairs: _tree(dict(pairs)))
DOCUMENTS: st.SearchStrategy[Any] = st.one_of(VALID, MUTATED, JUNK)


def as_text(document: Any) -> str:
    """Return a document as YAML; JSON is YAML."""
    return json.dumps(document)
