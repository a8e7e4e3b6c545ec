"""Records of running servers, by which commands find the server of a project.

A record lies in the user's runtime directory, and in the state directory where the project has one, so that a command
with another environment, or of root, finds the server too. It is locked for as long as the server runs,
which distinguishes it from a stale one, however its owner ended.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from compozy.base.output_file import new_file, open_regular
from compozy.base.ownership import unsafe_owner, user_name
from compozy.base.record import dataclass
from compozy.base.source_file import check_owner
from compozy.errors import DriverError
from compozy.state.file_lock import close_on_fork, release
from compozy.state.state_directory import STATE_DIRECTORY

RECORD = "server.json"  # in the state directory
RENEW_S = 30.0
log = logging.getLogger("compozy.server")


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
def announced(presence: Presence, state_dir: str | None = None, *, renew_s: float = RENEW_S) -> Iterator[None]:
    """Keep `presence` known for as long as the block runs, also in the state directory where there is one.

    A record that a cleaner of temporary files removes is written again within `renew_s` seconds.

    Raises:
        DriverError: a record cannot be written.
    """
    # Functions in place of paths: the runtime directory may be deleted and created again while the server runs.
    places: list[Callable[[], Path]] = [partial(_runtime_record, presence)]
    places += [partial(Path, state_dir, RECORD)] if state_dir else []
    with ExitStack() as opened:
        records = [opened.enter_context(closing(_Record(place, presence))) for place in places]
        stopped = threading.Event()
        renewing = threading.Thread(target=_renew, args=(records, stopped, renew_s), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            stopped.set()
            renewing.join()


def _runtime_record(presence: Presence) -> Path:
    return runtime_directory() / f"{_prefix(presence.directory)}-{presence.pid}.json"


class _Record:
    """One locked file with a presence; it exists and is locked until `close`."""

    def __init__(self, place: Callable[[], Path], presence: Presence) -> None:
        self._place = place
        self._presence = presence
        self._path = place()
        self._lock = _locked_record(self._path, presence)

    def renew(self) -> None:
        """Write the file again if it was deleted.

        Raises:
            DriverError: it cannot be written.
        """
        path = self._place()
        if not path.exists():
            # The new record is locked before the old lock ends, so that no command takes the server for ended in
            # between.
            old, self._lock = self._lock, _locked_record(path, self._presence)
            release(old)

    def close(self) -> None:
        """Remove the file and end its lock."""
        self._path.unlink(missing_ok=True)
        release(self._lock)


def _renew(records: Sequence[_Record], stopped: threading.Event, renew_s: float) -> None:
    while not stopped.wait(renew_s):
        for record in records:
            try:
                record.renew()
            except DriverError as error:
                log.warning("presence.lost", extra={"reason": error.message})


def _locked_record(path: Path, presence: Presence) -> int:
    """Write the record and return a descriptor that holds its lock from before its name appears."""
    record = None
    try:
        with new_file(path, durable=False, stays_locked=True) as stream:
            record = os.dup(stream.fileno())
            close_on_fork(record)
            # On a duplicate of the descriptor, because the lock belongs to the open file and must outlive the stream.
            fcntl.flock(record, fcntl.LOCK_EX)
            stream.write(json.dumps(asdict(presence)).encode())
    except OSError as error:
        if record is not None:
            release(record)
        raise DriverError(f"{path} cannot be written: {error.strerror}", hint="set XDG_RUNTIME_DIR") from error
    return record


def find_server(directory: str, port: int | None = None) -> Presence | None:
    """Return the server of the project in `directory` that started last, or None; stale records are removed.

    With `port` only a server at that port counts.

    Raises:
        TrustError: another user controls the record of a running server.
    """
    found = [_living(path, stale_goes=True) for path in runtime_directory().glob(f"{_prefix(directory)}-*.json")]
    found.append(_living(Path(directory, STATE_DIRECTORY, RECORD)))
    living = [presence for presence in found if presence is not None and port in (None, urlsplit(presence.url).port)]
    # Servers without a state directory may run side by side; without a port the youngest one is meant.
    return max(living, key=lambda presence: presence.started_at, default=None)


def _living(path: Path, *, stale_goes: bool = False) -> Presence | None:
    """Return the presence in a locked record; None for one that is stale or cannot be read.

    Raises:
        TrustError: another user controls the record of a running server.
    """
    with suppress(OSError, ValueError, TypeError), open_regular(path) as stream:
        try:
            # A shared lock that is granted proves that no server holds the record. Process ids would not: they are
            # reused.
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            check_owner(str(path))
            return Presence(**json.load(stream))
        if stale_goes:
            path.unlink(missing_ok=True)
    return None
