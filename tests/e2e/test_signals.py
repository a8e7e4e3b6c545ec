"""The signals that end `compozy start`, whichever thread they reach."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest
from tests.polling import eventually

from .conftest import DEADLINE_S

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
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

threading.Thread(target=interrupt, daemon=True).start()
signals.wait()
print("asked to stop")
"""


def test_a_signal_that_another_thread_gets_wakes_the_main_thread() -> None:
    """The system chooses the thread; a wait that only a signal to its own thread ends would go on for ever."""
    result = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
    assert result.stdout == "asked to stop\n"


# A tool runs in a thread, and its pool of forked workers is terminated at the end of the block.
POOL = """
import multiprocessing, threading, time
from compozy.cli.signals import Signals, interrupt_on_signals

interrupt_on_signals()
signals = Signals()

def tool():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.apply(abs, (-7,)), flush=True)
        pool.apply_async(time.sleep, (300,))
        time.sleep(0.1)

thread = threading.Thread(target=tool)
thread.start()
thread.join()
print("terminated")
"""


def test_workers_of_a_process_pool_do_not_inherit_the_handlers() -> None:
    """With our handler a worker would note the signal that is to end it, and the pool would wait for ever."""
    result = subprocess.run(
        [sys.executable, "-c", POOL], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
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
import os, signal
from compozy.cli.signals import Signals

signals = Signals()

class Interrupted:
    def __del__(self):
        os.kill(os.getpid(), getattr(signal, "SIGHUP"))
        for _ in range(1000):
            pass

Interrupted()
signals.wait()
print("asked to stop")
"""


def test_interrupt_in_a_destructor_prints_no_traceback_and_is_not_lost() -> None:
    """Python drops an exception there; SIGHUP stops like SIGTERM."""
    result = subprocess.run(
        [sys.executable, "-c", DESTRUCTOR], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
    assert (result.stdout, result.stderr) == ("asked to stop\n", "")
