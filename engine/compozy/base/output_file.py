"""Write files: the only place in this package that creates or replaces one.

A file appears under its name complete or not at all. Its content is written to a temporary name in the same directory,
exclusively and without following links, reaches the disk, and is renamed; so another user can neither read it through
a prepared name nor redirect it through a link.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

TEMPORARY = ".compozy-partial-"  # the beginning of every temporary name
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


def write_file(
    path: str | Path, content: str | bytes, *, mode: int = 0o600, replace: bool = True, durable: bool = True
) -> None:
    """Write a file as `new_file` does; text is encoded as UTF-8.

    Raises:
        OSError: see `new_file`.
    """
    with new_file(path, mode=mode, replace=replace, durable=durable) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def merge_file(path: str | Path, merge: Callable[[bytes], bytes], *, mode: int = 0o600) -> None:
    """Replace a file with what `merge` returns for its content, which is empty for a missing file.

    Processes that do so at the same time take turns by a lock on the directory.

    Raises:
        OSError: see `new_file`.
    """
    target = Path(path)
    with _directory(target.parent) as folder:
        # On the directory and not on the file, which is replaced by each of the processes.
        fcntl.flock(folder, fcntl.LOCK_EX)
        content = b""
        with suppress(FileNotFoundError), open_regular(target) as stream:
            content = stream.read()
        write_file(target, merge(content), mode=mode)


def open_appended(path: str | Path) -> int:
    """Open a file to append to, made with mode 0600 where it does not exist, and return its descriptor.

    Raises:
        OSError: `path` is a link, not a regular file or owned by another user, or cannot be written.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(descriptor)
        raise OSError(errno.EPERM, "it is not a regular file of this user", str(path))
    return descriptor


def copy_file(source: str | Path, target: str | Path) -> None:
    """Copy a regular file to a new file of mode 0600; a symbolic link at `source` is not followed.

    Raises:
        OSError: `source` is not a regular file, or see `new_file`.
    """
    with open_regular(source) as content, new_file(target, replace=False) as stream:
        shutil.copyfileobj(content, stream, 1024 * 1024)


@contextmanager
def new_file(
    path: str | Path, *, mode: int = 0o600, replace: bool = True, durable: bool = True, stays_locked: bool = False
) -> Iterator[BinaryIO]:
    """Yield a stream; what is written to it becomes the file `path` when the block ends without an error.

    With `replace` an existing file of ours is replaced. With `durable` file and directory are synchronised with the
    disk; a file that means nothing after a loss of power can do without. The stream is locked; with `stays_locked` the
    lock lasts as long as a duplicate of its descriptor.

    Raises:
        FileExistsError: `path` exists and `replace` is not set.
        OSError: `path` is a link, not a regular file or owned by another user, or cannot be written.
    """
    target = Path(path)
    with _directory(target.parent) as folder:
        _check_target(target, folder, replace=replace)
        temporary, descriptor = _create_temporary(mode, folder)
        with cast(BinaryIO, os.fdopen(descriptor, "w+b")) as stream:
            try:
                yield stream
                stream.flush()
                if durable:
                    # Before the rename: after a loss of power the name must not lead to a file whose content was never
                    # written.
                    os.fsync(stream.fileno())
                _publish(temporary, target, folder, replace=replace)
                if not stays_locked:
                    _unlock(stream.fileno())
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
        if durable:
            os.fsync(folder)


def _unlock(descriptor: int) -> None:
    """End the lock also for a process that another thread forks just now, which closes its duplicate a moment later."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file for reading without following a symbolic link in its last component.

    Raises:
        OSError: it is a link or not a regular file, or cannot be read.
    """
    # O_NONBLOCK has no effect on a regular file, and keeps the opening of a pipe from waiting for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return cast(BinaryIO, os.fdopen(descriptor, "rb"))


def sync_directory(path: str | Path) -> None:
    """Synchronise the entries of a directory with the disk.

    Raises:
        OSError: it is not a directory, or cannot be opened.
    """
    with _directory(path) as folder:
        os.fsync(folder)


def sync_tree(path: str | Path) -> None:
    """Synchronise a directory and those below it with the disk, the deepest first; files are not read.

    Raises:
        OSError: one of them cannot be opened.
    """
    for folder, _, _ in os.walk(path, topdown=False):
        sync_directory(folder)


@contextmanager
def _directory(path: str | Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _create_temporary(mode: int, folder: int) -> tuple[str, int]:
    """Create a file under a temporary name, locked so that `remove_leftovers` knows that it is in use."""
    while True:
        name = f"{TEMPORARY}{secrets.token_hex(8)}"
        descriptor = _create(name, mode, folder)
        # Some file systems have no locks.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Between creation and lock the file looks like the remains of a killed process, and another one may remove it.
        if os.fstat(descriptor).st_nlink:
            return name, descriptor
        # It was removed as a leftover before it was locked.
        os.close(descriptor)


def _create(name: str, mode: int, folder: int) -> int:
    return os.open(name, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_RDWR | os.O_CLOEXEC, mode, dir_fd=folder)


def _check_target(target: Path, folder: int, *, replace: bool) -> None:
    """Refuse to put a file over anything but a regular file of ours.

    Raises:
        OSError: something else is there.
    """
    try:
        found = os.stat(target.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not replace:
        raise FileExistsError(errno.EEXIST, "it exists already", str(target))
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "it is a symbolic link", str(target))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(target))
    _check_owner(found, target)


def _check_owner(found: os.stat_result, target: Path) -> None:
    if found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"it is owned by user id {found.st_uid}", str(target))


def _publish(temporary: str, target: Path, folder: int, *, replace: bool) -> None:
    """Rename the finished file; the owner is checked again because others may write to the directory."""
    # A link fails where the name exists, a rename would replace the file; so the check and the change are one step.
    if replace or not _link(temporary, target.name, folder):
        os.replace(temporary, target.name, src_dir_fd=folder, dst_dir_fd=folder)
    _check_owner(os.stat(target.name, dir_fd=folder, follow_symlinks=False), target)


def _link(temporary: str, name: str, folder: int) -> bool:
    """Rename to a name that must be free; where the file system has no links, reserve the name and return False.

    Raises:
        FileExistsError: the name is not free.
    """
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Exclusive creation reserves the name; the rename that follows replaces this empty file.
        os.close(_create(name, 0o600, folder))
        return False
    os.unlink(temporary, dir_fd=folder)
    return True
