"""Interrupts of the main thread, held back while an exception at any moment would leave something half done.

A signal handler calls `interrupt`. Within `held` it only notes the request, which a wait raises by `raise_noted`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Requests:
    """The state of the process; no dataclass, because every command imports this module."""

    held = False
    noted = False


_requests = _Requests()


def interrupt() -> None:
    """Raise KeyboardInterrupt, or note it while interrupts are held."""
    _requests.noted = _requests.held
    if not _requests.held:
        raise KeyboardInterrupt


def raise_noted() -> None:
    """Raise KeyboardInterrupt in the main thread if one was noted."""
    if _requests.noted and threading.current_thread() is threading.main_thread():
        _requests.noted = False
        raise KeyboardInterrupt


@contextmanager
def held() -> Iterator[None]:
    """Hold interrupts back; one that no wait has raised is raised at the end, unless the block raises another error.

    Interrupts are raised in the main thread, so that a block of another thread holds nothing back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Blocks nest, so that the state of the outer one is put back; only the outermost raises.
    before, _requests.held = _requests.held, True
    try:
        yield
    except BaseException:
        _requests.held, _requests.noted = before, False
        raise
    _requests.held = before
    raise_noted()
