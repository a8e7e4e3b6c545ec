"""Choose where the embedded Valkey has its socket, and remove what killed servers left there.

The directory of a server is made and removed by its guardian; one that was killed together with it stays behind.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import stat
import tempfile
import time
from pathlib import Path

from compozy.base.ownership import refusal
from compozy.errors import DriverError

PREFIX = "compozy-valkey-"
_SOCKET_BYTES = 100  # the path of a Unix socket may have 103 bytes on macOS and 107 on Linux
_STALE_S = 60.0  # a younger directory may be of a server that is about to listen


def new_directory() -> str:
    """Return the path of a new directory for one server and its socket, below the temporary directory or `/tmp`.

    Raises:
        DriverError: another user could replace it, or its path is too long for a Unix socket.
    """
    name, reason = f"{PREFIX}{secrets.randbits(64)}", ""
    for base in (tempfile.gettempdir(), "/tmp"):
        unsafe = refusal(base, sticky=True)
        if unsafe is not None:
            reason = f"{base} cannot be used: {unsafe}"
        elif len(os.fsencode(f"{base}/{name}/socket")) > _SOCKET_BYTES:
            reason = reason or f"the path of {base} is too long for a Unix socket"
        else:
            _remove_stale(base)
            return f"{base}/{name}"
    raise DriverError(reason, hint="set TMPDIR to a directory with a short path that only you may write to")


def _remove_stale(base: str) -> None:
    """Remove the socket directories of this user in which no server listens any more."""
    for folder in Path(base).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            about = folder.lstat()
            ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid()
            if ours and time.time() - about.st_mtime > _STALE_S and not _listens(folder / "socket"):
                shutil.rmtree(folder)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(0)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:  # its backlog is full
            return True
    return True
