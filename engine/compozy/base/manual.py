"""Locate the pages of the documentation: published, in the source tree, or inside the installed package."""

from __future__ import annotations

import os.path
from functools import lru_cache
from pathlib import Path

DOCS_URL = "https://compozy.github.io/compozy"  # where the documentation and the schemas are published
FOLDER = "docs"


def schema_url(name: str) -> str:
    """Return the URL by which a schema names itself, such as that of `compozy.json`."""
    return f"{DOCS_URL}/schemas/{name}"


@lru_cache(maxsize=1)
def _root() -> Path:
    """Return the directory that holds `docs/`."""
    package = Path(__file__).parents[1]
    source_tree = package.parents[1]
    return source_tree if (source_tree / "setup.cfg").is_file() and (source_tree / FOLDER).is_dir() else package


def published_page(name: str) -> str:
    """Return the URL of a page such as `docs/modes.md#memory`.

    Text that does not name a page of ours, such as the page of a rule pack, stays as it is.
    """
    file, mark, heading = name.partition("#")
    if not file.startswith(f"{FOLDER}/") or not (_root() / file).is_file():
        return name
    return f"{DOCS_URL}/{file.removesuffix('.md')}.html{mark}{heading}"


def page(name: str) -> str:
    """Return where a page such as `docs/modes.md#memory` is on this machine, relative where that is shorter to read.

    Text that does not name a page of ours, such as the page of a rule pack, stays as it is.
    """
    file, mark, heading = name.partition("#")
    path = _root() / file
    if not file.startswith(f"{FOLDER}/") or not path.is_file():
        return name
    relative = os.path.relpath(path)
    return (str(path) if relative.startswith(os.pardir) else relative) + mark + heading
