"""Hints for errors of the operating system, by number; texts of the system depend on its language."""

from __future__ import annotations

import errno
from collections.abc import Mapping

HINTS: Mapping[int, str] = {
    errno.ENOSPC: "free some space on the disk",
    errno.EDQUOT: "free some space, or raise the quota of the user",
    errno.EIO: "the disk or the network file system has an error; see the log of the system",
    errno.EROFS: "choose a directory on a file system that can be written",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the system's limit of open files",
    errno.ENOMEM: "free some memory",
}


def hint_for(error: OSError, otherwise: str = "check the permissions") -> str:
    """Return what to do about `error`.

    >>> hint_for(OSError(errno.ENOSPC, "No space left on device"))
    'free some space on the disk'
    """
    return HINTS.get(error.errno or 0, otherwise)
