"""The signals that end `compozy start`, whichever thread they reach."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .conftest import DEADLINE_S

pytestmark = pytest.mark.e2e

# The main thread waits; the signal is taken by another one.
ELSEWHERE = """
import signal, sys, threading, time
from compozy.cli.start import Signals

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
