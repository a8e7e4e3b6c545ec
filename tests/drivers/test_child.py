"""A supervised child: its output is logged, it is restarted after a crash, and it never outlives this process."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.polling import DEADLINE_S, eventually

from compozy.drivers import child as supervision
from compozy.drivers.child import Child
from compozy.drivers.process import Command
from compozy.errors import DriverError

from .starting import Starting, marked

ORPHAN_S = 5.0
Launch = Callable[..., Child]

# A parent that is killed: it starts children and prints a line for each.
PARENT = """
import os, sys, time
from compozy.drivers.process import Command, Process
marker, moment, scratch = sys.argv[1:4]
command = Command("sleeper", ("/bin/sh", "-c", f"sleep 300; : {marker}"), "config", scratch)
print("spawning", flush=True)
process = Process(command, lambda line: None, lambda process: None)
if moment == "at-once":
    os.kill(os.getpid(), 9)
if moment == "forked" and os.fork() == 0:
    time.sleep(300)
print(process.pid, flush=True)
time.sleep(300)
"""


@pytest.fixture
def marker() -> Iterator[str]:
    name = f"marker-{uuid.uuid4().hex}"
    yield name
    for process in marked(name):
        process.kill()


UNREAPED = """
import threading
from compozy.drivers.process import Command, Process
ended = threading.Event()
process = Process(Command("short", ("/bin/sh", "-c", "exit 3")), lambda line: None, lambda process: ended.set())
print("ended" if ended.wait(20) and not process.running() else "running")
"""


@pytest.fixture
def launch(started: Starting, marker: str) -> Iterator[Launch]:  # ended before what is marked is killed
    """Start a child that is ended after the test."""
    launched: list[Child] = []

    def start(command: Command, **options: Any) -> Child:
        child = Child(command, **options)
        launched.append(child)
        child.start()
        return child

    yield start
    for child in launched:
        child.stop(signal.SIGTERM, 0)


def sleeper(marker: str) -> Command:
    return Command("sleeper", ("/bin/sh", "-c", f"sleep 300; : {marker}"))


def parent(marker: str, moment: str, scratch: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PARENT, marker, moment, scratch], stdout=subprocess.PIPE, text=True)


def running(child: Child, marker: str) -> psutil.Process:
    """Return the server process itself, past its time as a shell."""
    eventually(lambda: bool(servers(child, marker)), "the start of the server")
    return servers(child, marker)[0]


def wait_for_restart(child: Child, count: int) -> None:
    eventually(lambda: child.restarts == count and child.running(), f"restart {count}")


def alive() -> bool:
    """Answer a health check."""
    return True


def servers(child: Child, marker: str) -> list[psutil.Process]:
    return [process for process in marked(marker) if process.pid == child.pid and "mkdir" not in str(process.cmdline())]


def test_output_of_child_is_logged_under_its_name(
    started: Starting, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    """Standard output and standard error both become log records."""
    caplog.set_level(logging.INFO, "compozy.child")
    child = launch(Command("teller", ("/bin/sh", "-c", "echo out; echo err >&2; sleep 300")))
    child.wait_until(lambda: "err" in child.tail(), started.context())
    assert [record.getMessage() for record in caplog.records] == ["child.log teller: out", "child.log teller: err"]


def test_its_configuration_arrives_on_standard_input(started: Starting, launch: Launch) -> None:
    """Secrets must not appear in the list of processes, so they pass through a pipe."""
    child = launch(Command("reader", ("/bin/sh", "-c", "cat; sleep 300"), "secret\n"))
    child.wait_until(lambda: child.tail() == "secret", started.context())
    assert "secret" not in str(psutil.Process(child.pid).cmdline())
    assert "secret" not in repr(child.command)


def test_it_gets_a_complete_environment_of_its_own(
    started: Starting, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither variables nor files of the user configure a server; a user id without a name has one here."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", "elsewhere")
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.delenv("USER", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    child = launch(Command("env", ("/bin/sh", "-c", "env; echo end; sleep 300")))
    child.wait_until(lambda: child.tail().endswith("end"), started.context())
    assert "TEMPORAL_ADDRESS" not in child.tail()
    assert {"USER=user-54321", "HOME=/proc/none"} <= set(child.tail().splitlines())
    assert "PATH=" not in child.tail().splitlines()  # without the variable, the shell has a default


def test_a_death_while_starting_carries_the_end_of_the_log(started: Starting, launch: Launch) -> None:
    """The error contains the last output of the process."""
    child = launch(Command("broken", ("/bin/sh", "-c", "echo no such port; exit 3")))
    with pytest.raises(DriverError, match="broken ended while starting:\nno such port"):
        child.wait_until(lambda: False, started.context())


def test_a_start_is_given_up_at_its_deadline(started: Starting, launch: Launch, marker: str) -> None:
    """A process that is never ready is an error, not a hang."""
    child = launch(sleeper(marker))
    with pytest.raises(DriverError, match="was not ready in time"):
        child.wait_until(lambda: False, started.context(timeout_s=0.05))


def test_a_start_is_given_up_when_called_off(started: Starting, launch: Launch, marker: str) -> None:
    """The failure of another component ends the waiting."""
    child = launch(sleeper(marker))
    context = started.context()
    context.cancelled.set()
    with pytest.raises(DriverError, match="was not ready in time"):
        child.wait_until(lambda: False, context)


def test_a_missing_program_is_a_failed_start(started: Starting, launch: Launch) -> None:
    """The shell's complaint is in the error."""
    child = launch(Command("ghost", ("/does/not/exist",)))
    with pytest.raises(DriverError, match="ghost ended while starting"):
        child.wait_until(lambda: False, started.context())


