"""One file with everything that the components of a project keep here, taken while they run.

What comes in: a resolution. What goes out: an archive. It needs no running server and does not disturb one; which files
there are is told by the rows of the drivers.

The cut is consistent across stores. While Temporal's file is copied, the database's write lock is held: an
execution whose row is not in the copy has not recorded it in its history either, and writes it when it is replayed;
a finished row whose history still runs is written again with the same content. Redis' append-only files are
copied by a prefix, which is the state at one moment.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from compozy.archive import Manifest, write_archive
from compozy.base.leftovers import private_directory, remove_leftovers
from compozy.base.output_file import copy_file
from compozy.drivers.data_files import check_data_files
from compozy.drivers.move_journal import recover
from compozy.drivers.sqlite import BESIDE as LOGS
from compozy.errors import BackupError, UsageError
from compozy.plan import kept_files
from compozy.resolve import Resolved
from compozy.signature import project_keys, sign

BESIDE = ".version"  # what a driver may record beside a file, and what belongs to it
_DATABASE = "database"  # the component whose writers wait for the copies
_MAGIC = b"SQLite format 3\0"
_LOCK_WAIT_S = 5.0
_RETRIES = 20


@dataclass(frozen=True, slots=True)
class Kept:
    """A file or directory in which a component keeps data; `name`, in the archive, is the setting that places it."""

    component: str
    name: str
    path: Path


def kept_data(resolved: Resolved) -> tuple[Kept, ...]:
    """Return what the components of `resolved` keep on this machine, whether it is there already or not."""
    rows = [resolved.rulebook.drivers[part.name, part.driver] for part in resolved.components.values()]
    return tuple(Kept(row.component, name, Path(path)) for row in rows for name, path in kept_files(resolved, row))


def back_up(resolved: Resolved, target: Path) -> Manifest:
    """Write an archive of everything that is kept to `target`, which must not exist.

    Raises:
        UsageError: nothing is kept on this machine, or `target` exists, or cannot.
        BackupError: a file could not be read.
        StateDirectoryError: a link or a special file is at a place of the data.
    """
    found = kept_data(resolved)
    if not found:
        raise UsageError(
            f"mode {resolved.mode} keeps nothing on this machine that could be backed up",
            hint="name the mode of the server, such as --mode persistent; external services have their own tools",
        )
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{target} cannot be written: its directory does not exist", hint="make it, or name another")
    if target.exists():
        raise UsageError(f"{target} exists already", hint="name another file, or remove it")
    recover([kept.path.parent for kept in found])
    there = [kept for kept in found if kept.path.exists()]
    if not there:
        places = ", ".join(str(kept.path) for kept in found)
        raise UsageError(f"there is nothing yet: {places}", hint="start once, or name the directory with --cwd")
    remove_leftovers(target.absolute().parent)
    check_data_files(*(f"{kept.path}{suffix}" for kept in found for suffix in ("", BESIDE, *LOGS)))
    try:
        with private_directory(target.absolute().parent) as folder:
            _copy_all(there, folder)
            keys = project_keys(resolved)
            return write_archive(folder, target, None if keys is None else partial(sign, keys=keys))
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"the backup failed: {error}", hint="check directory, disk space and permissions") from error


def _copy_all(there: Sequence[Kept], folder: Path) -> None:
    databases = [kept for kept in there if _is_sqlite(kept.path)]
    with ExitStack() as locks:
        for kept in databases:
            if kept.component == _DATABASE:
                locks.enter_context(_write_lock(kept.path))
        for kept in databases:
            _copy_sqlite(kept.path, folder / kept.name)
    for kept in there:
        if kept.path.is_dir():
            _copy_tree(kept.path, folder / kept.name)
        elif kept not in databases:
            copy_file(kept.path, folder / kept.name)
        record = Path(f"{kept.path}{BESIDE}")
        if record.exists():
            copy_file(record, folder / (kept.name + BESIDE))


def _is_sqlite(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


@contextmanager
def _write_lock(database: Path) -> Iterator[None]:
    """Keep every writer out of the database for the length of the block."""
    with closing(sqlite3.connect(database, timeout=_LOCK_WAIT_S, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def _copy_sqlite(source: Path, target: Path) -> None:
    """Copy a live SQLite file in one read transaction (https://www.sqlite.org/backup.html)."""
    address = f"{source.absolute().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(address, uri=True, timeout=_LOCK_WAIT_S)) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)


def _copy_tree(source: Path, target: Path) -> None:
    """Copy append-only files and snapshots; begins anew when the server rewrote them meanwhile."""
    for _ in range(_RETRIES):
        before = _files(source)
        try:
            for name in before:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                copy_file(source / name, target / name)
        except FileNotFoundError:
            before = {}
        if before and _files(source).keys() == before.keys():
            return
        shutil.rmtree(target, ignore_errors=True)
        time.sleep(0.05)
    if _files(source):
        raise BackupError(f"the files in {source} kept changing", hint="try again")
    target.mkdir(exist_ok=True)


def _files(folder: Path) -> dict[str, None]:
    """Return the files of a data directory; a manifest comes before what it names, so that it is never too new."""
    names = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("temp-"))
    return dict.fromkeys(
        str(path.relative_to(folder)) for path in sorted(names, key=lambda path: (path.suffix != ".manifest", path))
    )
