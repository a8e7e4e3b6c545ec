"""Rewrite a configuration of an earlier version by the rows of `rules/migrate/`.

Edits go by the positions of YAML nodes, so that comments, order and quoting stay. What a row replaced, no row replaces
again: a second run changes nothing.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator
from dataclasses import field
from typing import Any

import yaml

from compozy.base.document import read_document
from compozy.base.place import Place
from compozy.base.record import dataclass
from compozy.base.source_file import SourceFiles
from compozy.base.yaml_text import UneditableError, YamlText, node_end
from compozy.resolution.configuration import read_sources
from compozy.resolution.resolve import Resolved, resolve
from compozy.rulebook import Rulebook
from compozy.rulebook.migrations import Migration
from compozy.settings.sources import Inputs

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
# The mode whose components keep only what a path or a switch names.
_FORGETS = "memory"


@dataclass(frozen=True, slots=True)
class FileChange:
    """A change by `row` at `place`, where `before` becomes `after`; `obstacle` is why it was not made, or empty."""

    row: Migration
    place: Place
    before: str
    after: str
    obstacle: str

    @property
    def needs_consent(self) -> bool:
        """True if the change was left out because it is unsafe."""
        return self.obstacle == UNSAFE


UNSAFE = "unsafe"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The text after the changes; it may hold secrets and does not show in `repr`."""

    text: str = field(repr=False)
    changes: tuple[FileChange, ...]


class ObstacleError(ValueError):
    """A change that cannot be made by positions; the message is the reason."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A key of a mapping with its value."""

    key: yaml.ScalarNode
    value: yaml.Node

    def place(self, file: str) -> Place:
        mark = self.key.start_mark
        return Place(file, mark.line + 1, mark.column + 1, len(self.key.value))


def rewrite(rulebook: Rulebook, text: str, file: str, *, to: str | None = None, unsafe: bool = False) -> Rewrite:
    """Return `text`, the configuration `file`, in the present form.

    `to` is the mode that takes the place of an old one; unsafe changes are made with `unsafe` only.

    Raises:
        SyntaxProblem: the text is not YAML, or names a key twice.
    """
    # Refuses invalid YAML and keys that are written twice, before anything is edited.
    read_document(text, file)
    original, changes = text, list[FileChange]()
    for row in rulebook.migrations:
        for key in row.keys:
            # Edits shift positions: the place to report is that of the original, the one to edit that of the present
            # text.
            entry, origin = _entry(text, key), _entry(original, key)
            if entry is None or origin is None or not _applies(rulebook, row, key, entry, text, file, to):
                continue
            before, after = (row.value, row.becomes) if row.value else (key, row.becomes)
            obstacle = "" if row.safe or unsafe else UNSAFE
            try:
                text = text if obstacle else _edited(text, key, entry, row)
            except (ObstacleError, UneditableError) as error:
                obstacle = str(error)
            named = f"{key}: " if row.value else ""
            changes.append(FileChange(row, origin.place(file), named + before, named + after, obstacle))
    return Rewrite(text, tuple(changes))


def _entry(text: str, path: str) -> _Entry | None:
    node = yaml.compose(text, Loader=_LOADER)
    found: _Entry | None = None
    for name in path.split("."):
        if not isinstance(node, yaml.MappingNode):
            return None
        key, node = next((pair for pair in node.value if pair[0].value == name), (None, node))
        if key is None:
            return None
        found = _Entry(key, node)
    return found


def _applies(rulebook: Rulebook, row: Migration, key: str, entry: _Entry, text: str, file: str, to: str | None) -> bool:
    if not row.value:
        return True
    if not isinstance(entry.value, yaml.ScalarNode) or not _value_pattern(row.value).fullmatch(entry.value.value):
        return False
    return row.matches({"to": to, "kept": keeps_data(rulebook, text, file, key)})


def _value_pattern(value: str) -> re.Pattern[str]:
    """Return the pattern of a value, also as the default of a variable."""
    return re.compile(rf"\s*(?:\$\{{\w+:?-\s*{value}\s*\}}|{value})\s*", re.IGNORECASE)


def keeps_data(rulebook: Rulebook, text: str, file: str, key: str) -> bool:
    """Return True if a component whose mode `key` sets keeps data although that mode keeps nothing.

    A path that is not known, because a variable holds it, counts as kept.
    """
    path = os.path.abspath(file)
    inputs = Inputs(os.path.dirname(path), path, {key: _FORGETS}, dotenv=(), files=SourceFiles({path: text}))
    configuration = read_sources(inputs, rulebook)
    # Any machine will do: whether data is kept does not depend on its facts.
    resolved = resolve(configuration, {name: fact.values[0] for name, fact in rulebook.registry.facts.items()})
    settings, spelled = rulebook.registry.settings, rulebook.registry.spelled
    unset = (spelled.get(problem.key) for problem in configuration.problems if problem.kind == "unset-variable")
    return any(settings[name].type == "path" for name in unset if name) or any(_kept_anyway(resolved, key))


def _kept_anyway(resolved: Resolved, key: str) -> Iterator[bool]:
    for part in resolved.components.values():
        own = f"{part.id}.mode"
        follows = key == own if "." in key else own not in resolved.configuration.candidates
        if follows and part.mode == _FORGETS and part.kept is not None:
            yield part.kept


def _edited(text: str, key: str, entry: _Entry, row: Migration) -> str:
    if row.value:
        # The value of an alias stands at its anchor, where other keys use it too.
        if entry.value.start_mark.index < entry.key.end_mark.index:
            raise ObstacleError("its value is an alias (*name)")
        return _replaced(text, entry.value, row.value, row.becomes)
    group, _, name = row.becomes.rpartition(".")
    if _entry(text, row.becomes) is not None:
        raise ObstacleError(f"{row.becomes} exists already")
    if key.rpartition(".")[0] == group:
        return _replaced(text, entry.key, entry.key.value, name)
    return _moved(text, key, group, name)


def _replaced(text: str, node: yaml.Node, old: str, new: str) -> str:
    start, end = node.start_mark.index, node.end_mark.index
    found = [*re.finditer(re.escape(old), text[start:end], re.IGNORECASE)]
    if not found:
        raise ObstacleError("it is written with escapes")
    return text[: start + found[-1].start()] + new + text[start + found[-1].end() :]


def _moved(text: str, key: str, group: str, name: str) -> str:
    """Move a key of the document into a group, which is created at the place of the key if it is missing."""
    document = YamlText(text)
    root: Any = document.root
    entry = next(pair for pair in root.value if pair[0].value == key)
    block: object = document.value(root, group)
    if root.flow_style or entry[0].start_mark.column:
        raise ObstacleError("the document is in flow style, or indented")
    if block is not None and not (isinstance(block, yaml.MappingNode) and block.value and not block.flow_style):
        raise ObstacleError(f"{group} is not in block style, or empty")
    start, end = entry[0].start_mark.index, _line_end(text, node_end(entry[1]))
    indent = " " * (block.value[0][0].start_mark.column if block else 2)
    lines = _replaced(text, entry[0], key, name)[start : end + len(name) - len(key)].splitlines(keepends=True)
    moved = "".join(indent + line if line.strip() else line for line in lines)
    if block is None:
        return f"{text[:start]}{group}:\n{moved}{text[end:]}"
    at = _line_end(text, node_end(block))
    if at <= start:
        return text[:at] + _ended(moved) + text[at:start] + text[end:]
    return text[:start] + _ended(text[end:at]) + moved + text[at:]


def _ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


def _line_end(text: str, index: int) -> int:
    """Return the beginning of the next line."""
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1
