"""A few open files in reserve, for what must work when this process has opened as many files as it may.

Tools run inside this process and may use up its descriptors. A crashed server is restarted and asked for its health all
the same: for the moment of the call the reserve is closed.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from typing import TypeVar

# More than the pipes and sockets of one new process.
RESERVED = 16
_EXHAUSTED = (errno.EMFILE, errno.ENFILE)
_LOCK = threading.Lock()
_SPARE: list[int] = []
Result = TypeVar("Result")


def with_spare_files(call: Callable[[], Result]) -> Result:
    """Return what `call` returns; where descriptors have run out it is called again with those of the reserve.

    Raises:
        OSError: `call` raised it, with the reserve as well.
    """
    with _LOCK:
        _fill()
    try:
        return call()
    except OSError as error:
        if error.errno not in _EXHAUSTED:
            raise
    with _LOCK:
        _empty()
        try:
            return call()
        finally:
            _fill()


def _fill() -> None:
    try:
        while len(_SPARE) < RESERVED:
            _SPARE.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        # The reserve is as large as the descriptors that are left.
        return


def _empty() -> None:
    while _SPARE:
        os.close(_SPARE.pop())
