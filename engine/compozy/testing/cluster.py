"""Create the data directory of a PostgreSQL server: once with `initdb`, then as copies.

The first one is kept in the user's cache directory, because a copy takes a tenth of the time; where that cannot be
read or written, each is created anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from compozy.errors import DriverError
from compozy.testing.server_binaries import Account

USER = "compozy"
_INITDB = (
    f"--username={USER}", "--encoding=UTF8", "--locale=C", "--no-sync", "--wal-segsize=1",
    "--auth-local=trust", "--auth-host=scram-sha-256",
)  # fmt: skip
_INITDB_S = 60.0


def make_cluster(folder: Path, binaries: Path, account: Account) -> None:
    """Put a data directory `data` and its superuser's `password` into `folder`, which belongs to `account`.

    Raises:
        DriverError: `initdb` failed; the message carries its output.
    """
    kept = _kept(binaries)
    if kept is None or not _copied(kept, folder):
        _initialise(folder, binaries, account)
        if kept is not None:
            _keep(folder, kept)
    account.own(folder)


def _initialise(folder: Path, binaries: Path, account: Account) -> None:
    password = folder / "password"
    password.write_text(secrets.token_urlsafe(18))
    password.chmod(0o600)
    account.own(folder)
    argv = (str(binaries / "initdb"), f"--pgdata={folder / 'data'}", f"--pwfile={password}", *_INITDB)
    done = subprocess.run(
        account.command(argv), capture_output=True, text=True, timeout=_INITDB_S, cwd="/", check=False
    )
    if done.returncode != 0:
        raise DriverError(f"initdb failed: {done.stderr.strip()}")


def _kept(binaries: Path) -> Path | None:
    """Return where the first cluster of these binaries is kept, or None without a writable cache directory."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    folder = given if given.is_absolute() else Path(os.path.expandvars("$HOME"), ".cache")
    seen = (binaries / "postgres").stat()
    key = repr((seen.st_mtime_ns, seen.st_size, _INITDB))
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    return folder / "compozy" / f"postgres-{name}" if folder.is_absolute() else None


def _copied(kept: Path, folder: Path) -> bool:
    try:
        shutil.copytree(kept / "data", folder / "data")
        shutil.copy2(kept / "password", folder / "password")
    except (OSError, shutil.Error):
        for rest in ("data", "password"):
            shutil.rmtree(folder / rest, ignore_errors=True)
            (folder / rest).unlink(missing_ok=True)
        return False
    return True


def _keep(folder: Path, kept: Path) -> None:
    """Keep a cluster for later sessions; a second process, or a failure, changes nothing."""
    with contextlib.suppress(OSError, shutil.Error):
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="postgres-new-", dir=kept.parent) as fresh:
            shutil.copytree(folder / "data", Path(fresh, "kept", "data"))
            shutil.copy2(folder / "password", Path(fresh, "kept", "password"))
            Path(fresh, "kept").rename(kept)
