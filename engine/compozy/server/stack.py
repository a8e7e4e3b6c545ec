"""The whole product in one process: provisioned components, workflows and, when asked, the HTTP interface.

It opens in one order and closes in the reverse one, also after a failure half way. Workers take executions only after
everything that can fail has succeeded, and connections are accepted last.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import UNSET

from compozy import __version__
from compozy.client.answers import ComponentHealth, HealthAnswer, WorkerHealth
from compozy.drivers.port import Port
from compozy.explain.show import resolved_json
from compozy.provisioning.lifecycle import Lifecycle
from compozy.provisioning.plan import port
from compozy.resolution.resolve import Resolved
from compozy.state.presence import Presence, announced

if TYPE_CHECKING:
    from compozy.provisioning.provision import Runtime
    from compozy.server.access import Access
    from compozy.server.http import HttpServer
    from compozy.workflows.facade import Workflows

log = logging.getLogger("compozy.server")

Notice = Callable[[str], None]


class Stack:
    """The running parts of one configuration.

    `notice` gets one line for each thing about the HTTP interface that a user should know.
    """

    def __init__(self, lifecycle: Lifecycle, *, notice: Notice) -> None:
        self.lifecycle = lifecycle
        self.notice = notice
        self.url: str | None = None
        self._access: Access | None = None
        self._opened = ExitStack()
        self._grace_s = 10.0
        self._complete = False
        self._workflows: Workflows | None = None

    @property
    def resolved(self) -> Resolved:
        """The configuration behind it."""
        return self.lifecycle.resolved

    @property
    def runtime(self) -> Runtime:
        """The handles of the components."""
        return self.lifecycle.runtime

    @property
    def workflows(self) -> Workflows:
        """The workflows of the project; open only."""
        if self._workflows is None:
            raise RuntimeError("the stack is not open")
        return self._workflows

    def open(self, *, serve: bool) -> Stack:
        """Provision everything; with `serve` also listen for HTTP requests and be found by other commands.

        Raises:
            CompozyError: something did not start; everything that did is stopped again.
        """
        file = self.lifecycle.configuration.inputs.file
        log.info("server.starting", extra={"mode": self.resolved.mode, "version": __version__, "config": file})
        try:
            # Before anything starts, so that a failure or an interrupt at any later step stops what was started.
            self._opened.callback(self._release)
            self.lifecycle.provision()
            self._workflows = self._make_workflows()
            with ExitStack() as front:
                server = self._listen(front) if serve else None
                # From here on executions may run, so everything that can fail has been done before.
                self._opened.callback(lambda: self.workflows.close(self._grace_s))
                self.workflows.open()
                # Before requests are accepted, so that the first query waits for the documents.
                self.workflows.ingest_at_start()
                if server is not None:
                    self.runtime.watch()
                    server.start()
                self._opened.enter_context(front.pop_all())
        except BaseException:
            self.close(0)
            raise
        self._complete = True
        log.info("server.ready", extra={"mode": self.resolved.mode, "url": self.url})
        return self

    def browser_link(self) -> str:
        """Return a link that opens one session in a browser; serving only."""
        if self._access is None:
            raise RuntimeError("the stack does not serve")
        return f"{self.url}{self._access.new_link()}"

    def close(self, grace_s: float = 10.0) -> None:
        """Refuse new requests, drain the workers, stop the components; `grace_s` 0 stops at once; idempotent."""
        self._grace_s = grace_s
        if self._complete:
            log.info("server.stopping", extra={"grace_s": grace_s})
        self._opened.close()
        if self._complete:
            self._complete = False
            log.info("server.stopped")

    def _release(self) -> None:
        if self.lifecycle.records.runtime is None:
            return
        if not self._complete:
            # No address was printed yet, so nothing was promised: what this start created is removed.
            self.runtime.abandon()
        self.lifecycle.release(self._grace_s)

    def health(self) -> HealthAnswer:
        """Return state, mode, each component's health and the worker's: the answer to `compozy status`."""
        components, worker = self._components(), self._worker()
        return HealthAnswer(
            state=self.lifecycle.state,
            mode=self.resolved.mode,
            ready=worker.healthy and all(part.healthy for part in components.values()),
            pid=os.getpid(),
            url=self.url,
            components=components,
            worker=worker,
        )

    def _worker(self) -> WorkerHealth:
        health = self.workflows.worker_health()
        error = health.error
        return WorkerHealth(healthy=health.healthy, error=error and self.resolved.redactor().text(error))

    def _components(self) -> dict[str, ComponentHealth]:
        health = self.runtime.health()
        redacted = self.resolved.redactor().text
        found = {}
        for name, part in self.resolved.components.items():
            seen, about = health[name], health[name].about
            found[name] = ComponentHealth(
                mode=part.mode,
                driver=part.driver,
                healthy=seen.healthy,
                latency_ms=None if seen.latency_ms is None else round(seen.latency_ms, 2),
                error=seen.error and redacted(seen.error),
                address=about.address and redacted(about.address),
                data=about.data and redacted(about.data),
                kept=part.kept,
                details=dict(about.details) or UNSET,
            )
        return found

    def config(self) -> Mapping[str, object]:
        """Return the effective configuration without secrets."""
        shown = resolved_json(self.resolved, self.lifecycle.state, self.lifecycle.findings)
        return {"format_version": 1, **shown}

    def explain(self, key: str) -> Mapping[str, object]:
        """Return why the setting or decision `key` is what it is, without secrets.

        Raises:
            NotFoundError: the setting or decision does not exist.
        """
        from compozy.explain.value import explain

        return explain(self.resolved, key).as_json()

    def _make_workflows(self) -> Workflows:
        from compozy.workflows.project import project_workflows

        return project_workflows(self.resolved, self.runtime)

    def _listen(self, front: ExitStack) -> HttpServer:
        """Listen and announce the server without accepting connections yet; `front` undoes both.

        Raises:
            PortBusyError: the chosen port is taken.
            DriverError: the address cannot be listened on, or the server cannot be announced.
        """
        from compozy.server.access import Access
        from compozy.server.app import build_app
        from compozy.server.http import HttpServer
        from compozy.server.limits import open_file_limits

        host, limits = self.resolved.get("server.host"), open_file_limits()
        access = self._access = Access(self.resolved.get("server.api_key"))
        app = build_app(
            self.workflows.service, self, access=access, memories=self.workflows.memories,
            knowledge=self.workflows.knowledge, host=host, most_requests=limits.requests,
        )  # fmt: skip
        wanted = server_port(self.resolved)
        server = HttpServer(app, self.runtime.loop, host=host, port=wanted, notice=self.notice, limits=limits)
        front.callback(lambda: server.stop(self._grace_s))
        server.bind()
        self.url = server.url
        # A written key is known to its owner and must not be copied into a file.
        key = None if access.written else access.api_key
        # After the port is bound, which decides the address, and before connections are accepted.
        presence = Presence(os.getpid(), server.url, self.resolved.mode, self.resolved.directory, time.time(), key)
        front.enter_context(announced(presence, self.runtime.state_dir))
        return server


def server_port(resolved: Resolved) -> Port:
    """Return the port of the HTTP interface; one that other machines use does not move, default or not."""
    wanted = port(resolved, "server.port")
    return replace(wanted, explicit=wanted.explicit or not resolved.decision("server.access").outputs["port_moves"])
