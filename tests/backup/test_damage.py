"""Damaged, missing and shrunk data: doctor and start agree about each kind, and neither writes over it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.drivers.starting import Starting, starting
from tests.support.kept_data import lifecycle

from compozy.drivers.inventory import Inventory, holding_of
from compozy.errors import DriverError
from compozy.provisioning.doctor import examine_step
from compozy.provisioning.plan import Plan, make_plan
from compozy.provisioning.step import Step, build_driver
from compozy.resolution.resolve import Resolved
from compozy.state.state_directory import StateDirectory

pytestmark = pytest.mark.persistent

COMPONENT = {
    "compozy.db": "database", "temporal.db": "temporal", "temporal.db.version": "temporal", "key": "temporal",
    "temporal.db-wal": "temporal",
    "MANIFEST": "redis", "BASE": "redis", "INCR": "redis", "dump.rdb": "redis", "redis": "redis",
    "redis/appendonlydir": "redis", "version": "database", "inventory.json": "database", ".gitignore": "database",
    "lock": "database", "compozy.db.compozy-lock": "database", "temporal.db.compozy-lock": "temporal",
    "redis.compozy-lock": "redis",
}  # fmt: skip
PATTERNS = {"MANIFEST": "*.manifest", "BASE": "*.base.rdb", "INCR": "*.incr.aof"}
LOCKS = tuple(name for name in COMPONENT if name.endswith("lock"))
DATA = ("compozy.db", "temporal.db", "MANIFEST", "BASE", "INCR")


def halve(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def overwrite(file: Path, first: int, content: bytes) -> None:
    with file.open("r+b") as stream:
        stream.seek(first)
        stream.write(content)


def replace_by_link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def replace_by_foreign_database(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE recipes (name)")


def replace_by_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replace_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def replace_by_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "removed": lambda file: file.unlink(),
    "emptied": lambda file: os.truncate(file, 0),
    "halved": halve,
    "cut": lambda file: os.truncate(file, max(0, file.stat().st_size - 30)),
    "head": lambda file: overwrite(file, 0, b"\0" * 20),
    "middle": lambda file: overwrite(file, file.stat().st_size // 2, b"\xff" * 40),
    "garbage": lambda file: file.write_bytes(b"garbage\n" * (file.stat().st_size // 8 + 1)),
    "directory": replace_by_directory,
    "link": replace_by_link,
    "hard-link": lambda file: os.link(file, file.with_name("second-name")),
    "pipe": replace_by_pipe,
    "foreign": replace_by_foreign_database,
    "newer": lambda file: file.write_text('{"layout": 99, "server": "99.0.0", "binary": "x"}'),
    "planted": lambda file: file.write_text("other: program\n"),
    "planted-directory": lambda file: file.mkdir(),
    "tree-removed": lambda folder: shutil.rmtree(folder),
    "file": replace_by_file,
}
FILES = ("compozy.db", "temporal.db", "temporal.db.version", "key", "MANIFEST", "BASE", "INCR", "version")
CONTENT = ("removed", "emptied", "halved", "cut", "head", "middle", "garbage", "directory")
PLACED = ("link", "hard-link", "pipe")
KINDS = [
    *((file, kind) for file in FILES for kind in CONTENT),
    *((file, kind) for file in ("compozy.db", "BASE") for kind in PLACED),
    *((file, "planted") for file in LOCKS), ("lock", "planted-directory"),
    *(("inventory.json", kind) for kind in ("garbage", "halved", "directory")),
    *(("temporal.db-wal", kind) for kind in ("removed", "emptied", "halved", "link")),
    ("dump.rdb", "removed"), ("dump.rdb", "halved"), (".gitignore", "removed"),
    ("redis", "tree-removed"), ("redis/appendonlydir", "tree-removed"), ("redis", "file"),
    ("compozy.db", "foreign"), ("temporal.db", "foreign"), ("version", "newer"), ("temporal.db.version", "newer"),
]  # fmt: skip
LOST = {
    *((file, "planted") for file in LOCKS), ("lock", "planted-directory"),
    *((file, kind) for file in DATA for kind in ("removed", "emptied", "halved")),
    ("temporal.db-wal", "removed"), ("redis", "tree-removed"), ("redis/appendonlydir", "tree-removed"),
    ("compozy.db", "foreign"), ("temporal.db", "foreign"), ("version", "newer"), ("temporal.db.version", "newer"),
}  # fmt: skip


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory that all components have used and that was stopped in order."""
    directory = tmp_path_factory.mktemp("used")
    project = lifecycle(directory)
    project.resolve()
    project.validate()
    with project.provision() as runtime:
        with runtime.database.connection_context():
            runtime.database.execute_sql("CREATE TABLE notes (text TEXT)")
            for number in range(60):
                runtime.database.execute_sql("INSERT INTO notes VALUES (?)", (str(number) * 200,))
        for number in range(300):
            runtime.redis.set(f"key-{number}", "value" * 20)
    assert (directory / ".compozy" / "inventory.json").exists()
    return directory / ".compozy"


