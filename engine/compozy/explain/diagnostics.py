"""Collect everything about a configuration for a problem report, as plain JSON values without secrets."""

from __future__ import annotations

import os.path
import platform
from collections.abc import Iterable, Iterator

from compozy import __version__
from compozy.base.findings import Finding
from compozy.explain.show import Shown
from compozy.resolution.resolve import Resolved
from compozy.settings.sources import Layer

_SHIPPED = "rules/"
_NOT_GIVEN = ("default", "rule")


def diagnostics(resolved: Resolved, findings: Iterable[Finding]) -> dict[str, object]:
    """Return versions, files, sources with counts, packs, machine facts, decisions, given values and findings."""
    configuration, shown = resolved.configuration, Shown(resolved)
    return {
        "compozy": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "directory": resolved.directory,
        "file": configuration.inputs.file,
        "sources": [_source(layer) for layer in configuration.layers],
        "rules": _rules(resolved),
        "machine": dict(resolved.facts),
        "mode": resolved.mode,
        "components": {part.name: {"mode": part.mode, "driver": part.driver} for part in resolved.components.values()},
        "given": {path: shown.value(path, resolved.values[path]) for path in _given(resolved)},
        "findings": [finding.as_json() for finding in findings],
    }


def _source(layer: Layer) -> dict[str, object]:
    return {
        "kind": layer.kind,
        "files": list(layer.texts),
        "settings": len(layer.entries),
        "problems": len(layer.problems),
    }


def _given(resolved: Resolved) -> Iterator[str]:
    return (path for path, value in resolved.values.items() if value.origin.kind not in _NOT_GIVEN)


def _rules(resolved: Resolved) -> dict[str, object]:
    rulebook = resolved.rulebook
    tables = rulebook.ruleset.tables.values()
    packs = {os.path.dirname(file) for file in rulebook.files if not file.startswith(_SHIPPED)}
    return {
        "digest": rulebook.digest,
        "settings": len(rulebook.registry.settings),
        "tables": len(tables),
        "rows": sum(len(table.rows) for table in tables),
        "packs": sorted(packs),
    }
