"""Signals that end a command, in this process alone: processes that a tool forks get the default actions back.

The interpreter records each signal as a byte in a socket, also while another thread holds its lock. The bytes stay
there: the main thread waits for them, and a watchdog process, which needs nothing of this interpreter, counts them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

from compozy.base.interruption import interrupt
from compozy.cli.redaction import print_traceback

if TYPE_CHECKING:
    import subprocess

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REPEAT_S = 0.01
_IMPORT = "<frozen importlib._bootstrap>"
_FORKING = threading.local()


def interrupt_on_signals() -> None:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP as on SIGINT; an ignored SIGHUP (`nohup`) stays ignored."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupted)
    signal.signal(signal.SIGALRM, _interrupted)
    sys.unraisablehook = _repeat_interrupt
    _restore_in_forks()


class Signals:
    """Turns SIGINT, SIGTERM and SIGHUP into a request to stop; a second one ends the process at once.

    While `starting` the first one interrupts the start. Children do not outlive the process, however
    it ends.
    """

    def __init__(self) -> None:
        import socket

        self.starting = True
        self._asked = False
        # A signal may reach any thread. Only what is written here wakes up the main thread.
        self._woken, self._waker = socket.socketpair()
        # `set_wakeup_fd` requires a descriptor that does not block.
        self._waker.setblocking(False)
        self._peek = socket.MSG_PEEK
        self._watchdog: subprocess.Popen[bytes] | None = None
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in ENDING:
            _install(number, self._received)
        signal.signal(signal.SIGALRM, self._repeated)
        _restore_in_forks()
        sys.unraisablehook = self._unraisable

    def _received(self, number: int, frame: FrameType | None) -> None:
        # No lock may be taken here: the main thread may be about to release it.
        if self._asked:
            # The second signal: the user does not want to wait, and a cleanup may be what hangs.
            os._exit(128 + number)
        self._asked = True
        self._repeated(number, frame)

    def _repeated(self, number: int, frame: FrameType | None) -> None:
        if self.starting:
            _interrupted(number, frame)

    def _unraisable(self, problem: sys.UnraisableHookArgs) -> None:
        """Repeat an interrupt that was lost while starting; later the request to stop is noted all the same."""
        _repeat_interrupt(problem) if self.starting else _unraisable(problem)

    def wait(self) -> None:
        """Return when the process was asked to stop."""
        while not self._asked:
            select.select([self._woken], [], [])
            # The byte of an ending signal stays in the socket, because the watchdog process counts them there.
            if not any(number in ENDING for number in self._woken.recv(64, self._peek)):
                self._woken.recv(64)

    def watch(self, grace_s: float) -> None:
        """Start a watchdog process that kills this one `grace_s` seconds after a signal, or soon after a second one."""
        import subprocess

        from compozy.cli import watchdog

        # Isolated and without `site`: it starts at once and imports nothing of the project.
        command = [sys.executable, "-I", "-S", watchdog.__file__, str(grace_s), *map(str, map(int, ENDING))]
        # Without the watchdog only `kill -9` ends a process that holds its interpreter.
        with contextlib.suppress(OSError):
            self._watchdog = subprocess.Popen(
                command, stdin=self._woken.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
                start_new_session=True,
            )  # fmt: skip

    def close(self) -> None:
        """End the watchdog process."""
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.wait()


def end_on_signals(code: int) -> None:
    """Make a signal end the process at once, with the exit code of its finished command."""
    for number in (*ENDING, signal.SIGALRM):
        _install(number, lambda *_: os._exit(code))


def end_worker_processes() -> None:
    """Terminate what tools started through `multiprocessing`; a process that ends by `os._exit` does not do it."""
    module = sys.modules.get("multiprocessing")
    for worker in module.active_children() if module is not None else ():
        worker.terminate()


def _install(number: int, handler: object) -> None:
    # `nohup` ignores SIGHUP for a command, and that must stay so.
    if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, handler)  # type: ignore[arg-type]


def _interrupted(_number: int, frame: FrameType | None) -> None:
    """Interrupt the main thread, after an import: a class that is being created turns the exception into another."""
    if _imports(frame):
        signal.setitimer(signal.ITIMER_REAL, _REPEAT_S)
    else:
        interrupt()


def _imports(frame: FrameType | None) -> bool:
    """Return True if a frame, or one that called it, is of the machinery of imports."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False


@functools.cache
def _restore_in_forks() -> None:
    # A signal that reached the child before its actions are restored would be lost.
    os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_restore)


def _block() -> None:
    _FORKING.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _FORKING.mask)


def _restore() -> None:
    """Restore the default actions in a forked process, so that a worker of a process pool can be terminated."""
    # The socket is shared with the parent, where a signal of the child would count as well.
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    _unblock()


def _repeat_interrupt(problem: sys.UnraisableHookArgs) -> None:
    """Raise KeyboardInterrupt again a moment after a destructor or a callback has lost it."""
    _unraisable(problem)
    if isinstance(problem.exc_value, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _REPEAT_S)


def _unraisable(problem: sys.UnraisableHookArgs) -> None:
    """Print the traceback of an error in a destructor or a callback, unless it is an interrupt."""
    if not isinstance(problem.exc_value, KeyboardInterrupt):
        print_traceback(problem.exc_type, problem.exc_value, problem.exc_traceback)