def move_logs_into_files(state: Path) -> None:
    """Close the databases as their last user does."""
    for file in state.glob("*.db"):
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(truncate)").fetchall()


@pytest.fixture
def started() -> Iterator[Starting]:
    with starting() as begun:
        yield begun


@dataclass(frozen=True)
class Damaged:
    """A project whose state directory is damaged, and the step of the component that it concerns."""

    resolved: Resolved
    plan: Plan
    step: Step

    @property
    def state_dir(self) -> str:
        assert self.plan.state_dir is not None
        return self.plan.state_dir


def damage(directory: Path, used: Path, file: str, kind: str) -> Damaged:
    state = directory / ".compozy"
    shutil.copytree(used, state)
    if not file.endswith("-wal"):
        move_logs_into_files(state)
    log = state / "redis" / "appendonlydir"
    plain = state / ("redis/dump.rdb" if file == "dump.rdb" else file)
    place = next(log.glob(PATTERNS[file])) if file in PATTERNS else plain
    DAMAGES[kind](place)
    resolved = lifecycle(directory).resolve()
    plan = make_plan(resolved)
    return Damaged(resolved, plan, next(step for step in plan.steps if step.component == COMPONENT[file]))


def refusal_of_doctor(damaged: Damaged, started: Starting) -> str:
    """Return why doctor expects that a start fails, or an empty text."""
    try:
        StateDirectory(damaged.state_dir).examine()
    except DriverError as error:
        return error.message
    context = replace(started.context(state_dir=damaged.state_dir), component=damaged.step.component)
    answers = examine_step(damaged.resolved, damaged.step, context)
    checked = [answer for answer in answers if answer.id.endswith((".intact", ".files"))]
    return "; ".join(answer.message for answer in checked if answer.status == "fail")


def refusal_of_start(damaged: Damaged, started: Starting) -> str:
    """Return why the state directory or the component is refused, or an empty text; what starts is stopped."""
    state, driver = StateDirectory(damaged.state_dir), build_driver(damaged.step)
    try:
        state.acquire()
        Inventory(damaged.state_dir).check(damaged.step.component, holding_of(driver))
        driver.start(started.context(state_dir=damaged.state_dir))
    except DriverError as error:
        return error.message
    finally:
        driver.stop(0)
        state.release()
    return ""


def contents(state: str) -> dict[str, object]:
    """Return what lies in a directory, except for the index of a log, which SQLite rebuilds when it reads."""
    paths = (path for path in Path(state).rglob("*") if not path.name.endswith("-shm"))
    return {str(path): path.read_bytes() if path.is_file() else path.lstat().st_mode for path in paths}


@pytest.mark.parametrize(("file", "kind"), [pytest.param(*found, id="-".join(found)) for found in KINDS])
def test_doctor_agrees_with_start_about_damage(
    file: str, kind: str, tmp_path: Path, used: Path, started: Starting
) -> None:
    """Data that is missing or has shrunk is refused; neither changes what it refuses."""
    damaged = damage(tmp_path, used, file, kind)
    before = contents(damaged.state_dir)
    expected = refusal_of_doctor(damaged, started)
    assert contents(damaged.state_dir) == before, "doctor changed the state directory"
    refusal = refusal_of_start(damaged, started)
    assert bool(expected) == bool(refusal), (expected, refusal)
    assert refusal or (file, kind) not in LOST
    if refusal:
        after = contents(damaged.state_dir)
        assert {path: after.get(path) for path in before} == before, "the start changed data that it refused"
