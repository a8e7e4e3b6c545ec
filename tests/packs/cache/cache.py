"""Two caches: one in the process, one in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from compozy.drivers.preflight import check_binary, check_disk, check_writable
from compozy.drivers.protocol import Check, Description, StartContext, Storage
from compozy.errors import DriverError


class MemoryCache:
    """A mapping that lasts as long as the process."""

    def __init__(self, name: str, limit: int, password: str | None = None) -> None:
        self._name = name
        self._limit = limit
        self._open = False
        self.handle: dict[str, str] = {}

    def start(self, context: StartContext) -> None:
        if self._name == "broken":
            raise DriverError("the cache is broken", hint="choose another name")
        self._open = True

    def ping(self) -> None:
        if not self._open:
            raise DriverError("the cache is closed")

    def stop(self, grace_s: float) -> None:
        self._open = False

    def describe(self) -> Description:
        return Description(f"cache {self._name}", details={"limit": self._limit})


class FileCache:
    """A file with one line for each entry."""

    def __init__(self, name: str, limit: int, folder: str) -> None:
        self._name = name
        self._file = Path(folder, f"{name}.txt")

    @property
    def handle(self) -> Path:
        return self._file

    def start(self, context: StartContext) -> None:
        context.undo.create_directory(str(self._file.parent))
        if not self._file.exists():
            context.undo.record_data(str(self._file))
            self._file.touch(mode=0o600)

    def ping(self) -> None:
        if not self._file.is_file():
            raise DriverError(f"{self._file} does not exist")

    def stop(self, grace_s: float) -> None:
        """The file is closed after each access."""

    def describe(self) -> Description:
        return Description(data=str(self._file))

    def preflight(self, context: StartContext) -> Iterator[Check]:
        yield check_binary("python", sys.executable, "install Python")
        yield check_writable(str(self._file), "caches[].folder")
        yield from check_disk(str(self._file))

    def storage(self) -> list[Storage]:
        return [Storage("file", str(self._file))]
