"""Choose how a command uses the workflows of a project: through its server where one runs, else in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from compozy.errors import InUseError, ProvisionError, UsageError
from compozy.provisioning.lifecycle import Lifecycle
from compozy.resolution.resolve import Resolved
from compozy.state.presence import Presence, find_server
from compozy.state.state_directory import StateDirectory

if TYPE_CHECKING:
    from compozy.client.project_client import GivenInput, ProjectClient, RunResult
    from compozy.client.remote import RemoteClient

TURN_S = 0.2

Begin = Callable[[Lifecycle], None]
Note = Callable[[str], None]


@contextmanager
def connected(lifecycle: Lifecycle, begin: Begin, note: Note) -> Iterator[ProjectClient]:
    """Yield a client of the project of a validated lifecycle.

    `begin` is called before anything is provisioned; `note` gets a line for each thing that a user should know.

    Raises:
        UsageError: the server that runs is not the one that was asked for.
    """
    server = running_server(lifecycle, note)
    if server is not None:
        yield server
        return
    from compozy.client.local import LocalClient

    with LocalClient(lifecycle, begin, note) as client:
        yield client


def running_server(lifecycle: Lifecycle, note: Note) -> RemoteClient | None:
    """Return a client of the project's server, None when no server runs.

    Raises:
        UsageError: the server that runs is not the one that was asked for.
    """
    resolved = lifecycle.resolved
    url, key = resolved.get("server.url"), resolved.get("server.api_key")
    if url:
        return _remote(url, key, None, note)
    # Only a port of the command line chooses among several servers; a default one may have moved to a free port.
    named = resolved.values["server.port"]
    presence = find_server(resolved.directory, int(named.value) if named.origin.kind == "flag" else None)
    if presence is None:
        return None
    _check_mode(resolved, presence)
    return _remote(presence.url, presence.api_key or key, presence.pid, note)


def run_workflow(
    lifecycle: Lifecycle, begin: Begin, note: Note, workflow: str, given: GivenInput, *, wait_s: float, detach: bool
) -> RunResult:
    """Run a workflow; with `detach` only start it. Another process that uses the project's data is waited for.

    Raises:
        InUseError: the data is still in use after `wait_s` seconds; with `detach`, at once.
    """
    until = time.monotonic() + wait_s
    while True:
        # Asked in each round, because the other process may become the server that runs the workflow.
        _wait_for_turn(lifecycle, time.monotonic() if detach else until, note)
        with connected(lifecycle, begin, note) as client:
            try:
                return client.run(workflow, given, None if detach else max(0.0, until - time.monotonic()))
            # Another process may lock the data between `_wait_for_turn` and the start: wait for it again.
            except ProvisionError as error:
                if not isinstance(error.__cause__, InUseError) or time.monotonic() >= until:
                    raise


def _wait_for_turn(lifecycle: Lifecycle, until: float, note: Note) -> None:
    """Wait until the project's server runs, or no other process uses the project's data."""
    if running_server(lifecycle, note) is not None:  # before the plan, for which the drivers are imported
        return
    from compozy.provisioning.plan import make_plan

    state_dir = make_plan(lifecycle.resolved).state_dir
    reported = False
    while state_dir is not None and running_server(lifecycle, note) is None:
        try:
            StateDirectory(state_dir).examine()
            break
        except InUseError as error:
            if time.monotonic() >= until:
                raise
            if not reported:
                note(f"{error.message}; waiting for it")
            reported = True
            time.sleep(TURN_S)


def _remote(url: str, api_key: str | None, process: int | None, note: Note) -> RemoteClient:
    from compozy.client.remote import RemoteClient

    return RemoteClient(url, api_key, process, note)


def _check_mode(resolved: Resolved, presence: Presence) -> None:
    """Refuse to use a server of another mode than the one that was asked for."""
    asked_for = resolved.values["mode"].origin.kind not in ("rule", "default")
    if asked_for and resolved.mode != presence.mode:
        raise UsageError(
            f"the server of this project (process {presence.pid}) runs in mode {presence.mode}, not {resolved.mode}",
            hint=f"leave the mode away to use it, or stop it and run compozy start --mode {resolved.mode}",
        )
