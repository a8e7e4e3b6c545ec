"""A rewritten configuration holds the same values and comments, and a second rewrite changes nothing."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from compozy.resolution.rewrite import rewrite
from compozy.rulebook import load_rulebook

NAME = "compozy.yaml"

_MODES = st.sampled_from(["standalone", "memory", '"standalone"', "remote"])
_STORES = st.sampled_from(
    ["vector_dbs: []", "vector_dbs:\n- {id: a, provider: qdrant}", "knowledge_bases:\n  - id: b # b"]
)
_GROUPS = st.sampled_from(["embedded", "standalone"])
_BLOCKS = st.one_of(
    _MODES.map("mode: {}".format),
    st.builds("temporal:\n  # t\n  mode: {}\n  {}:\n    ui_port: 8234".format, _MODES, _GROUPS),
    st.builds("redis: {{mode: {}, {}: {{engine: auto}}}}".format, _MODES, _GROUPS),
    st.sampled_from(["database:\n  conn_string: 'postgres://h/d'  # url", "database: {path: ./a.db}"]),
    st.just("knowledge:\n  x-a: 1"),
    _STORES, st.just("name: shop"),
)  # fmt: skip


def _key(block: str) -> str:
    return block.partition(":")[0]


@settings(max_examples=60)
@given(
    blocks=st.lists(_BLOCKS, unique_by=_key, max_size=6),
    comments=st.lists(st.sampled_from(["", "# c", "\n# d\n"]), min_size=6, max_size=6),
    to=st.sampled_from([None, "memory", "persistent"]),
    unsafe=st.booleans(),
)
def test_second_rewrite_changes_nothing_and_comments_and_values_survive(
    blocks: list[str], comments: list[str], to: str | None, unsafe: bool
) -> None:
    text = "".join(f"{comment}\n{block}\n" for comment, block in zip(comments, blocks, strict=False))
    once = rewrite(load_rulebook(), text, NAME, to=to, unsafe=unsafe)
    twice = rewrite(load_rulebook(), once.text, NAME, to=to, unsafe=unsafe)
    assert twice.text == once.text
    assert all(change.obstacle for change in twice.changes)
    assert sorted(_comments(once.text)) == sorted(_comments(text))
    assert _leaves(once.text) == _leaves(text)


def _comments(text: str) -> list[str]:
    return [line.partition("#")[2] for line in text.splitlines() if "#" in line]


def _leaves(text: str) -> list[str]:
    """Return the last key and the value of each leaf, old modes and names in their present form."""
    names = {"conn_string": "url", "embedded": "standalone", "knowledge_bases": "bases"}

    def walk(key: str, node: Any) -> list[str]:
        if isinstance(node, dict) and node:
            return [leaf for inner, value in node.items() for leaf in walk(names.get(str(inner), str(inner)), value)]
        return [f"{key}: {'*' if key == 'mode' and node != 'remote' else node}"]

    return sorted(walk("", yaml.safe_load(text) or {}))
