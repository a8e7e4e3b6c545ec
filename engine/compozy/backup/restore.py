"""Put a backup back: all of it, or nothing is changed, also when the process is killed.

The archive is unpacked and checked beside the data first. Then everything is moved to its place as one change of a
journal, while the locks that a server would hold are held.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from compozy.backup.archive import Manifest, read_archive
from compozy.backup.signature import project_keys, verify
from compozy.backup.take import BESIDE, Kept, kept_data
from compozy.base.leftovers import private_directory
from compozy.base.output_file import sync_tree
from compozy.base.record import dataclass
from compozy.drivers.inventory import INVENTORY
from compozy.drivers.sqlite import BESIDE as LOGS
from compozy.errors import BackupError, UsageError
from compozy.provisioning.plan import Plan, make_plan
from compozy.resolution.resolve import Resolved
from compozy.state.data_lock import DataLock
from compozy.state.file_lock import lock_beside
from compozy.state.move_journal import ROOM, Moves, move_all, pending, recover
from compozy.state.state_directory import StateDirectory
from compozy.state.undo import UndoLog


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of a restore: earlier data is at the places of `aside` now.

    `left_out` names parts of the archive that no component keeps here; what is `missing` in it was left as it is.
    `verified` is True if the signature was checked.
    """

    manifest: Manifest
    aside: tuple[Path, ...]
    left_out: tuple[str, ...]
    missing: tuple[str, ...]
    verified: bool


def restore(resolved: Resolved, source: Path, *, force: bool, accept_unsigned: bool = False) -> Restored:
    """Put an archive back where the components of `resolved` keep their data.

    With `force` existing data is moved aside, never deleted, and a damaged version stamp is replaced. Where the
    project has a key, a backup without its signature is refused unless `accept_unsigned` is set.

    Raises:
        UsageError: `resolved` keeps nothing here, or data exists and `force` is not given.
        BackupError: the archive is damaged, not signed or newer than this version, or a file cannot be written.
        StateDirectoryError: a running process uses the data.
    """
    plan = make_plan(resolved)
    found = kept_data(plan)
    if not found:
        raise UsageError(
            f"mode {resolved.mode} keeps nothing on this machine", hint="name a mode, such as --mode persistent"
        )
    with _undone_on_failure() as undo, _locked(plan, found, undo, force=force), _rooms(found) as rooms:
        # After `_locked`, whose recovery of an interrupted restore may replace the key file.
        keys = None if accept_unsigned else project_keys(resolved)
        places = {kept.name + end: room for kept, room in rooms.items() for end in ("", BESIDE)}
        manifest = read_archive(source, places, None if keys is None else partial(verify, keys=keys))
        held = {name.partition("/")[0].removesuffix(BESIDE) for name in manifest.files}
        aside = _move(rooms, [kept for kept in found if kept.name in held], _inventory(plan), force=force)
        missing = tuple(kept.name for kept in found if kept.name not in held)
        left_out = tuple(sorted(held - {kept.name for kept in found}))
        return Restored(manifest, aside, left_out, missing, verified=keys is not None)


@contextmanager
def _undone_on_failure() -> Iterator[UndoLog]:
    """Note the directories that are created, and remove them when the block fails."""
    undo = UndoLog()
    try:
        yield undo
    except OSError as error:
        undo.roll_back()
        raise BackupError(f"the restore failed: {error}", hint="check disk space and permissions") from error
    except BaseException:
        undo.roll_back()
        raise


@contextmanager
def _locked(plan: Plan, found: Sequence[Kept], undo: UndoLog, *, force: bool) -> Iterator[None]:
    """Hold every lock that a server would hold, after an interrupted restore was completed."""
    with ExitStack() as held:
        if plan.state_dir is not None:
            state = StateDirectory(plan.state_dir)
            state.acquire(replace_stamp=force)
            # `push` instead of `callback`: only a failed restore removes a directory that it created.
            held.push(lambda failed, *_: state.release(discard=failed is not None))
        # Under the lock of the state directory and before those of the data: the journal decides which data is in its
        # place.
        recover(_folders(found))
        for kept in found:
            held.callback(lock_beside(str(kept.path), undo).release)
            data = DataLock(str(kept.path))
            held.callback(data.release)
            data.acquire()
        yield


def _folders(found: Sequence[Kept]) -> list[str]:
    return list(dict.fromkeys(os.path.realpath(kept.path.parent) for kept in found))


@contextmanager
def _rooms(found: Sequence[Kept]) -> Iterator[Mapping[Kept, Path]]:
    """Yield a private directory for each part, on the disk of its data."""
    folders = _folders(found)
    with ExitStack() as held:
        rooms = {
            folder: held.enter_context(private_directory(folder, ROOM, keep=lambda: pending(folders)))
            for folder in folders
        }
        yield {kept: rooms[os.path.realpath(kept.path.parent)] for kept in found}


def _inventory(plan: Plan) -> list[Path]:
    """Return the existing record of what the earlier data held, which does not apply to the restored data."""
    file = Path(plan.state_dir or "", INVENTORY)
    return [file] if plan.state_dir is not None and file.exists() else []


def _move(
    rooms: Mapping[Kept, Path], restored: Sequence[Kept], records: Sequence[Path], *, force: bool
) -> tuple[Path, ...]:
    """Move earlier data and records aside and the new data to its place; return where the earlier data is.

    Raises:
        UsageError: there is earlier data, and `force` is not set.
        OSError: a move failed; nothing was changed.
    """
    there = [part for kept in restored for part in _parts(kept)]
    if there and not force:
        names = ", ".join(str(path) for path in there)
        raise UsageError(f"data exists already: {names}", hint="--force moves it aside before restoring")
    # The inventory describes the earlier data; the next start would refuse restored data that is smaller.
    there += records
    aside = _names_aside(there)
    new = [
        (str(rooms[kept] / (kept.name + end)), f"{kept.path}{end}")
        for kept in restored
        for end in ("", BESIDE)
        if (rooms[kept] / (kept.name + end)).exists()
    ]
    for room in set(rooms.values()):
        # Before the journal is written: a completed move must lead to content that survives a power failure.
        sync_tree(room)
    earlier = [(str(path), str(target)) for path, target in zip(there, aside, strict=True)]
    data = tuple(str(kept.path) for kept in restored)
    move_all(Moves(tuple(_folders(restored)), data, (*earlier, *new)))
    return aside


def _parts(kept: Kept) -> Iterator[Path]:
    """Yield the existing entries of a component's data: its file or directory, and the files that belong beside it."""
    for suffix in ("", BESIDE, *LOGS):
        path = Path(f"{kept.path}{suffix}")
        if path.is_symlink() or path.is_file() or (path.is_dir() and any(path.iterdir())):
            yield path


def _names_aside(there: Sequence[Path]) -> tuple[Path, ...]:
    """Return a free name beside each path, with the same time in all of them."""
    stamp, number = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"), 1
    while True:
        end = f".before-restore-{stamp}" + (f"-{number}" if number > 1 else "")
        names = tuple(path.with_name(path.name + end) for path in there)
        if not any(map(os.path.lexists, names)):
            return names
        number += 1
