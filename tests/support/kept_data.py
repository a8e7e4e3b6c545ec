"""Projects in persistent mode whose components hold known data, for the tests of backup and restore."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import compozy
from compozy.backup.take import back_up
from compozy.provisioning.lifecycle import Lifecycle
from compozy.resolution.resolve import Resolved

DATABASE, TEMPORAL, REDIS = (
    "database.path", "temporal.standalone.database_file", "redis.standalone.persistence.data_dir",
)  # fmt: skip


def project(directory: Path, settings: Mapping[str, str] | None = None) -> Resolved:
    directory.mkdir(exist_ok=True)
    return lifecycle(directory, settings).resolve()


def lifecycle(directory: Path, settings: Mapping[str, str] | None = None) -> Lifecycle:
    return compozy.load(directory=str(directory), settings={"mode": "persistent", **(settings or {})}, environment={})


def place(resolved: Resolved, name: str) -> Path:
    return Path(str(resolved.get(name)))


def write_rows(file: Path, *names: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE rows (name)")
        connection.executemany("INSERT INTO rows VALUES (?)", [(name,) for name in names])
        connection.commit()


def read_rows(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM rows")]


def fill(resolved: Resolved, name: str) -> None:
    """Write `name` into the data of every component."""
    write_rows(place(resolved, DATABASE), name)
    write_rows(place(resolved, TEMPORAL), name)
    Path(f"{place(resolved, TEMPORAL)}.version").write_text(name)
    (place(resolved, REDIS) / "appendonlydir").mkdir(parents=True)
    (place(resolved, REDIS) / "appendonlydir" / "a.aof").write_text(name)


def contents(resolved: Resolved) -> list[str]:
    """Return the contents of the data of every component."""
    return [
        *read_rows(place(resolved, DATABASE)),
        *read_rows(place(resolved, TEMPORAL)),
        Path(f"{place(resolved, TEMPORAL)}.version").read_text(),
        (place(resolved, REDIS) / "appendonlydir" / "a.aof").read_text(),
    ]


def saved(folder: Path) -> Path:
    """Return a backup of a project in which every component holds "saved"."""
    resolved = project(folder / "source")
    fill(resolved, "saved")
    back_up(resolved, folder / "backup.tar.gz")
    return folder / "backup.tar.gz"


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
