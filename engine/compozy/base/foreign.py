"""Call code of a project or a rule pack: the one guard around it.

Any exception of that code, `SystemExit` and `KeyboardInterrupt` included, becomes a `ForeignCodeError`; the text of an
exception may hold a secret and is logged only. Code that hangs cannot be ended: its thread is left behind.
"""

from __future__ import annotations

import inspect
import logging
import threading
import time
import traceback
from collections.abc import Callable
from typing import TypeVar

from compozy.base.interruption import raise_noted
from compozy.errors import CompozyError, ForeignCodeError

Result = TypeVar("Result")
# A signal that arrives just before a wait begins is seen when the slice ends.
SLICE_S = 0.1
log = logging.getLogger("compozy.code")


def call_foreign(what: str, work: Callable[[], Result]) -> Result:
    """Return the result of foreign code, called in this thread; not for the main thread, which receives signals.

    Raises:
        ForeignCodeError: it raised anything but an error of Compozy, or is `async def`.
        CompozyError: it raised this error.
    """
    try:
        result = work()
    except CompozyError:
        raise
    except BaseException as error:  # noqa: BLE001 - foreign code; its SystemExit must not end the process with 0
        log.info("code.raised", extra={"code": what}, exc_info=error)
        raise ForeignCodeError(f"{what} raised {_located(error)}") from error
    # It would never run, and its caller would take it for a result.
    if inspect.iscoroutine(result):
        result.close()
        raise ForeignCodeError(f"{what} is `async def`, and must be a function that blocks")
    return result


def call_within(what: str, work: Callable[[], Result], limit_s: float) -> Result:
    """Return the result of foreign code, called in a thread of its own for at most `limit_s` seconds.

    Raises:
        ForeignCodeError: as `call_foreign`, or it did not return in time.
        CompozyError: it raised this error.
    """
    results: list[Result] = []
    errors: list[CompozyError] = []

    def run() -> None:
        try:
            results.append(call_foreign(what, work))
        except CompozyError as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="compozy-code", daemon=True)
    thread.start()
    join_within(thread, limit_s)
    if errors:
        raise errors[0]
    if not results:
        raise ForeignCodeError(f"{what} did not return within {limit_s:g} s")
    return results[0]


def join_within(thread: threading.Thread, limit_s: float) -> None:
    """Wait for the end of a thread for at most `limit_s` seconds; signals interrupt the main thread meanwhile."""
    until = time.monotonic() + limit_s
    while thread.is_alive() and time.monotonic() < until:
        # In slices, because a wait for a lock is not interrupted by a noted signal.
        raise_noted()
        thread.join(min(SLICE_S, max(0.0, until - time.monotonic())))


def _located(error: BaseException) -> str:
    """Return the type of an exception and the line that raised it, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(error).__name__}{place}"
