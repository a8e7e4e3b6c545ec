"""Find and read rule files: the shipped ones and those of rule packs.

The texts are returned without being parsed.
"""

from __future__ import annotations

import os.path
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from compozy.base.place import Place
from compozy.base.source_file import UnreadableError, list_sources, read_source
from compozy.errors import RuleTableError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

PACK_GROUP = "compozy.rules"  # also the package of the shipped rules
_DESCRIPTIONS = (".dist-info", ".egg-info", ".egg")


@lru_cache(maxsize=1)
def shipped_texts() -> Mapping[str, str]:
    """Return the texts of the shipped rule files by name; they do not change while a process runs."""
    return dict(shipped_files())


def shipped_files() -> Iterator[tuple[str, str]]:
    """Yield name and text of every shipped rule file, names relative to `rules/`, sorted."""
    folder = Path(import_module(PACK_GROUP).__path__[0])
    if folder.is_dir():
        yield from sorted(_walk(folder, "rules/"))
        return
    # For rules in an archive only, because it takes 5 ms to import.
    from importlib.resources import files

    yield from sorted(_walk(files(PACK_GROUP), "rules/"))


def _walk(folder: Path | Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield f"{prefix}{entry.name}", entry.read_text(encoding="utf-8")


def rule_texts(packs: Sequence[str]) -> dict[str, str]:
    """Return the texts of the shipped rules and of the packs, absolute directories, by file name.

    Raises:
        RuleTableError: a directory does not exist, holds no rule file, or a file in it is not text; or two packs
            have the same rules and different Python.
    """
    texts = dict(shipped_texts())
    read: dict[str, dict[str, str]] = {}
    for pack in packs:
        found = dict(pack_files(pack))
        rules = {os.path.relpath(name, pack): text for name, text in found.items()}
        first = next((other for other, known in read.items() if known == rules), None)
        if first is None:
            read[pack] = rules
            texts.update(found)
        elif _python(first) != _python(pack):
            reason = f"rule pack {pack} is already in force as {first}, whose Python differs"
            raise RuleTableError.of(reason, hint="use one of them: uninstall the package, or remove it from rules:")
    return texts


def _python(pack: str) -> dict[str, bytes]:
    """Return the Python files of a pack; `__init__.py` only makes it a package."""
    found = [path for path in Path(pack).rglob("*.py") if path.name != "__init__.py"]
    return {str(path.relative_to(pack)): path.read_bytes() for path in found}


def pack_files(pack: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of every rule file in the directory `pack`, sorted.

    Raises:
        RuleTableError: the directory does not exist, holds no rule file, or a file in it is not text.
        TrustError: another user controls a file or directory of a pack that is not installed.
    """
    hint = "check rules: in compozy.yaml, or --rules"
    if not Path(pack).is_dir():
        raise RuleTableError.of(f"rule pack {pack} is not a directory", hint=hint)
    found = list(list_sources(pack, below=True))
    if not found:
        raise RuleTableError.of(f"rule pack {pack} holds no file that ends in .yaml or .yml", hint=hint)
    own = pack not in installed_packs()
    for path in found:
        yield path, _text(path, own=own)


def _text(path: str, *, own: bool) -> str:
    try:
        return read_source(path, own=own)
    except UnreadableError as error:
        raise RuleTableError.of(f"cannot be read: {error}", Place(path, 1, 1)) from error


@lru_cache(maxsize=1)
def installed_packs() -> tuple[str, ...]:
    """Return the directories of the rule packs that installed distributions offer, by name.

    An entry point of the group `compozy.rules` names a package whose YAML files are the pack.
    """
    if not _may_offer_packs():
        return ()
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    found = []
    for point in sorted(entry_points(group=PACK_GROUP), key=lambda point: point.name):
        spec = find_spec(point.value)
        found += list(spec.submodule_search_locations or ()) if spec else []
    return tuple(found)


def _may_offer_packs() -> bool:
    """Return False if no distribution names the group; this look takes 1 ms, `importlib.metadata` 25 ms."""
    if any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path):
        return True
    return any(_names_group(Path(folder)) for folder in sys.path)


def _names_group(folder: Path) -> bool:
    try:
        names = os.listdir(folder)
    except OSError:
        return folder.is_file()  # an archive of packages
    described = [name for name in names if name.endswith(_DESCRIPTIONS)]
    return any(name.endswith(".egg") or _holds_group(folder / name / "entry_points.txt") for name in described)


def _holds_group(file: Path) -> bool:
    try:
        return PACK_GROUP.encode() in file.read_bytes()
    except OSError:
        return False


def pack_directories(rules: Sequence[str], directory: str) -> tuple[str, ...]:
    """Return the absolute directories of the packs that a configuration names."""
    return tuple(os.path.normpath(Path(directory, os.path.expanduser(rule))) for rule in rules)
