"""Run one child process that never outlives its parent.

The child ends with this process in every case, `kill -9` included. Its log lines are passed to the caller, which also
decides on restarts.

The child starts as a small shell, which starts a *guardian* in the background and then becomes the server (`exec`), so
that process id, signals and exit code are those of the server. The guardian waits on a socket whose other end is open
only in the parent. When the parent ends or shuts the socket down, the guardian kills the server, removes its scratch
directory and kills the rest of the process group, itself included. Process ids are never guessed: `$$` leads the
guardian's own session, and the system does not reuse a number while a session or group has it. A parent-death signal
would be simpler, but is tied to the thread that forked and exists on Linux only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import field
from functools import partial
from typing import IO

from compozy.base.ownership import user_name
from compozy.base.record import dataclass
from compozy.drivers.spare_files import with_spare_files
from compozy.errors import DriverError

# The server's standard output is the guardian's socket until `exec` sends it to where its errors go.
_SHELL = """
umask 077
[ -z "$1" ] || mkdir "$1" || exit 126
exec 3<&1 1>&2
( trap '' INT TERM HUP QUIT
  read -r _ <&3
  kill -9 $$
  [ -z "$1" ] || rm -rf "$1"
  kill -9 0 ) </dev/null >/dev/null 2>&1 &
shift
exec "$@" 3<&-
"""
# No other variable is inherited: it could hold a secret, or change the settings of the server.
_PASSED_ON = ("LANG", "LC_ALL", "PATH", "TMPDIR", "TZ")
# A server finds no settings in its home directory and cannot create one, not even as root.
_NO_HOME = "/proc/none"
# Lines kept in memory: enough for the error of a failed start, and bounded for a process that runs for months.
_TAIL = 400
_KILL_S = 5.0
_OPEN: weakref.WeakSet[socket.socket] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Command:
    """The command line of a process: `argv` under the name that logs and errors use.

    `config` is what the process reads on its standard input (at most 64 KiB). `scratch` is a directory that is made
    for the process and removed with it, or empty. `level` returns the level of a log line. `directory` is the
    working directory. `inherited` are descriptors that the process gets, under the same numbers.
    """

    name: str
    argv: tuple[str, ...]
    config: str = field(default="", repr=False)
    scratch: str = ""
    level: Callable[[str], int] | None = field(default=None, repr=False)
    directory: str = "/"
    inherited: tuple[int, ...] = ()


class Guard:
    """The parent's end of the socket that keeps a child alive."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        _OPEN.add(end)

    def release(self) -> None:
        """Make the guardian kill the child; idempotent."""
        with contextlib.suppress(OSError):
            self.end.shutdown(socket.SHUT_WR)

    def close(self, timeout_s: float) -> None:
        """Make the guardian kill the child, and wait for it."""
        self.release()
        with contextlib.suppress(OSError):
            self.end.settimeout(timeout_s)
            # Only the guardian holds the other end, so end of file means that it has ended.
            self.end.recv(1)
        self.end.close()


def _forget() -> None:
    for end in list(_OPEN):
        end.close()


# A child forked without exec, as by a process pool, would keep the sockets open after this process has ended.
os.register_at_fork(after_in_child=_forget)


