"""Write log lines from a thread of their own, so that a reader that stopped reading holds up nothing else.

`emit` never blocks and never raises: while the queue is full, or the output is closed or its disk is full, lines are
dropped and counted, and the count is written when writing works again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading

LINES = 2_000
# Characters of a line; longer ones are cut, which bounds the memory of the queue.
LONGEST = 8_000
FLUSH_S = 1.0


class LogQueue(logging.Handler):
    """A handler that writes to a duplicate of `descriptor`, which nothing else locks."""

    def __init__(self, descriptor: int, lines: int = LINES) -> None:
        super().__init__()
        # Without a stream: a write that blocks must not hold the lock of `sys.stderr`.
        self._descriptor = os.dup(descriptor)
        self._lines: queue.Queue[str | threading.Event | None] = queue.Queue(lines)
        self._dropped = 0
        self._reported = 0
        threading.Thread(target=self._write_all, name="compozy-log", daemon=True).start()

    @property
    def dropped(self) -> int:
        """Return the number of lines that were not written."""
        return self._dropped

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line of a record."""
        try:
            self._lines.put_nowait(self.format(record)[:LONGEST])
        except Exception:  # noqa: BLE001 - the queue is full, or a logged object of a project cannot be formatted
            self._dropped += 1

    def flush(self) -> None:
        """Wait until everything that is queued has been written, at most `FLUSH_S` seconds."""
        written = threading.Event()
        with contextlib.suppress(queue.Full):
            self._lines.put(written, timeout=FLUSH_S)
            written.wait(FLUSH_S)

    def close(self) -> None:
        """End the thread after what is queued, without waiting for it."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        super().close()

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            if isinstance(line, threading.Event):
                line.set()
            else:
                self._write(line)
        os.close(self._descriptor)

    def _write(self, line: str) -> None:
        # Reported together with a line that is written, because only then the output works again.
        missing = self._dropped - self._reported
        note = f"warning log.dropped lines={missing}\n" if missing else ""
        rest = (note + line + "\n").encode("utf-8", "backslashreplace")
        try:
            while rest:
                # A pipe may take a part of the text only.
                rest = rest[os.write(self._descriptor, rest) :]
            self._reported += missing
        except OSError:
            self._dropped += 1
