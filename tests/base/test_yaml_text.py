"""Edits of YAML by the positions of its nodes leave everything else as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from compozy.base.yaml_text import UneditableError, YamlText

TEXT = """\
# above
rows:
    # of a
  - {id: a,   when: {x: 1, y: [2,
      3]}, "then": {z: 'q'}}   # behind a
  - id:   b  # the id
    when:
      x: 1   # one
      y:
        not: 2  # two
    note: |
      a # text
    because: "two
  lines"  # end

  # before c
  - {id: c}
tail: [ {id: d}, {id: e, k: v} ]   # kept
"""


A, B, C, D, E = "abcde"


@dataclass
class Found:
    """A row: its sequence, its position there, and itself."""

    sequence: yaml.SequenceNode
    at: int
    mapping: yaml.MappingNode


def found(document: YamlText, row_id: str) -> Found:
    assert document.root is not None
    for _, rows in document.root.value:
        for at, item in enumerate(rows.value):
            name = document.value(item, "id")
            if name is not None and name.value == row_id:
                return Found(rows, at, item)
    raise LookupError(row_id)


def edited(edit: str, word: str, *args: str) -> str:
    document = YamlText(TEXT)
    row = found(document, word)
    when: Any = document.value(row.mapping, "when")
    if edit == "remove":
        document.remove_item(row.sequence, row.at)
    elif edit == "append":
        document.append_item(row.sequence, "{id: new}")
    elif edit == "set":
        document.set_value(when, *args)
    elif edit == "drop":
        document.remove_key(when, *args)
    elif edit == "drop-here":
        document.remove_key(row.mapping, *args)
    return document.text


@pytest.mark.parametrize(
    ("edit", "word", "args", "old", "new"),
    [
        pytest.param("remove", A, (), """\
  - {id: a,   when: {x: 1, y: [2,
      3]}, "then": {z: 'q'}}   # behind a
""", "  # behind a\n", id="item-in-block"),
        pytest.param("remove", C, (), "  - {id: c}\n", "", id="last-item"),
        pytest.param("remove", D, (), "{id: d}, ", "", id="item-in-flow"),
        pytest.param("remove", E, (), ", {id: e, k: v}", "", id="last-item-in-flow"),
        pytest.param("append", C, (), "  - {id: c}\n", "  - {id: c}\n  - {id: new}\n", id="append-to-block"),
        pytest.param("append", D, (), ", k: v}", ", k: v}, {id: new}", id="append-to-flow"),
        pytest.param("set", A, ("x", "[1, 2]"), "{x: 1,", "{x: [1, 2],", id="set-in-flow"),
        pytest.param("set", B, ("x", "any"), "x: 1 ", "x: any ", id="set-in-block"),
        pytest.param("set", B, ("y", "3"), "      y:\n        not: 2", "      y: 3", id="set-a-block"),
        pytest.param("drop", A, ("x",), "{x: 1, y", "{y", id="first-key-in-flow"),
        pytest.param("drop", A, ("y",), ", y: [2,\n      3]", "", id="last-key-in-flow"),
        pytest.param("drop", B, ("x",), "      x: 1   # one\n", "      # one\n", id="key-in-block"),
        pytest.param("drop", B, ("y",), "      y:\n        not: 2  # two\n", "      # two\n", id="last-key-in-block"),
        pytest.param("drop-here", B, ("id",), "  - id:   b  # the id\n    when", "  # the id\n  - when",
                     id="key-at-dash"),
        pytest.param("drop-here", B, ("because",), '    because: "two\n  lines"  # end\n', "    # end\n", id="quoted"),
        pytest.param("drop-here", B, ("note",), "    note: |\n      a # text\n", "", id="block-scalar"),
    ],
)  # fmt: skip
def test_an_edit_changes_its_span_only(edit: str, word: str, args: tuple[str, ...], old: str, new: str) -> None:
    assert TEXT.count(old) == 1
    assert edited(edit, word, *args) == TEXT.replace(old, new)
    yaml.safe_load(edited(edit, word, *args))


def test_the_only_item_or_key_leaves_an_empty_collection() -> None:
    document = YamlText("rows:\n  - {id: a, when: {x: 1}}  # c\n")
    row = found(document, "a")
    document.remove_key(document.value(row.mapping, "when"), "x")  # type: ignore[arg-type]
    assert document.text == "rows:\n  - {id: a, when: {}}  # c\n"
    row = found(document, "a")
    document.remove_item(row.sequence, row.at)
    assert yaml.safe_load(document.text) == {"rows": []}
    document.append_item(document.value(document.root, "rows"), "{id: b}")  # type: ignore[arg-type]
    assert yaml.safe_load(document.text) == {"rows": [{"id": "b"}]}
    assert "# c" in document.text


def test_a_comment_is_not_moved_into_a_quoted_text() -> None:
    document = YamlText('rows:\n  - {note: "two\n    lines", when: {x: 1,  # x\n      y: 2}, id: a}\n')
    row = found(document, "a")
    document.remove_key(document.value(row.mapping, "when"), "x")  # type: ignore[arg-type]
    assert yaml.safe_load(document.text) == {"rows": [{"note": "two lines", "when": {"y": 2}, "id": "a"}]}
    assert "# x" in document.text


def test_a_document_with_aliases_is_refused() -> None:
    with pytest.raises(UneditableError, match="aliases"):
        YamlText("a: &x [1]\nb: *x\n")


def test_a_file_without_newline_at_its_end() -> None:
    document = YamlText("rows:\n  - {id: a}\n  - {id: b}")
    row = found(document, "a")
    document.append_item(row.sequence, "{id: c}")
    assert document.text == "rows:\n  - {id: a}\n  - {id: b}\n  - {id: c}"
    row = found(document, "c")
    document.remove_item(row.sequence, row.at)
    assert document.text == "rows:\n  - {id: a}\n  - {id: b}"