class Process:
    """A running child; `line` gets each line that it writes, `ended` is called once when its whole group has ended."""

    def __init__(self, command: Command, line: Callable[[str], None], ended: Callable[[Process], None]) -> None:
        """Start the process.

        Raises:
            DriverError: it could not be started.
        """
        self.command = command
        self.lasted_s = 0.0
        self._began = time.monotonic()
        self._reaping = threading.Lock()
        self._reaped, self._gone = threading.Event(), threading.Event()
        self._line = line
        self._ended = ended
        self._rest = b""
        self._tail: deque[str] = deque(maxlen=_TAIL)
        try:
            # When no descriptor is left, a restart must still succeed, because the requests that use them up wait for
            # the server.
            end, self._popen = with_spare_files(partial(_launch, command))
        except OSError as error:
            raise DriverError(f"{command.name} could not be started: {error.strerror}") from error
        self._guard = Guard(end)
        self.pid = self._popen.pid
        # Two threads: the end of the log shows the end of the whole group, and that of the process must be noticed
        # while a child of it still holds the log open.
        for work in (self._follow, self._reap):
            threading.Thread(target=work, name=f"compozy-{command.name}", daemon=True).start()

    def running(self) -> bool:
        """Return True while the process or a member of its group runs."""
        return not self._gone.is_set()

    def code(self) -> int | None:
        """Return the exit code, negative for a signal, or None while it runs."""
        return self._popen.returncode

    def tail(self) -> str:
        """Return the last lines that it wrote."""
        return "\n".join(self._tail)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; do nothing if the process has ended."""
        # Not through `Popen`, which would reap it first and so give its number away (see `_reap`).
        with self._reaping, contextlib.suppress(ProcessLookupError):
            if self._popen.returncode is None:
                os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the whole group has ended; return False after `timeout_s`."""
        return self._gone.wait(timeout_s)

    def kill(self) -> None:
        """Kill the process and its group, and wait for their end; idempotent."""
        self._guard.release()
        # The guardian kills by process group; if it is hung or killed itself, the signal goes to the server directly.
        if not self.wait(_KILL_S):
            self.signal(signal.SIGKILL)
            self.wait(_KILL_S)

    def _reap(self) -> None:
        """Kill the children of the server when it has ended; while they run, its log does not end."""
        if sys.platform == "linux":
            # Until the server is reaped, its number identifies it and its group. If SIGCHLD was ignored when this
            # process was started, children are not reaped and the number may already be reused.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
                with self._reaping, contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                    # Reaping frees the process id; under the lock, so that no other thread is about to signal it.
                    self._popen.wait()
        self._popen.wait()
        self._guard.release()
        self._reaped.set()

    def _follow(self) -> None:
        """Pass on lines until the process ends; then remove its remains, and report the end in any case."""
        try:
            with selectors.PollSelector() as selector, self._popen:
                selector.register(self._errors(), selectors.EVENT_READ)
                selector.register(self._guard.end, selectors.EVENT_READ)
                while self._errors() in selector.get_map():
                    for key, _ in selector.select():
                        self._read(key.fileobj, selector)
                # The exit code must be known before the end is reported: the supervision logs it.
                self._reaped.wait()
        finally:
            self._guard.close(_KILL_S)
            if self.command.scratch:
                shutil.rmtree(self.command.scratch, ignore_errors=True)
            self.lasted_s = time.monotonic() - self._began
            self._gone.set()
            self._ended(self)

    def _errors(self) -> int:
        stream = self._popen.stderr
        return stream.fileno() if stream is not None else -1

    def _read(self, source: object, selector: selectors.BaseSelector) -> None:
        if source is self._guard.end:
            # Without its guardian the server would outlive this process: end it now.
            selector.unregister(self._guard.end)
            self.signal(signal.SIGKILL)
            return
        data = os.read(self._errors(), 65536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data:
            selector.unregister(self._errors())
            lines = [self._rest] if self._rest else []
        for raw in lines:
            text = raw.decode(errors="replace").rstrip()
            self._tail.append(text)
            self._line(text)


def _launch(command: Command) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a process; return it with our end of the socket that keeps it alive."""
    ours, theirs = socket.socketpair()
    try:
        return ours, _spawn(command, theirs)
    except BaseException:
        ours.close()
        raise
    finally:
        # The child has a copy. While ours stayed open, the end of the guardian would not show as end of file on `ours`.
        theirs.close()


def _spawn(command: Command, guard: socket.socket) -> subprocess.Popen[bytes]:
    # Secrets of the configuration go through a pipe: arguments and environment are visible to other processes.
    with _input(command.config) as stdin:
        return subprocess.Popen(
            ["/bin/sh", "-c", _SHELL, command.name, command.scratch, *command.argv],
            stdin=stdin, stdout=guard.fileno(), stderr=subprocess.PIPE, cwd=command.directory, env=environment(),
            pass_fds=command.inherited, start_new_session=True,  # Ctrl-C in the terminal is for us alone
        )  # fmt: skip


def _input(text: str) -> IO[bytes]:
    """Return the read end of a pipe that holds `text` and then ends.

    Raises:
        OSError: the text is longer than a pipe holds.
    """
    read_end, write_end = os.pipe()
    content = text.encode(errors="surrogateescape")
    # No process reads yet: a text longer than the buffer of the pipe would block a blocking write for ever.
    os.set_blocking(write_end, False)
    with os.fdopen(write_end, "wb", buffering=0) as stream:
        if stream.write(content) != len(content):
            os.close(read_end)
            raise OSError(errno.E2BIG, "its configuration is longer than a pipe holds")
    return os.fdopen(read_end, "rb")


def environment() -> dict[str, str]:
    """Return the environment of children: complete for a user id without a name, and without settings of others."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if os.environ.get(name)}
    return {**passed_on, "USER": user_name(os.geteuid()).replace(" ", "-"), "HOME": _NO_HOME}
