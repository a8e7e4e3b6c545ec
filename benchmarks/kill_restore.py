"""Kill a restore at each of its file operations; the next command must find all of the old or all of the new data.

    python -m benchmarks.kill_restore              # every kill point, and every kill point of the recovery as well
    python -m benchmarks.kill_restore --every 5    # the short form of the test suite

A kill point is an audit event of the interpreter that stands for an operation on a file or directory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import compozy
from compozy.backup.restore import restore
from compozy.backup.take import back_up, kept_data
from compozy.provisioning.plan import make_plan
from compozy.resolution.resolve import Resolved
from compozy.state.move_journal import recover

OPERATIONS = ("open", "os.", "shutil.", "tempfile.", "fcntl.flock", "sqlite3.connect")
READING = ("os.kill", "os.listdir", "os.scandir", "os.walk")
OLD, NEW, MIXED = "old", "new", "mixed"


@dataclass
class Figures:
    """Counts of kill points by what the next command found."""

    points: int = 0
    old: int = 0
    new: int = 0
    mixed: int = 0
    leftovers: int = 0
    lost: int = 0


def project(directory: Path) -> Resolved:
    directory.mkdir(exist_ok=True)
    return compozy.load(directory=str(directory), settings={"mode": "persistent"}, environment={}).resolve()


def fill(state: Path, text: str) -> None:
    """Write `text` to every store."""
    for name in ("compozy.db", "temporal.db"):
        state.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(state / name)) as connection, connection:
            connection.execute("CREATE TABLE content (text)")
            connection.execute("INSERT INTO content VALUES (?)", (text,))
    (state / "temporal.db.version").write_text(text)
    (state / "redis" / "appendonlydir").mkdir(parents=True)
    (state / "redis" / "appendonlydir" / "a.aof").write_text(text)


def contents(state: Path, end: str = "") -> set[str]:
    """Return the texts that the stores hold; `end` is what follows the names of their files and directories."""
    found = {
        path.read_text() if path.is_file() else "missing"
        for path in (state / f"temporal.db.version{end}", state / f"redis{end}" / "appendonlydir" / "a.aof")
    }
    for name in ("compozy.db", "temporal.db"):
        if not (state / f"{name}{end}").is_file():
            found.add("missing")
            continue
        with closing(sqlite3.connect(f"file:{state / name}{end}?mode=ro", uri=True)) as connection:
            found.add(connection.execute("SELECT text FROM content").fetchone()[0])
    return found


def killed_at(point: int, work: Callable[[], object]) -> bool:
    """Run `work` in a fork that is killed before its operation number `point`; return False if it ended before."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        if status and not os.WIFSIGNALED(status):
            raise RuntimeError(f"the restore failed before kill point {point}")
        return os.WIFSIGNALED(status)
    left = point

    def count(event: str, _arguments: object) -> None:
        nonlocal left
        if event.startswith(OPERATIONS) and event not in READING:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


def points(every: int, work: Callable[[int], bool]) -> Iterator[int]:
    """Yield each kill point that `work` reached."""
    point = 0
    while work(point):
        yield point
        point += every


def check(state: Path, figures: Figures) -> None:
    """Count what the state directory holds."""
    found, aside = contents(state), [path.name for path in state.iterdir() if path.name.startswith("compozy.db.before")]
    kind = found.pop() if found in ({OLD}, {NEW}) else MIXED
    figures.points += 1
    setattr(figures, kind, getattr(figures, kind) + 1)
    figures.leftovers += sum(path.name.startswith(".compozy-") for path in state.iterdir())
    kept = kind == OLD or (len(aside) == 1 and contents(state, aside[0].removeprefix("compozy.db")) == {OLD})
    figures.lost += not kept


def run(room: Path, every: int, *, twice: bool) -> Figures:
    """Kill a restore with --force over existing data at each point, and with `twice` its recovery as well."""
    source, target = project(room / "source"), project(room / "target")
    fill(room / "source" / ".compozy", NEW)
    fill(room / "before", OLD)
    back_up(source, room / "backup.tar.gz")
    folders = [str(kept.path.parent) for kept in kept_data(make_plan(target))]
    state, figures = room / "target" / ".compozy", Figures()

    def restore_killed(point: int) -> bool:
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(room / "before", state)
        return killed_at(point, lambda: restore(target, room / "backup.tar.gz", force=True))

    for point in points(every, restore_killed):
        shutil.copytree(state, room / "killed")
        recover(folders)
        check(state, figures)
        if twice:
            for _ in points(every, lambda second: recovery_killed(second, room / "killed", state, folders)):
                recover(folders)
                check(state, figures)
        shutil.rmtree(room / "killed")
        print(f"\r{point}", end="", file=sys.stderr, flush=True)
    return figures


def recovery_killed(point: int, killed: Path, state: Path, folders: list[str]) -> bool:
    shutil.rmtree(state)
    shutil.copytree(killed, state)
    return killed_at(point, lambda: recover(folders))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--every", type=int, default=0, metavar="N", help="every Nth kill point, no second kill")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="compozy-kill-") as room:
        figures = run(Path(room), given.every or 1, twice=not given.every)
    print(json.dumps(asdict(figures)))


if __name__ == "__main__":
    main()
