"""Any rule file is rejected with places, or it can be used."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from property_tests.choices import Choice, resolved_of

from compozy.errors import RuleTableError
from compozy.resolution.validate import validate
from compozy.rulebook import build_rulebook, check_rules
from compozy.rulebook.files import shipped_texts

PACK = "/pack/rules.yaml"
SHIPPED = {name: yaml.load(text, yaml.CSafeLoader) for name, text in shipped_texts().items()}
WORDS = [
    "settings", "aliases", "machine", "components", "drivers", "states", "transitions", "tables", "table", "extends",
    "replaces", "before", "rows", "inputs", "outputs", "sets", "values", "when", "then", "because", "finding", "hit",
    "stage", "for_each", "setting", "decision", "item", "view", "output", "not", "is", "in", "at_least", "above",
    "path", "type", "help", "id", "mode", "memory", "unset", "any", "set", "unique", "first", "collect", "resolve",
    "validate", "redis.mode", "server.port", "equals mode", "known", "problems", "text", "integer", "default", "items",
]  # fmt: skip
SCALARS = st.one_of(
    st.sampled_from(WORDS), st.none(), st.booleans(), st.integers(-3, 70000), st.floats(), st.text(max_size=6)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), inner, max_size=5),
    ),
    max_leaves=12,
)
TRIES = settings(max_examples=30)


def as_yaml(content: Any) -> str:
    return str(yaml.dump(content, Dumper=yaml.CSafeDumper, allow_unicode=True))


def check_usable_or_refused(texts: dict[str, str]) -> None:
    """Reading either refuses with every reason, or gives rules with which an empty configuration resolves."""
    result = check_rules(texts)
    assert all(report.message for report in result.findings)
    if result.valid and result.rulebook is not None:
        validate(resolved_of(result.rulebook, Choice()))
        return
    assert result.findings
    if result.rulebook is None:
        with pytest.raises(RuleTableError):
            build_rulebook(texts)


def bent(data: st.DataObject, content: Any) -> Any:
    """Return plain content with one node of it replaced, removed or repeated."""
    if not isinstance(content, dict | list) or not content or data.draw(st.integers(0, 5)) == 0:
        return data.draw(VALUES)
    key = data.draw(st.sampled_from(sorted(content) if isinstance(content, dict) else list(range(len(content)))))
    action = data.draw(st.sampled_from(["descend", "descend", "descend", "remove", "repeat"]))
    if action == "remove":
        del content[key]
    elif action == "repeat" and isinstance(content, list):
        content.append(deepcopy(content[key]))
    elif action == "repeat":
        content[data.draw(st.sampled_from(WORDS))] = deepcopy(content[key])
    else:
        content[key] = bent(data, content[key])
    return content


@TRIES
@given(st.data(), st.sampled_from(sorted(SHIPPED)))
def test_a_shipped_file_with_one_node_bent(data: st.DataObject, name: str) -> None:
    """A wrong shape anywhere, a missing key, a repeated row."""
    content = bent(data, deepcopy(SHIPPED[name]))
    check_usable_or_refused({**shipped_texts(), name: as_yaml(content)})


@TRIES
@given(st.data(), st.sampled_from(sorted(SHIPPED)))
def test_pack_similar_to_a_shipped_file(data: st.DataObject, name: str) -> None:
    """Rows that collide with shipped ones, tables that come twice."""
    content = bent(data, deepcopy(SHIPPED[name]))
    check_usable_or_refused({**shipped_texts(), PACK: as_yaml(content)})


@TRIES
@given(VALUES)
def test_a_pack_of_any_values(content: Any) -> None:
    """Known words in unexpected places."""
    check_usable_or_refused({**shipped_texts(), PACK: as_yaml(content)})


@TRIES
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from([*WORDS, ":", "- ", "{", "}", "[", "]", "\n", "  ", "&a ", "*a", "!!x "]), max_size=25
        ).map("".join),
    )
)
def test_a_pack_of_any_text(text: str) -> None:
    """Not even YAML."""
    check_usable_or_refused({**shipped_texts(), PACK: text})


@TRIES
@given(st.data(), st.sampled_from(sorted(SHIPPED)))
def test_a_shipped_file_with_its_lines_mixed_up(data: st.DataObject, name: str) -> None:
    """A line lost, repeated, cut or moved."""
    lines = shipped_texts()[name].splitlines()
    at, other = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    action = data.draw(st.sampled_from(["lose", "repeat", "cut", "move"]))
    if action == "lose":
        del lines[at]
    elif action == "repeat":
        lines.insert(other, lines[at])
    elif action == "cut":
        lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
    else:
        lines.insert(other, lines.pop(at))
    check_usable_or_refused({**shipped_texts(), name: "\n".join(lines)})
