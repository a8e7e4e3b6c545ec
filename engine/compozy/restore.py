"""Put a backup back: all of it, or nothing is changed.

What comes in: an archive and a resolution. What goes out: the data where the components of the resolution keep theirs.
Nobody may use it meanwhile, which the same locks ensure that a server takes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from compozy.archive import Manifest, read_archive
from compozy.backup import BESIDE, Kept, kept_data
from compozy.drivers.data_lock import DataLock
from compozy.drivers.file_lock import lock_beside
from compozy.drivers.made import Made
from compozy.drivers.sqlite import BESIDE as LOGS
from compozy.drivers.state_directory import StateDirectory
from compozy.errors import BackupError, UsageError
from compozy.plan import make_plan
from compozy.resolve import Resolved

_ROOM = ".compozy-restore-"


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done: data that was there is now at the places of `aside`.

    Nobody keeps what is `left_out` of the archive here; what is `missing` in it was left as it is.
    """

    manifest: Manifest
    aside: tuple[Path, ...]
    left_out: tuple[str, ...]
    missing: tuple[str, ...]


def restore(resolved: Resolved, source: Path, *, force: bool) -> Restored:
    """Put an archive back where the components of `resolved` keep their data.

    With `force` data that is there is moved aside, never deleted.

    Raises:
        UsageError: `resolved` keeps nothing here, or data is there and `force` is not given.
        BackupError: the archive is damaged or newer than this version, or a file cannot be written.
        StateDirectoryError: a running process uses the data.
    """
    found = kept_data(resolved)
    if not found:
        raise UsageError(
            f"mode {resolved.mode} keeps nothing on this machine", hint="name a mode, such as --mode persistent"
        )
    with _taken_back() as new, _locked(resolved, found, new) as room, _taken_back() as made:
        manifest = read_archive(source, room)
        held = {name.partition("/")[0].removesuffix(BESIDE) for name in manifest.files}
        restored = [kept for kept in found if kept.name in held]
        there = [part for kept in restored for part in _parts(kept)]
        if there and not force:
            names = ", ".join(str(path) for path in there)
            raise UsageError(f"data is there already: {names}", hint="--force moves it aside before restoring")
        aside = _move_aside(there, made)
        for kept in restored:
            _put_back(room, kept, made)
        missing = tuple(kept.name for kept in found if kept.name not in held)
        return Restored(manifest, aside, tuple(sorted(held - {kept.name for kept in found})), missing)


@contextmanager
def _taken_back() -> Iterator[Made]:
    """Note what is changed on the disk, and take it back when the block fails."""
    made = Made()
    try:
        yield made
    except OSError as error:
        made.take_back()
        raise BackupError(f"the restore failed: {error}", hint="check disk space and permissions") from error
    except BaseException:
        made.take_back()
        raise


@contextmanager
def _locked(resolved: Resolved, found: Sequence[Kept], new: Made) -> Iterator[Path]:
    """Hold every lock that a server would hold; give a folder to unpack into, on the disk of the data.

    Directories that are missing are made, and noted in `new`.
    """
    state_dir = make_plan(resolved).state_dir
    with ExitStack() as held:
        if state_dir is not None:
            state = StateDirectory(state_dir)
            state.acquire()
            held.push(lambda failed, *_: state.release(discard=failed is not None))
        for kept in found:
            held.callback(lock_beside(str(kept.path), new).release)
            data = DataLock(str(kept.path))
            held.callback(data.release)
            data.acquire()
        for left in found[0].path.parent.glob(f"{_ROOM}*"):  # of a restore that was killed; we have its locks
            shutil.rmtree(left, ignore_errors=True)
        yield Path(held.enter_context(tempfile.TemporaryDirectory(prefix=_ROOM, dir=found[0].path.parent)))


def _parts(kept: Kept) -> Iterator[Path]:
    """Yield what is there of the data of a component: its file or directory, and what belongs beside it."""
    for suffix in ("", BESIDE, *LOGS):
        path = Path(f"{kept.path}{suffix}")
        if path.is_symlink() or path.is_file() or (path.is_dir() and any(path.iterdir())):
            yield path


def _move_aside(there: Sequence[Path], made: Made) -> tuple[Path, ...]:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    moved = []
    for path in there:
        target = path.with_name(f"{path.name}.before-restore-{stamp}")
        path.rename(target)
        made.moved(path, target)
        moved.append(target)
    return tuple(moved)


def _put_back(room: Path, kept: Kept, made: Made) -> None:
    for suffix in ("", BESIDE):
        source, target = room / (kept.name + suffix), Path(f"{kept.path}{suffix}")
        if not source.exists():
            continue
        if target.is_dir():
            target.rmdir()
        made.data(target)
        shutil.move(source, target)
        target.chmod(0o700 if target.is_dir() else 0o600)
