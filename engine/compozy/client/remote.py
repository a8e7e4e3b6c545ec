"""Use the workflows of a project through its running server, over HTTP or HTTPS.

Connections are those of the standard library, which is imported faster than any client library.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from compozy.client.answers import (
    Deletion,
    ExecutionAnswer,
    ExecutionList,
    ExecutionWithTasks,
    HealthAnswer,
    ImportAnswer,
    PruneAnswer,
    RunAnswer,
    SessionLink,
    Signaled,
    WorkflowAnswer,
    WorkflowList,
)
from compozy.client.finding_answers import FindingAnswer
from compozy.client.memory_answers import MemoryList
from compozy.client.project_client import GivenInput, RunResult
from compozy.client.remote_memory import RemoteMemory
from compozy.errors import CompozyError
from compozy.settings.values import duration_text
from compozy.store.records import RUNNING

if TYPE_CHECKING:
    from compozy.client.knowledge_client import RemoteKnowledge

TIMEOUT_S = 30.0
# For one request: a proxy may end longer ones. Longer waits are several requests.
WAIT_S = 30.0
V0 = "/api/v0"
Kind = TypeVar("Kind")
_EXIT_CODES = {"http.unauthorized": 2, "internal": 1}  # of problems that carry none
# At the command line the setting is named, not the header that a program would send.
_TEXTS = {
    "http.unauthorized": (
        "the server needs another server.api_key",
        "set it in compozy.yaml, in .env or with the variable COMPOZY_SERVER__API_KEY",
    )
}


class ServerError(CompozyError):
    """An error response of the running server; `id` and exit code are the server's."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.id = str(problem.get("id", "server.error"))  # type: ignore[misc]
        text, hint = _TEXTS.get(self.id, (str(problem.get("detail") or problem.get("title")), problem.get("hint")))
        super().__init__(text, hint=hint)
        self.exit_code = int(problem.get("exit_code") or _EXIT_CODES.get(self.id, 4))  # type: ignore[misc]
        # A server of another version may send findings of another shape; the text is shown all the same.
        with suppress(msgspec.ValidationError):
            found = msgspec.convert(problem.get("findings") or [], list[FindingAnswer])
            self.findings = tuple(finding.to_finding() for finding in found)


class ServerGoneError(CompozyError):
    """The server does not answer."""

    id = "server.unreachable"
    exit_code = 4


