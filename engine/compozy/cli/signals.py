"""Signals that end a command, in this process alone: processes that a tool forks get the default actions back."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading

from compozy.cli.redaction import print_traceback

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FORKING = threading.local()


def interrupt_on_signals() -> None:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP as on SIGINT; an ignored SIGHUP (`nohup`) stays ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        _install(number, _interrupted)
    _restore_in_forks()


class Signals:
    """Turns SIGINT, SIGTERM and SIGHUP into a request to stop; a second one ends the process at once.

    While `starting` the first one interrupts whatever is going on. Children do not outlive the process, whichever
    way it ends.
    """

    def __init__(self) -> None:
        self.starting = True
        self._asked = False
        # A signal may reach any thread. Only what is written here wakes the main thread up, whichever it was.
        self._woken, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for number in ENDING:
            _install(number, self._received)
        _restore_in_forks()
        sys.unraisablehook = _unraisable

    def _received(self, number: int, _frame: object) -> None:
        # No lock may be taken here: the main thread may be about to release it.
        if self._asked:
            os._exit(128 + number)
        self._asked = True
        if self.starting:
            raise KeyboardInterrupt

    def wait(self) -> None:
        """Return when the process was asked to stop."""
        while not self._asked:
            os.read(self._woken, 64)


def end_worker_processes() -> None:
    """Terminate what tools started through `multiprocessing`; a process that ends by `os._exit` does not do it."""
    module = sys.modules.get("multiprocessing")
    for worker in module.active_children() if module is not None else ():
        worker.terminate()


def _install(number: int, handler: object) -> None:
    if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, handler)  # type: ignore[arg-type]


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


@functools.cache
def _restore_in_forks() -> None:
    # A signal that reached the child before its actions are restored would be lost.
    os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_restore)


def _block() -> None:
    _FORKING.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _FORKING.mask)


def _restore() -> None:
    """Give a forked process the default actions: with ours, a worker of a process pool could not be terminated."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    _unblock()


def _unraisable(problem: sys.UnraisableHookArgs) -> None:
    """Print no traceback of an interrupt that arrived in a destructor: the request to stop is noted all the same."""
    if not isinstance(problem.exc_value, KeyboardInterrupt):
        print_traceback(problem.exc_type, problem.exc_value, problem.exc_traceback)
