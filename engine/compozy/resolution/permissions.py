"""Find files with secrets that every user of the machine can read.

Only files that contain a secret themselves count; a reference such as `${DB_PASSWORD}` exposes nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from compozy.resolution.configuration import Configuration
from compozy.settings.dotenv import dotenv_lines
from compozy.settings.redact import is_secret_name, may_hold_secrets, secrets_in
from compozy.settings.sources import Layer


def exposed_files(configuration: Configuration) -> Iterator[tuple[str, int]]:
    """Yield the absolute path and the mode of each source file that holds a secret and is readable by others."""
    for layer in configuration.layers:
        for name in layer.texts:
            path = os.path.join(configuration.directory, name)
            mode = _mode(path)
            if mode & stat.S_IROTH and _has_secret(configuration, layer, name):
                yield path, mode


def _mode(path: str) -> int:
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return 0


def _has_secret(configuration: Configuration, layer: Layer, name: str) -> bool:
    """Return True if a file itself holds a secret; one that it only refers to with `${VAR}` is somewhere else."""
    if layer.kind == "dotenv" and any(
        line.name and line.value and is_secret_name(line.name) for line in dotenv_lines(layer.texts[name])
    ):
        return True
    settings = configuration.rulebook.registry.settings
    return any(
        next(secrets_in(settings[path], candidate.value), None) is not None
        for path, candidate in layer.entries.items()
        if may_hold_secrets(settings[path]) and not candidate.origin.variables
        and candidate.origin.place is not None and candidate.origin.place.file == name
    )  # fmt: skip
