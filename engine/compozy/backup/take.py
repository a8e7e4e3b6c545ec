"""Back up the data that the components of a project keep on this machine into one archive, while they run.

It needs no running server and does not disturb one; the drivers name the files. All stores are copied at
one moment: an execution whose row is not in the copy has not recorded it in its history either, and writes it when it
is replayed; a finished row whose history still runs is written again with the same content.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

from compozy.backup.archive import Manifest, write_archive
from compozy.backup.signature import project_keys, sign
from compozy.backup.snapshot import CopiedData, copy_at_one_moment
from compozy.base.leftovers import private_directory, remove_leftovers
from compozy.base.record import dataclass
from compozy.drivers.sqlite import BESIDE as LOGS
from compozy.errors import BackupError, UsageError
from compozy.provisioning.plan import Plan, make_plan
from compozy.resolution.resolve import Resolved
from compozy.state.data_files import check_data_files
from compozy.state.move_journal import recover

BESIDE = ".version"  # what a driver may record beside a file, and what belongs to it


@dataclass(frozen=True, slots=True)
class Kept:
    """A file or directory in which an instance of a component keeps data; `name` is its name in the archive."""

    name: str
    path: Path
    locked: bool


def kept_data(plan: Plan) -> tuple[Kept, ...]:
    """Return what the components of a plan keep on this machine, whether it is there already or not.

    Raises:
        UsageError: the driver of a rule pack, which must not be imported, would have to be asked.
    """
    for step in plan.steps:
        if step.storage is None:
            reason = f"the data of {step.component} has an unknown place: its driver is Python that is not imported"
            raise UsageError(reason, hint=f"if you trust it, run: compozy trust {os.path.dirname(step.rules)}")
    return tuple(
        Kept(_archived(step.component, kept.name), Path(kept.path), kept.locked)
        for step in plan.steps
        for kept in step.storage or ()
    )


def _archived(component: str, name: str) -> str:
    """Return the name of data in an archive, which is the name of a file."""
    return quote(f"{component}.{name}", safe="[]")


def back_up(resolved: Resolved, target: Path) -> Manifest:
    """Write an archive of everything that is kept to `target`, which must not exist.

    Raises:
        UsageError: nothing is kept on this machine, or `target` exists or cannot be created.
        BackupError: a file could not be read.
        StateDirectoryError: a link or a special file is at a place of the data.
    """
    found = kept_data(make_plan(resolved))
    if not found:
        raise UsageError(
            f"mode {resolved.mode} keeps nothing on this machine that could be backed up",
            hint="name the mode of the server, such as --mode persistent; external services have their own tools",
        )
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{target} cannot be written: its directory does not exist", hint="make it, or name another")
    if target.exists():
        raise UsageError(f"{target} exists already", hint="name another file, or remove it")
    # An interrupted restore is completed first, or parts of two times would be archived.
    recover([kept.path.parent for kept in found])
    present = [kept for kept in found if kept.path.exists()]
    if not present:
        places = ", ".join(str(kept.path) for kept in found)
        raise UsageError(f"no data yet: {places}", hint="start once, or name the directory with --cwd")
    # Directories of earlier backups that were killed; they may be as large as the data.
    remove_leftovers(target.absolute().parent)
    check_data_files(*(f"{kept.path}{suffix}" for kept in found for suffix in ("", BESIDE, *LOGS)))
    try:
        with private_directory(target.absolute().parent) as folder:
            copy_at_one_moment(tuple(_stores(present)), folder)
            keys = project_keys(resolved)
            return write_archive(folder, target, None if keys is None else partial(sign, keys=keys))
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"the backup failed: {error}", hint="check directory, disk space and permissions") from error


def _stores(present: Sequence[Kept]) -> Iterator[CopiedData]:
    """Yield what is copied: the data of each component, and the record that a driver keeps beside it."""
    for kept in present:
        yield CopiedData(kept.name, kept.path, locked=kept.locked)
        record = Path(f"{kept.path}{BESIDE}")
        if record.exists():
            yield CopiedData(kept.name + BESIDE, record)
