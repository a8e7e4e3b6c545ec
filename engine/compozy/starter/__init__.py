"""Write the files of a new project: a configuration, a workflow, its tool and its test.

The files lie beside this module, those of all modes in `project/`, those that a mode adds or has instead in a folder of
its name. Nothing is overwritten: either all files are written or none.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from compozy.base.manual import DOCS_URL, schema_url
from compozy.base.output_file import write_file
from compozy.errors import UsageError

FOLDER = Path(__file__).parent
# Names that would mean something in a source tree or in a wheel.
_NAMES = {"gitignore": ".gitignore", "env": ".env", "env.example": ".env.example"}
_PRIVATE = ".env"
_FIRST = {
    "distributed": "Start the three services, with the passwords of `.env`:\n\n    docker compose up -d --wait\n\n"
}
_PLACEHOLDER = re.compile("@([A-Z]+)@")


def project_files(name: str, mode: str) -> Mapping[str, str]:
    """Return the text of each file of a new project by its path in it."""
    templates = {path: file for folder in ("project", mode) for path, file in _templates(FOLDER / folder)}
    words = {
        "NAME": json.dumps(name, ensure_ascii=False), "TITLE": name, "MODE": mode, "DOCS": DOCS_URL,
        "SCHEMA": schema_url("config.json"), "FIRST": _FIRST.get(mode, ""),
    }  # fmt: skip
    return {path: _filled(file.read_text(encoding="utf-8"), words) for path, file in sorted(templates.items())}


def _templates(folder: Path) -> list[tuple[str, Path]]:
    files = [file for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    return [(str(file.relative_to(folder).with_name(_NAMES.get(file.name, file.name))), file) for file in files]


def _filled(text: str, words: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: words.get(found[1]) or _secret(found[1]), text)


def _secret(word: str) -> str:
    return secrets.token_urlsafe(32) if word == "SECRET" else ""


def write_project(directory: Path, files: Mapping[str, str]) -> None:
    """Write the files below `directory`, which is made where it does not exist.

    Raises:
        UsageError: one of the files exists; nothing was written.
        OSError: the directory cannot be written.
    """
    existing = [path for path in files if (directory / path).exists() or (directory / path).is_symlink()]
    if existing:
        raise UsageError(
            f"{directory} has {', '.join(existing)} already; nothing was written",
            hint="name an empty directory, or move these files away",
        )
    for path, text in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        write_file(target, text, mode=0o600 if path == _PRIVATE else 0o644, replace=False)
