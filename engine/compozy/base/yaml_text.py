"""Edit the text of a YAML document by the positions of its nodes: what is not edited stays as it is, byte by byte.

Comments inside a removed span move to the line above it.
"""

from __future__ import annotations

import re

import yaml

_COMMENT = re.compile(r"#[^\n]*")


class UneditableError(ValueError):
    """The document uses what cannot be edited by positions."""


class YamlText:
    """A document and its text; every edit replaces `text` and reads it again.

    Raises:
        UneditableError: the document has aliases, whose content stands elsewhere.
    """

    def __init__(self, text: str) -> None:
        self._read(text)

    def _read(self, text: str) -> None:
        self.text = text
        self.root = yaml.compose(text, Loader=yaml.SafeLoader)
        self._tokens = [t for t in yaml.scan(text, Loader=yaml.SafeLoader) if t.end_mark.index > t.start_mark.index]
        if any(isinstance(token, yaml.AliasToken) for token in self._tokens):
            raise UneditableError("it has aliases (*name)")

    def value(self, mapping: yaml.MappingNode, key: str) -> yaml.Node | None:
        """Return the value of a key; None when the mapping has no such key."""
        return next((value for name, value in mapping.value if name.value == key), None)

    def set_value(self, mapping: yaml.MappingNode, key: str, text: str) -> None:
        """Replace the value of a key by a text in flow style."""
        name, value = next(pair for pair in mapping.value if pair[0].value == key)
        if value.start_mark.line == name.end_mark.line and value.start_mark.index < node_end(value):
            self._replace(value.start_mark.index, node_end(value), text)
        else:
            self._replace(name.end_mark.index, max(node_end(value), self._colon(name) + 1), f": {text}")

    def remove_key(self, mapping: yaml.MappingNode, key: str) -> None:
        """Remove a key with its value; a mapping without further keys is left empty."""
        at = next(number for number, (name, _) in enumerate(mapping.value) if name.value == key)
        name, value = mapping.value[at]
        if len(mapping.value) == 1:
            self._replace(mapping.start_mark.index, node_end(mapping), "{}")
        elif not mapping.flow_style and self._begins_line(name.start_mark.index):
            self._remove_lines(name.start_mark.index, node_end(value))
        elif at + 1 < len(mapping.value):
            self._replace(name.start_mark.index, mapping.value[at + 1][0].start_mark.index, "")
        else:
            self._replace(node_end(mapping.value[at - 1][1]), node_end(value), "")

    def remove_item(self, sequence: yaml.SequenceNode, at: int) -> None:
        """Remove an item of a sequence; a sequence without further items is left empty."""
        item = sequence.value[at]
        start = item.start_mark.index if sequence.flow_style else self._dash(item)
        if len(sequence.value) == 1:
            self._replace(sequence.start_mark.index, node_end(sequence), "[]")
        elif not sequence.flow_style and self._begins_line(start):
            self._remove_lines(start, node_end(item))
        elif at + 1 < len(sequence.value):
            following = sequence.value[at + 1]
            self._replace(start, following.start_mark.index if sequence.flow_style else self._dash(following), "")
        else:
            self._replace(node_end(sequence.value[at - 1]), node_end(item), "")

    def append_item(self, sequence: yaml.SequenceNode, text: str) -> None:
        """Add an item at the end of a sequence; in block style, its further lines are indented."""
        last = sequence.value[-1] if sequence.value else None
        if last is None:
            self._replace(sequence.start_mark.index, node_end(sequence), f"[{text}]")
        elif sequence.flow_style:
            self._replace(node_end(last), node_end(last), f", {text}")
        else:
            dash, end = self._dash(last), self._line_end(node_end(last))
            indent = " " * (dash - self._line_start(dash))
            self._replace(end, end, f"\n{indent}- " + text.replace("\n", f"\n{indent}  "))

    def append_key(self, mapping: yaml.MappingNode, key: str, text: str) -> None:
        """Add a key with a value in flow style at the end of a mapping that is not empty."""
        name, value = mapping.value[-1]
        indent = " " * name.start_mark.column
        end = node_end(value) if mapping.flow_style else self._line_end(node_end(value))
        self._replace(end, end, f", {key}: {text}" if mapping.flow_style else f"\n{indent}{key}: {text}")

    # spans

    def _replace(self, start: int, end: int, text: str) -> None:
        lost = self._comments(start, end)
        above = self._line_start(start)
        indent = self.text[above : above + len(self.text[above:]) - len(self.text[above:].lstrip(" "))]
        # A line may begin inside a quoted text, where a comment would be content.
        above = next((self._line_start(t.start_mark.index) for t in self._tokens if _holds(t, above)), above)
        kept = "".join(f"{indent}{comment}\n" for comment in lost)
        self._read(self.text[:above] + kept + self.text[above:start] + text + self.text[end:])

    def _remove_lines(self, start: int, end: int) -> None:
        first, last = self._line_start(start), self._line_end(end)
        if last < len(self.text):
            self._replace(first, last + 1, "")
        else:
            self._replace(max(first - 1, 0), last, "")

    def _comments(self, start: int, end: int) -> list[str]:
        inside = [t for t in self._tokens if t.end_mark.index > start and t.start_mark.index < end]
        bounds = [start, *(mark for t in inside for mark in (t.start_mark.index, t.end_mark.index)), end]
        gaps = zip(bounds[::2], bounds[1::2], strict=True)
        return [comment for first, last in gaps for comment in _COMMENT.findall(self.text[first:last])]

    def _dash(self, item: yaml.Node) -> int:
        dashes = (t.start_mark.index for t in self._tokens if isinstance(t, yaml.BlockEntryToken))
        found: int = max(dash for dash in dashes if dash < item.start_mark.index)
        return found

    def _colon(self, name: yaml.Node) -> int:
        colons = (t.start_mark.index for t in self._tokens if isinstance(t, yaml.ValueToken))
        found: int = min(colon for colon in colons if colon >= name.end_mark.index)
        return found

    def _begins_line(self, index: int) -> bool:
        return not self.text[self._line_start(index) : index].strip()

    def _line_start(self, index: int) -> int:
        return self.text.rfind("\n", 0, index) + 1

    def _line_end(self, index: int) -> int:
        found = self.text.find("\n", index)
        return len(self.text) if found < 0 else found


def node_end(node: yaml.Node) -> int:
    """Return where a node ends; a collection in block style ends with its last value, not before the next token."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        return max(max(node_end(name), node_end(value)) for name, value in node.value)
    if isinstance(node, yaml.SequenceNode) and not node.flow_style:
        return max(node_end(item) for item in node.value)
    end: int = node.end_mark.index
    # The end of a block scalar is the beginning of the line after it.
    return end - 1 if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">") else end


def _holds(token: yaml.Token, index: int) -> bool:
    inside: bool = token.start_mark.index < index < token.end_mark.index
    return inside
