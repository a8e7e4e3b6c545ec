"""The signals that end a command, in any thread and during any activity of that thread."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.support.polling import DEADLINE_S, eventually

from .conftest import interruptible

pytestmark = pytest.mark.e2e

# The main thread waits; the signal is taken by another one.
ELSEWHERE = """
import signal, sys, threading, time
from compozy.cli.signals import Signals

signals, main = Signals(), threading.get_ident()
signals.starting = False

def interrupt():
    while sys._current_frames()[main].f_code.co_name != "wait":
        time.sleep(0.001)
    signal.pthread_kill(threading.get_ident(), int(sys.argv[1]))

threading.Thread(target=interrupt, daemon=True).start()
signals.wait()
print("asked to stop")
"""
IGNORED = """
import signal
from compozy.cli.signals import Signals

signal.signal(signal.SIGHUP, signal.SIG_IGN)
Signals()
print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)
"""
FORKED = """
import os, signal
from compozy.cli.signals import Signals

signals = Signals()
if os.fork() == 0:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1
    os._exit(0)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
# Importing the command line is interrupted.
IMPORTING = """
import importlib.abc, os, signal, sys
import compozy.__main__

class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "compozy.cli.main":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
compozy.__main__.main()
"""
# An import takes a while after the signal; a class that is being created turns an exception into RuntimeError.
CREATING = """
import os, signal, sys
from compozy.cli import main

class Field:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000): pass

def run(_):
    sys.path.insert(0, sys.argv[1])
    import created
    while True:
        created.time.sleep(60)

sys.modules["field"] = type("Module", (), {"Field": Field})
main.cli.main = lambda **options: run(options)
main.main([])
"""
# The signal comes in a callback, which loses the exception.
LOST = """
import os, signal, time, weakref
from compozy.cli import main

class Object: pass

def callback(_):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(1000): pass

def run(_):
    target = Object()
    reference = weakref.ref(target, callback)
    del target
    while True:
        time.sleep(60)

main.cli.main = lambda **options: run(options)
main.main([])
"""
# The signal comes after the command, in a step of its end.
AFTERWARDS = """
import os, signal, sys
from compozy.cli import main
from compozy.errors import UsageError

def stop(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(1000): pass

def run(**_options):
    raise UsageError("wrong")

main.cli.main = run
setattr(main, sys.argv[1], stop)
main.main([])
"""
# A tool holds the lock of the interpreter, also while it writes: no other Python code runs any more.
HELD = """
import ctypes, sys, threading
from compozy.cli.signals import Signals

def hold():
    library = ctypes.PyDLL(None)
    library.write(1, b"held\\n", 5)
    while True:
        library.sleep(600)

signals = Signals()
signals.starting = False
signals.watch(float(sys.argv[1]))
sys.setswitchinterval(1000)
threading.Thread(target=hold, daemon=True).start()
signals.wait()
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        preexec_fn=interruptible,
    )  # fmt: skip


# A tool runs in a thread, and its pool of forked workers is terminated at the end of the block.
POOL = """
import multiprocessing, threading, time
from compozy.cli.signals import Signals, interrupt_on_signals

interrupt_on_signals()
signals = Signals()
began = multiprocessing.get_context("fork").Event()

def nap():
    began.set()
    time.sleep(300)

def tool():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.apply(abs, (-7,)), flush=True)
        pool.apply_async(nap)
        began.wait()

thread = threading.Thread(target=tool)
thread.start()
thread.join()
print("terminated")
"""


def test_workers_of_a_process_pool_do_not_inherit_the_handlers() -> None:
    """With our handler a worker would note the signal that is to end it, and the pool would wait for ever."""
    result = python(POOL)
    assert (result.stdout, result.stderr) == ("7\nterminated\n", "")


LEFT = """
import multiprocessing, sys, time
from compozy.cli import main

def leave(args):
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(300,), daemon=True)
    worker.start()
    print(worker.pid, flush=True)
    return 0

main.run = leave
main.main([])
"""


def test_worker_processes_end_with_the_command() -> None:
    """The command ends by `os._exit`, which skips the exit handlers of `multiprocessing`."""
    result = subprocess.run(
        [sys.executable, "-c", LEFT], stdout=subprocess.PIPE, text=True, timeout=DEADLINE_S, check=True
    )
    worker = int(result.stdout)
    eventually(lambda: not psutil.pid_exists(worker) or psutil.Process(worker).status() == "zombie", "its end")


DESTRUCTOR = """
import os, signal, time
from compozy.cli.signals import Signals

signals = Signals()

class Interrupted:
    def __del__(self):
        os.kill(os.getpid(), getattr(signal, "SIGHUP"))
        for _ in range(1000):
            pass

try:
    Interrupted()
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_interrupt_in_a_destructor_prints_no_traceback_and_is_repeated() -> None:
    """Python drops an exception there, and the start would continue; SIGHUP stops like SIGTERM."""
    result = python(DESTRUCTOR)
    assert (result.stdout, result.stderr) == ("interrupted\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_of_another_thread_wakes_the_main_thread(number: signal.Signals) -> None:
    """The system chooses the thread; a wait that only a signal to its own thread ends would never return."""
    assert python(ELSEWHERE, str(int(number))).stdout == "asked to stop\n"


def test_ignored_hangup_stays_ignored() -> None:
    """As below nohup."""
    assert python(IGNORED).stdout == "True\n"


def test_forked_process_has_default_signals() -> None:
    assert python(FORKED).stdout == "0\n"


def test_interrupt_while_importing_prints_no_traceback() -> None:
    result = python(IMPORTING)

    assert (result.returncode, result.stderr) == (-signal.SIGINT, "")


def test_interrupt_waits_for_the_end_of_an_import(tmp_path: Path) -> None:
    module = "import time, field\nclass Created:\n    made = field.Field()\nprint('imported', flush=True)\n"
    (tmp_path / "created.py").write_text(module)
    result = python(CREATING, str(tmp_path))

    assert (result.returncode, result.stdout, result.stderr) == (130, "imported\n", "")


def test_interrupt_lost_in_a_callback_is_repeated() -> None:
    result = python(LOST)

    assert (result.returncode, result.stderr) == (130, "")


@pytest.mark.parametrize(("step", "code"), [("report", 130), ("end_worker_processes", 2)])
def test_signal_after_the_command_prints_no_traceback(step: str, code: int) -> None:
    """A failure that is being printed is interrupted; after that, the exit code is the one of the command."""
    result = python(AFTERWARDS, step)

    assert (result.returncode, "Traceback" in result.stderr) == (code, False)


@pytest.mark.parametrize(("grace_s", "signals"), [(0.2, 1), (3600, 2)], ids=["grace-over", "second-signal"])
def test_process_blocking_the_interpreter_is_killed(grace_s: float, signals: int) -> None:
    command = [sys.executable, "-c", HELD, str(grace_s)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=interruptible) as process,
        contextlib.ExitStack() as opened,
    ):
        opened.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        for number in (signal.SIGTERM, signal.SIGINT)[:signals]:
            process.send_signal(number)
        assert process.wait(DEADLINE_S) == -signal.SIGKILL
