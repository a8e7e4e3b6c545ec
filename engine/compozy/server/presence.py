"""How a command finds the running server of a project, without a file in the project.

What comes in: a project directory. What goes out: where its server listens. The record lies in the
user's runtime directory and is locked for as long as the server lives, so that a stale one is told from a
live one whatever killed its owner.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from compozy.base.output_file import new_file
from compozy.base.ownership import unsafe_owner, user_name
from compozy.drivers.file_lock import dies_with_us, let_go
from compozy.errors import DriverError


@dataclass(frozen=True, slots=True)
class Presence:
    """A running server: process id, base URL, mode, project directory, start in Unix seconds, and its random API key.

    `api_key` is None for a server with a written key.
    """

    pid: int
    url: str
    mode: str
    directory: str
    started_at: float
    api_key: str | None = field(default=None, repr=False)


def runtime_directory() -> Path:
    """Return the user's own directory for records of running servers; it is created with mode 0700.

    Raises:
        DriverError: the directory cannot be created, or another user controls it.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base) / "compozy" if base else Path(tempfile.gettempdir()) / f"compozy-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner, reason = folder.lstat().st_uid, unsafe_owner(folder)
    except OSError as error:
        raise DriverError(f"{folder} cannot be used: {error.strerror}", hint="set XDG_RUNTIME_DIR") from error
    if owner != os.geteuid() or reason is not None:
        reason = reason or f"it is owned by {user_name(owner)}"
        raise DriverError(f"{folder} is refused: {reason}", hint="change its owner and mode, or set XDG_RUNTIME_DIR")
    return folder


def _prefix(directory: str) -> str:
    return hashlib.sha256(os.fsencode(os.path.realpath(directory))).hexdigest()[:16]


@contextmanager
def announced(presence: Presence) -> Iterator[None]:
    """Make `presence` known for as long as the block runs.

    Raises:
        DriverError: the record cannot be written.
    """
    path = runtime_directory() / f"{_prefix(presence.directory)}-{presence.pid}.json"
    record = _locked_record(path, presence)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        let_go(record)


def _locked_record(path: Path, presence: Presence) -> int:
    """Write the record and return a descriptor that holds its lock from before its name appears."""
    record = None
    try:
        with new_file(path) as stream:
            record = os.dup(stream.fileno())
            dies_with_us(record)
            fcntl.flock(record, fcntl.LOCK_EX)
            stream.write(json.dumps(asdict(presence)).encode())
    except OSError as error:
        if record is not None:
            let_go(record)
        raise DriverError(f"{path} cannot be written: {error.strerror}", hint="set XDG_RUNTIME_DIR") from error
    return record


def find_server(directory: str, port: int | None = None) -> Presence | None:
    """Return the server of the project in `directory` that started last, or None; stale records are removed.

    With `port` only a server at that port counts.
    """
    found = [_living(path) for path in runtime_directory().glob(f"{_prefix(directory)}-*.json")]
    living = [presence for presence in found if presence is not None and port in (None, urlsplit(presence.url).port)]
    return max(living, key=lambda presence: presence.started_at, default=None)


def _living(path: Path) -> Presence | None:
    with suppress(FileNotFoundError), path.open(encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Presence(**json.load(stream))
        path.unlink(missing_ok=True)
    return None