class RemoteClient:
    """Requests to one server; a response is JSON or a problem document (RFC 9457)."""

    def __init__(
        self, url: str, api_key: str | None, process: int | None = None, note: Callable[[str], None] = lambda line: None
    ) -> None:
        """Prepare requests to `url`, which may have a path; `process` is the server's id on this machine."""
        self._note = note
        self._address = urlsplit(url)
        self._name = f"{url} (process {process})" if process else url
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    @property
    def knowledge(self) -> RemoteKnowledge:
        """The knowledge bases of the project."""
        from compozy.client.knowledge_client import RemoteKnowledge

        return RemoteKnowledge(self)

    def health(self) -> HealthAnswer:
        """Return the health of each component and of the worker."""
        return self.ask(HealthAnswer, "GET", f"{V0}/health")

    def new_link(self) -> str:
        """Return a URL that opens a session in a browser, once."""
        return self.ask(SessionLink, "POST", "/session").url

    def workflows(self) -> WorkflowList:
        """Return the workflows that can be run, and what is wrong with the others."""
        return self.ask(WorkflowList, "GET", f"{V0}/workflows")

    def executions(self, limit: int) -> ExecutionList:
        """Return the newest executions."""
        return self.ask(ExecutionList, "GET", f"{V0}/executions?limit={limit}")

    def execution(self, execution_id: str) -> ExecutionWithTasks:
        """Return one execution."""
        return self.ask(ExecutionWithTasks, "GET", _execution(execution_id))

    def cancel(self, execution_id: str) -> ExecutionAnswer:
        """Ask an execution to end."""
        return self.ask(ExecutionAnswer, "POST", f"{_execution(execution_id)}/cancel")

    def terminate(self, execution_id: str) -> ExecutionAnswer:
        """End an execution at once."""
        return self.ask(ExecutionAnswer, "POST", f"{_execution(execution_id)}/terminate")

    def signal(self, execution_id: str, name: str, payload: object) -> Signaled:
        """Send a signal to an execution."""
        return self.ask(Signaled, "POST", f"{_execution(execution_id)}/signals/{quote(name, safe='')}", payload)

    def import_workflows(self, exported: object) -> ImportAnswer:
        """Import the JSON of `workflow list`."""
        return self.ask(ImportAnswer, "POST", f"{V0}/workflows", exported)

    def delete_workflow(self, workflow_id: str) -> Deletion:
        """Delete an imported workflow."""
        return self.ask(Deletion, "DELETE", f"{V0}/workflows/{quote(workflow_id, safe='')}")

    def memories(self) -> MemoryList:
        """Return the declared memories."""
        return self.ask(MemoryList, "GET", f"{V0}/memory")

    def memory(self, memory_id: str) -> RemoteMemory:
        """Return one memory of the server."""
        return RemoteMemory(self, f"{V0}/memory/{quote(memory_id, safe='')}")

    def prune(self, older_than_s: float, *, dry_run: bool) -> PruneAnswer:
        """Delete the executions that ended longer ago, or only count them."""
        return self.ask(
            PruneAnswer, "POST", f"{V0}/prune", {"older_than": duration_text(older_than_s), "dry_run": dry_run}
        )

    def run(self, workflow: str, given: GivenInput, wait_s: float | None) -> RunResult:
        """Start an execution and wait at most `wait_s` seconds, None not at all."""
        from compozy.workflows.model.execution_id import new_execution_id

        workflow_id, body = self._start_body(workflow, given)
        # The id is chosen here, so that an execution can be named even if the answer to its start is lost.
        name = new_execution_id(workflow_id)
        path = f"{V0}/workflows/{quote(workflow_id, safe='')}/executions"
        try:
            first_s = min(WAIT_S, wait_s or 0)
            wait = f"?wait={first_s:g}s" if first_s > 0 else ""
            body = {**body, "execution_id": name}
            answer = self.ask(RunAnswer, "POST", path + wait, body, timeout_s=first_s + TIMEOUT_S)
            answer = self._ended(answer, (wait_s or 0) - first_s)
        except ServerGoneError as error:
            error.hint = f"start it again, then compozy workflow show {name}"
            raise
        except KeyboardInterrupt:
            self._note(f"{name} continues on the server; compozy workflow cancel {name} ends it")
            raise
        return RunResult(answer, "continues on the server")

    def _start_body(self, workflow: str, given: GivenInput) -> tuple[str, dict[str, object]]:
        """Return the id of a workflow that is named by id or file, and the body of the request to start it."""
        from compozy.workflows.read.loader import (
            definition_from_json,
            is_workflow_file,
            parse_definition,
            read_workflow_file,
        )

        if is_workflow_file(workflow):
            source = read_workflow_file(workflow)
            definition = parse_definition(source, workflow)
            return definition.id, {"input": given.complete(definition), "source": source, "file": workflow}
        if not given.texts:
            return workflow, {"input": given.complete(None)}
        found = self.ask(WorkflowAnswer, "GET", f"{V0}/workflows/{quote(workflow, safe='')}")
        return workflow, {"input": given.complete(definition_from_json(found.definition, workflow))}

    def _ended(self, answer: RunAnswer, wait_s: float) -> RunAnswer:
        """Ask until the execution has ended, or `wait_s` seconds are over."""
        while answer.status == RUNNING and wait_s > 0:
            poll_s = min(WAIT_S, wait_s)
            path = f"{_execution(answer.execution_id)}?wait={poll_s:g}s"
            answer = RunAnswer.of(self.ask(ExecutionAnswer, "GET", path, timeout_s=poll_s + TIMEOUT_S))
            wait_s -= poll_s
        return answer

    def ask(
        self, kind: type[Kind], method: str, path: str, body: object = None, *, timeout_s: float = TIMEOUT_S
    ) -> Kind:
        """Send a request and return its response.

        Raises:
            ServerError: the server answered with a problem, or with something else than a `kind`.
            ServerGoneError: the server does not answer.
        """
        connection = self._connection(timeout_s)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, self._address.path.rstrip("/") + path, payload, self._headers)
            response = connection.getresponse()
            return self._decoded(kind, response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            hint = "see its log, or stop it and run compozy start again"
            raise ServerGoneError(f"the server at {self._name} does not answer: {error}", hint=hint) from error
        finally:
            connection.close()

    def _decoded(self, kind: type[Kind], status: int, text: bytes) -> Kind:
        try:
            content = json.loads(text or b"null")
        except ValueError as error:
            raise http.client.HTTPException(f"status {status} without JSON; it is not a Compozy server") from error
        if status >= 400 and isinstance(content, dict) and "components" not in content:
            raise ServerError(content)
        try:
            return msgspec.convert(content, kind)
        except msgspec.ValidationError as error:
            detail = f"the server at {self._name} gives an answer of another version: {error}"
            raise ServerError({"id": "server.answer", "detail": detail, "hint": _SAME_VERSION}) from error

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = str(self._address.hostname), self._address.port
        if self._address.scheme == "https":
            # The default context verifies certificate and host name.
            return http.client.HTTPSConnection(host, port, timeout=timeout_s)
        return http.client.HTTPConnection(host, port, timeout=timeout_s)


_SAME_VERSION = "use the same version of Compozy here and there"


def _execution(execution_id: str) -> str:
    return f"{V0}/executions/{quote(execution_id, safe='')}"