def test_configuration_larger_than_a_pipe_is_refused(launch: Launch) -> None:
    """No process reads it yet, so that the write would block for ever."""
    with pytest.raises(DriverError, match="its configuration is longer than a pipe holds"):
        launch(Command("cat", ("/bin/cat",), "x" * (1 << 22)))


def test_stopping_leaves_no_process(started: Starting, launch: Launch, marker: str) -> None:
    """Guardian, server and the children of the server have ended; a second stop does nothing."""
    child = launch(sleeper(marker))
    group = psutil.Process(running(child, marker).pid).children(recursive=True)
    child.stop(signal.SIGTERM, 5.0)
    child.stop(signal.SIGTERM, 0)
    eventually(lambda: marked(marker) == [], "the end of the group")
    assert [process for process in group if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []


def test_child_without_reaction_to_the_signal_is_killed(started: Starting, launch: Launch, marker: str) -> None:
    """After the grace period nothing is asked any more."""
    script = f"trap '' TERM; echo deaf; while :; do sleep 1; done; : {marker}"
    child = launch(Command("deaf", ("/bin/sh", "-c", script)))
    child.wait_until(lambda: child.tail() == "deaf", started.context())
    child.stop(signal.SIGTERM, 0.05)
    assert marked(marker) == []


def test_crashed_child_is_restarted_and_logged(
    launch: Launch, marker: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The same command runs again; each restart is a warning, outside the logger of the child's own lines."""
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 0.001)
    child = launch(sleeper(marker), after_crash="; all is lost")
    command = running(child, marker).cmdline()
    child.supervise(alive)
    for count in (1, 2):
        running(child, marker).kill()
        wait_for_restart(child, count)
    assert running(child, marker).cmdline() == command
    expected = [
        (
            "compozy.supervision",
            logging.WARNING,
            f"sleeper ended unexpectedly (exit code -9) and is started again, {end}",
        )
        for end in ("restart 1; all is lost", "restart 2; all is lost")
    ]
    eventually(lambda: caplog.record_tuples == expected, "both log lines")


class BrokenHandler(logging.Handler):
    """A handler of an application that fails, as one on a closed stream does."""

    def emit(self, record: logging.LogRecord) -> None:
        raise ValueError("I/O operation on closed file")


def test_failing_log_handler_does_not_end_the_supervision(
    launch: Launch, marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a line of the child nor the report of its restart is in the way of the next restart."""
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(logging.getLogger("compozy"), "handlers", [BrokenHandler()])
    child = launch(Command("talker", ("/bin/sh", "-c", f"while :; do echo line >&2; sleep 0.01; done; : {marker}")))
    child.supervise(alive)
    for count in (1, 2):
        running(child, marker).kill()
        wait_for_restart(child, count)


def test_closed_standard_streams_do_not_end_the_supervision(marker: str) -> None:
    """A tool in our process may close descriptors 0 to 2."""
    done = subprocess.run(
        [sys.executable, "-c", CLOSED_STREAMS, marker], stdin=subprocess.PIPE, capture_output=True, text=True,
        timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 42


def test_child_is_restarted_when_files_have_run_out(marker: str) -> None:
    """With every file descriptor in use, a crashed server is restarted, and a health check has a descriptor."""
    done = subprocess.run(
        [sys.executable, "-c", NO_FILES_LEFT, marker], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert (done.returncode, done.stdout) == (0, "restarted\n"), done.stderr


NO_FILES_LEFT = """
import os, resource, signal, socket, sys, time
from compozy.drivers import child as supervision
from compozy.drivers.ports import listening
from compozy.drivers.process import Command
supervision.FIRST_PAUSE_S = 0.001
child = supervision.Child(Command("sleeper", ("/bin/sh", "-c", f"cat; sleep 300; : {sys.argv[1]}"), "configuration\\n"))
child.start()
child.supervise(lambda: True)
listener = socket.create_server(("127.0.0.1", 0))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        os.open(os.devnull, os.O_RDONLY)
except OSError:
    pass
for count in (1, 2):
    while child.tail() != "configuration" or child.pid is None:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    while child.restarts < count or not child.running():
        time.sleep(0.01)
assert listening(*listener.getsockname())
os.write(1, b"restarted\\n")
os._exit(0)
"""


CLOSED_STREAMS = """
import logging, os, signal, sys, time
from compozy.drivers import child as supervision
from compozy.drivers.process import Command
supervision.FIRST_PAUSE_S = 0.001
logging.basicConfig()
child = supervision.Child(Command("sleeper", ("/bin/sh", "-c", f"cat; sleep 300; : {sys.argv[1]}"), "configuration\\n"))
child.start()
child.supervise(lambda: True)
for number in (0, 1, 2):
    os.close(number)
for count in (1, 2):
    pid = None
    while pid is None or child.restarts < count - 1 or child.tail() != "configuration":
        time.sleep(0.01)
        pid = child.pid
    os.kill(pid, signal.SIGKILL)
while child.restarts < 2 or not child.running():
    time.sleep(0.01)
os._exit(42)
"""


def test_stopped_child_is_continued(launch: Launch, marker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child stopped by SIGSTOP keeps its data."""
    monkeypatch.setattr(supervision, "WATCH_S", 0.02)
    monkeypatch.setattr(supervision, "REPLACED_AFTER", 10_000)
    child = launch(sleeper(marker))
    process = running(child, marker)
    child.supervise(lambda: process.status() != psutil.STATUS_STOPPED)
    process.suspend()
    eventually(lambda: process.status() != psutil.STATUS_STOPPED, "its continuation")
    assert (child.restarts, child.pid) == (0, process.pid)


def test_unresponsive_child_is_replaced(
    launch: Launch, marker: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It answered before; one that has never answered may still be starting."""
    monkeypatch.setattr(supervision, "WATCH_S", 0.02)
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 0.001)
    child = launch(sleeper(marker))
    first = running(child, marker)
    child.supervise(lambda: False)
    eventually(lambda: child.restarts == 1 and child.running(), "its replacement")
    second = running(child, marker)
    assert first.pid != second.pid
    assert "sleeper does not answer and is killed" in caplog.text
    asked = threading.Event()

    def record_question() -> bool:
        asked.set()
        return False

    child.supervise(record_question)
    assert asked.wait(DEADLINE_S)
    assert (child.restarts, child.pid) == (1, second.pid)


def test_child_is_not_restarted_while_its_check_fails(
    launch: Launch, marker: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As when its data is no longer where it was; it comes back when the check passes."""
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 0.001)
    problems = [DriverError("the data was moved away")]

    def check() -> None:
        for problem in problems:
            raise problem

    child = launch(sleeper(marker), check=check)
    child.supervise(alive)
    running(child, marker).kill()
    eventually(lambda: "cannot be started again: the data was moved away" in caplog.text, "the report")
    assert (child.restarts, child.running()) == (0, False)
    problems.clear()
    wait_for_restart(child, 1)


def test_a_crash_loop_of_days_does_not_end_the_supervision(
    launch: Launch, marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause stays the longest one, however often it was doubled."""
    monkeypatch.setattr(supervision, "LONGEST_PAUSE_S", 0.001)
    monkeypatch.setattr(supervision, "STABLE_S", 3600.0)
    child = launch(sleeper(marker))
    child._pauses = 10_000
    child.supervise(alive)
    running(child, marker).kill()
    wait_for_restart(child, 1)


def test_end_of_child_is_noticed_with_sigchld_ignored() -> None:
    """The parent process may ignore SIGCHLD, which is inherited."""
    done = subprocess.run(
        [sys.executable, "-c", UNREAPED], capture_output=True, text=True, timeout=DEADLINE_S, check=True,
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("ended\n", "")


def test_a_crash_before_the_supervision_is_not_missed(
    launch: Launch, marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that ends between readiness and supervision is restarted as well."""
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 0.001)
    child = launch(sleeper(marker))
    running(child, marker).kill()
    eventually(lambda: not child.running(), "the end")
    child.supervise(alive)
    wait_for_restart(child, 1)


def test_stopping_ends_the_pause_before_a_restart(launch: Launch, marker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped child does not come back."""
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 60.0)
    child = launch(sleeper(marker))
    process = running(child, marker)
    child.supervise(alive)
    process.kill()
    eventually(lambda: not child.running(), "the end")
    child.stop(signal.SIGTERM, 0)
    assert (child.restarts, marked(marker)) == (0, [])


def test_without_its_guardian_a_server_is_replaced(
    started: Starting, launch: Launch, marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the guardian is killed, server and guardian are started anew."""
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 0.001)
    child = launch(sleeper(marker))
    server = running(child, marker)
    child.supervise(alive)
    (guardian,) = [process for process in server.children() if "kill -9 0" in str(process.cmdline())]
    guardian.kill()
    eventually(lambda: child.restarts == 1 and child.pid != server.pid, "a new server")
    running(child, marker)
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("round_", range(6))
def test_kill_minus_nine_of_the_parent_leaves_no_orphan(marker: str, round_: int, tmp_path: Path) -> None:
    """At any moment the end of the parent ends server and guardian and removes the scratch directory."""
    scratch = tmp_path / "scratch"
    owner = parent(marker, "at-once" if round_ == 0 else "random", str(scratch))
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "spawning\n"
        until = time.monotonic() + random.random() * 0.004  # the moment is under test; pytest-randomly seeds it
        while time.monotonic() < until:
            pass
        owner.kill()
    eventually(lambda: marked(marker) == [], "the end of every child", ORPHAN_S)
    eventually(lambda: not scratch.exists(), "the end of the scratch directory", ORPHAN_S)


def test_a_fork_of_the_parent_does_not_keep_the_child_alive(marker: str) -> None:
    """A process pool of the user's that survives us holds nothing of the guardian's."""
    owner = parent(marker, "forked")
    with owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        server = int(owner.stdout.readline())
        (fork,) = [process for process in psutil.Process(owner.pid).children() if process.pid != server]
        owner.kill()
        eventually(lambda: not psutil.pid_exists(server) or psutil.Process(server).status() == "zombie", "its end")
        assert fork.is_running()
        os.kill(fork.pid, signal.SIGKILL)
