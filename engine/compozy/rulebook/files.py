"""Find and read rule files: the shipped ones and those of rule packs.

What comes in: directories. What goes out: names and texts. Nothing here looks into a text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from compozy.errors import RuleTableError


@lru_cache(maxsize=1)
def shipped_texts() -> Mapping[str, str]:
    """Return the texts of the shipped rule files by name; they do not change while a process runs."""
    return dict(shipped_files())


def shipped_files() -> Iterator[tuple[str, str]]:
    """Yield name and text of every shipped rule file, names relative to `rules/`, sorted."""
    yield from sorted(_walk(files("compozy.rules"), "rules/"))


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield f"{prefix}{entry.name}", entry.read_text(encoding="utf-8")


def rule_texts(packs: Sequence[str]) -> dict[str, str]:
    """Return the texts of the shipped rules and of the packs, absolute directories, by file name.

    Raises:
        RuleTableError: a directory does not exist, holds no rule file, or a file in it is not text.
    """
    texts = dict(shipped_texts())
    for pack in packs:
        texts.update(pack_files(pack))
    return texts


def pack_files(pack: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of every rule file in the directory `pack`, sorted.

    Raises:
        RuleTableError: the directory does not exist, holds no rule file, or a file in it is not text.
    """
    hint = "check rules: in compozy.yaml, or --rules"
    if not Path(pack).is_dir():
        raise RuleTableError([f"rule pack {pack} is not a directory"], hint=hint)
    found = [
        str(Path(folder, name))
        for folder, _, names in sorted(os.walk(pack))
        for name in sorted(names)
        if name.endswith(".yaml")
    ]
    if not found:
        raise RuleTableError([f"rule pack {pack} holds no file that ends in .yaml"], hint=hint)
    for path in found:
        yield path, _text(path)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RuleTableError([f"{path}:1:1: cannot be read: {error}"]) from error


def pack_directories(rules: Sequence[str], directory: str) -> tuple[str, ...]:
    """Return the absolute directories of the packs that a configuration names."""
    return tuple(os.path.normpath(Path(directory, rule)) for rule in rules)
