"""Refuse modules of a project that another user controls, also those that a tool imports itself."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from compozy.base.source_file import check_code


class OwnerCheck(MetaPathFinder):
    """A finder of the import system that finds nothing, and raises for files of other users below `directory`."""

    def __init__(self, directory: str) -> None:
        self._directory = directory.rstrip("/")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Check what the project has under the name; always leave finding to the others.

        Raises:
            TrustError: another user controls the file, or the directory beside it.
        """
        inside = [self._directory] if path is None else [part for part in path if self._owns(part)]
        spec = PathFinder.find_spec(fullname, inside) if inside else None
        if spec is not None:
            check_module(spec)
        return None

    def _owns(self, path: str) -> bool:
        return path == self._directory or path.startswith(self._directory + "/")


def check_module(spec: ModuleSpec) -> None:
    """Refuse a module whose file or directories another user controls.

    Raises:
        TrustError: another user owns one of them, or may write to it.
    """
    for place in (spec.origin, *(spec.submodule_search_locations or ())):
        if place is not None:
            check_code(place)
