"""A project in a folder, read without the process's environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compozy.base.findings import Finding
from compozy.resolution.configuration import Configuration, load_configuration, read_sources
from compozy.resolution.resolve import Resolved, resolve
from compozy.resolution.validate import validate
from compozy.rulebook import load_rulebook
from compozy.settings.sources import make_inputs

# What a project on shared servers needs: an encryption key, and places of its own.
OWN = {
    "COMPOZY_TEMPORAL__ENCRYPTION_KEY_FILE": "keys.txt", "COMPOZY_TEMPORAL__TASK_QUEUE": "shop",
    "COMPOZY_DATABASE__NAME": "shop", "COMPOZY_REDIS__DB": "1",
}  # fmt: skip
FACTS = {"valkey.binary": "found"}


def write(folder: Path, text: str = "", dotenv: str = "") -> Path:
    (folder / "compozy.yaml").write_text(text, encoding="utf-8")
    if dotenv:
        (folder / ".env").write_text(dotenv, encoding="utf-8")
    return folder


def configured(
    folder: Path,
    text: str = "",
    *,
    dotenv: str = "",
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> Configuration:
    """Read a configuration of this text."""
    write(folder, text, dotenv)
    return load_configuration(directory=str(folder), environment=environment or {}, flags=flags or {})


def given(folder: Path, **sources: Any) -> Configuration:
    """Read sources without loading the rule packs that they name."""
    write(folder, sources.pop("text", ""), sources.pop("dotenv", ""))
    inputs = make_inputs(sources.get("environment", {}), directory=str(folder), flags=sources.get("flags", {}))
    return read_sources(inputs, load_rulebook())


def resolved(folder: Path, text: str = "", **sources: Any) -> Resolved:
    """Resolve a configuration of this text."""
    facts = sources.pop("facts", FACTS)
    return resolve(configured(folder, text, **sources), facts)


def findings(folder: Path, text: str = "", **sources: Any) -> Sequence[Finding]:
    """Return the findings of a configuration of this text, with places of its own on shared servers.

    Those about settings that nothing uses yet are left out.
    """
    environment = {**OWN, **sources.pop("environment", {})}
    found = validate(resolved(folder, text, environment=environment, **sources))
    return tuple(one for one in found if one.id != "key.unused")


def nested(path: str, value: str) -> str:
    """Return YAML that gives a value to a dotted path."""
    *groups, key = path.split(".")
    lines = [f"{'  ' * depth}{group}:" for depth, group in enumerate(groups)]
    return "\n".join([*lines, f"{'  ' * len(groups)}{key}: {value}", ""])
