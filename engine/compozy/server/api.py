"""Answer requests: one coroutine for each entry of the route table, which knows neither database nor Temporal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Protocol, TypeVar

from msgspec import UNSET
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse

from compozy.base.tally import Tally
from compozy.client.answers import (
    Alive,
    Deletion,
    ExecutionAnswer,
    ExecutionList,
    ExecutionWithTasks,
    HealthAnswer,
    ImportAnswer,
    PruneAnswer,
    PruneRequest,
    Readiness,
    RunAnswer,
    SessionLink,
    Signaled,
    StartRequest,
)
from compozy.client.local import workflow_answer, workflow_list
from compozy.memory.memories import Memories
from compozy.server.access import Access, server_port, session_cookie
from compozy.server.events import MOST_STREAMS, Events
from compozy.server.guard import Traffic
from compozy.server.metrics import metrics_text
from compozy.server.problem_details import RETRY_AFTER_S, SafeJSONResponse, problem
from compozy.server.requests import (
    bad_request,
    read_body,
    read_duration,
    read_json,
    read_limit,
    read_position,
    read_wait,
)
from compozy.store import Execution, UnavailableError
from compozy.store.store import MAX_LIMIT
from compozy.workflows.knowledge_service import KnowledgeService
from compozy.workflows.model.definition import Definition
from compozy.workflows.read.loader import definition_from_json, parse_definition
from compozy.workflows.service import Service

FORMAT = {"format_version": 1}
USUAL_LIMIT = 100
COUNT_S = 1.0
MEMORY_THREADS = 4
# A page instead of a redirect: a browser sends a strict cookie with the requests of our own page only.
_SESSION_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Compozy</title>
<meta http-equiv="refresh" content="0; url=/"></head><body><a href="/">Continue</a></body></html>
"""

Result = TypeVar("Result")


class ServerState(Protocol):
    """The process of the server; its calls may block."""

    def health(self) -> HealthAnswer:
        """Return the answer to `compozy status`: state, mode, ready, components, worker."""
        ...

    def config(self) -> Mapping[str, object]:
        """Return the JSON of `compozy config show`, secrets redacted."""
        ...

    def explain(self, key: str) -> Mapping[str, object]:
        """Return the JSON of `compozy config explain KEY`; raises NotFoundError for an unknown key."""
        ...


class Api:
    """The handlers with what they need; lives on the server's loop."""

    def __init__(
        self, service: Service, state: ServerState, access: Access, memories: Memories, knowledge: KnowledgeService
    ) -> None:
        self.service = service
        self.knowledge = knowledge
        self.access = access
        self.traffic = Traffic()
        self._state = state
        self._memories = memories
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="compozy-http")
        self._memory_threads = ThreadPoolExecutor(MEMORY_THREADS, thread_name_prefix="compozy-memory")
        self._draining = asyncio.Event()
        self._events = Events(service.changes, self.health)

    @property
    def memory_operations(self) -> Tally:
        """The operations on memories since the start."""
        return self._memories.operations

    def drain(self) -> None:
        """Answer requests that wait for an execution now, and end the streams of events; called on the loop."""
        self._draining.set()

    def close(self) -> None:
        """Release the threads; idempotent."""
        for threads in (self._threads, self._memory_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    async def health(self) -> HealthAnswer:
        """Return the health; while draining nothing is ready."""
        health = await self._in_thread(self._state.health)
        return replace(health, ready=False) if self._draining.is_set() else health

    async def config_json(self) -> Mapping[str, object]:
        """Return the redacted configuration."""
        return await self._in_thread(self._state.config)

    async def explanation_json(self, key: str) -> Mapping[str, object]:
        """Return why the setting or decision `key` is what it is."""
        return await self._in_thread(lambda: self._state.explain(key))

    async def ended(self, execution_id: str, wait_s: float | None) -> Execution:
        """Return the execution once it has ended, or as it is after `wait_s` or when the server stops."""
        if wait_s is None:
            return await self.service.execution(execution_id)
        return await self.service.wait(execution_id, wait_s, self._draining)

    async def started(
        self, workflow: Definition | str, given: Mapping[str, object], execution_id: str | None, wait_s: float | None
    ) -> Execution:
        """Start an execution, and return it once it has ended, or as it is after `wait_s` or when the server stops."""
        if wait_s is None:
            return await self.service.execution(await self.service.start(workflow, given, execution_id=execution_id))
        return await self.service.run(workflow, given, execution_id=execution_id, timeout_s=wait_s, stop=self._draining)

    def events(self, last_id: str | None, execution: str | None) -> AsyncIterator[str] | None:
        """Return a stream of events, None while there are too many."""
        return None if self._events.full else self._events.stream(last_id, execution, self._draining)

    async def in_memory(self, call: Callable[[Memories], Result]) -> Result:
        """Return what `call` returns, on threads of its own: a Redis that does not answer delays no health check."""
        return await asyncio.get_running_loop().run_in_executor(self._memory_threads, call, self._memories)

    async def _in_thread(self, call: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


async def alive(_api: Api, _request: Request) -> Response:
    """Answer that the process runs."""
    return SafeJSONResponse(Alive())


async def ready(api: Api, _request: Request) -> Response:
    """Return whether every enabled component is healthy and the worker takes work."""
    health = await api.health()
    parts = {name: part.healthy for name, part in health.components.items()} | {"worker": health.worker.healthy}
    waiting = [name for name, healthy in parts.items() if not healthy]
    answer = Readiness(ready=health.ready, state=health.state, waiting_for=waiting)
    return SafeJSONResponse(answer, HTTPStatus.OK if health.ready else HTTPStatus.SERVICE_UNAVAILABLE)


async def health(api: Api, _request: Request) -> Response:
    """Return mode, state, each component and the worker."""
    return SafeJSONResponse(await api.health())


async def config(api: Api, _request: Request) -> Response:
    """Return the effective values with their origins, redacted."""
    return SafeJSONResponse({**FORMAT, **await api.config_json()})


async def explain(api: Api, request: Request) -> Response:
    """Explain a setting or a decision: who decided it, over whom, and what nearly did."""
    return SafeJSONResponse({**FORMAT, **await api.explanation_json(request.path_params["key"])})


async def list_workflows(api: Api, _request: Request) -> Response:
    """Return the workflows that can be run, and the files that cannot."""
    return SafeJSONResponse(workflow_list(await api.service.workflows()))


async def import_workflows(api: Api, request: Request) -> Response:
    """Import what `compozy workflow export` wrote; all of it or nothing."""
    imported = await api.service.import_workflows(await read_json(request))
    return SafeJSONResponse(ImportAnswer(imported=imported.names, hidden=imported.hidden), HTTPStatus.CREATED)


async def delete_workflow(api: Api, request: Request) -> Response:
    """Delete an imported workflow; its executions stay."""
    workflow_id: str = request.path_params["workflow_id"]
    file = await api.service.delete_workflow(workflow_id)
    return SafeJSONResponse(Deletion(deleted=workflow_id, file=file or UNSET))


async def prune(api: Api, request: Request) -> Response:
    """Delete the executions that ended longer ago than `older_than`, by default than `executions.retention`."""
    body = await read_body(request, PruneRequest)
    pruned = await api.service.prune(read_duration(body.older_than), dry_run=body.dry_run)
    return SafeJSONResponse(PruneAnswer(count=pruned.count, before=pruned.before, dry_run=body.dry_run))


async def show_workflow(api: Api, request: Request) -> Response:
    """Return one workflow."""
    definition = await api.service.definition(request.path_params["workflow_id"])
    return SafeJSONResponse(replace(workflow_answer(definition), format_version=1))


async def start_execution(api: Api, request: Request) -> Response:
    """Start a known workflow, or the definition in the body; `?wait` waits for its end."""
    wait_s = read_wait(request)
    body = await read_body(request, StartRequest)
    workflow_id: str = request.path_params["workflow_id"]
    # On a thread of its own, because reading a large definition would hold up the event loop.
    definition = await api.service.checks.run(_given_definition, body, workflow_id)
    given = {} if body.input is None else body.input
    execution = await api.started(definition or workflow_id, given, body.execution_id, wait_s)
    status = HTTPStatus.OK if execution.finished else HTTPStatus.ACCEPTED
    headers = {"Location": f"/api/v0/executions/{execution.id}"}
    return SafeJSONResponse(RunAnswer.of(execution), status, headers=headers)


async def list_workflow_executions(api: Api, request: Request) -> Response:
    """Return the newest executions of one workflow."""
    return await _executions(api, request, request.path_params["workflow_id"])


async def list_executions(api: Api, request: Request) -> Response:
    """Return the newest executions."""
    return await _executions(api, request, request.query_params.get("workflow"))


async def show_execution(api: Api, request: Request) -> Response:
    """Return one execution with its tasks; `?wait` waits for its end."""
    execution = await api.ended(request.path_params["execution_id"], read_wait(request))
    return SafeJSONResponse(ExecutionWithTasks.of(execution, await api.service.tasks(execution.id)))


async def cancel_execution(api: Api, request: Request) -> Response:
    """Ask an execution to end; one that does not answer within 30 seconds is terminated."""
    wait_s = read_wait(request)
    execution = await api.service.cancel(request.path_params["execution_id"])
    if wait_s is not None:
        execution = await api.ended(execution.id, wait_s)
    status = HTTPStatus.OK if execution.finished else HTTPStatus.ACCEPTED
    return SafeJSONResponse(ExecutionAnswer.of(execution), status)


async def terminate_execution(api: Api, request: Request) -> Response:
    """End an execution at once, without letting it clean up."""
    execution = await api.service.terminate(request.path_params["execution_id"])
    return SafeJSONResponse(ExecutionAnswer.of(execution))


async def signal_execution(api: Api, request: Request) -> Response:
    """Send a signal; the body is its payload. No type of task waits for signals yet: they are kept unread."""
    payload = await read_json(request)
    execution_id, name = request.path_params["execution_id"], request.path_params["name"]
    await api.service.signal(execution_id, name, payload)
    return SafeJSONResponse(Signaled(execution_id=execution_id, signal=name), HTTPStatus.ACCEPTED)


async def events(api: Api, request: Request) -> Response:
    """Stream changes of executions and of component health as server-sent events."""
    stream = api.events(request.headers.get("last-event-id"), request.query_params.get("execution"))
    if stream is None:
        text, retry = f"{MOST_STREAMS} streams of events are open; try again later", {"Retry-After": str(RETRY_AFTER_S)}
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "http.busy", text, headers=retry)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def open_session(api: Api, request: Request) -> Response:
    """Open a session in a browser: the one-time link that `compozy start` prints."""
    session = api.access.open_session(request.query_params.get("token", ""))
    if session is None:
        text = "this link was used before or has expired; compozy status --link prints a new one"
        return problem(HTTPStatus.FORBIDDEN, "http.session", text)
    return HTMLResponse(_SESSION_PAGE, headers=session_cookie(session, server_port(request.scope)))


async def new_session_link(api: Api, request: Request) -> Response:
    """Return a new one-time link that opens a session in a browser."""
    url = f"{request.url.scheme}://{request.url.netloc}{api.access.new_link()}"
    return SafeJSONResponse(SessionLink(url=url), HTTPStatus.CREATED)


async def metrics(api: Api, _request: Request) -> Response:
    """Return the metrics in the text format of Prometheus."""
    health = await api.health()
    executions, ingesting = await _counts(api, health) or (None, None)
    text = metrics_text(
        health, executions, api.traffic.answers, api.traffic.seconds,
        library=api.knowledge.library, ingesting=ingesting, operations=api.memory_operations,
    )  # fmt: skip
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


async def _counts(api: Api, health: HealthAnswer) -> tuple[Mapping[str, int], Mapping[str, bool]] | None:
    """Return the executions by status and the running ingestions, None while the database does not answer at once."""
    # A database that is known to be down must not delay the other metrics by the time of a call.
    database = health.components.get("database")
    if database is not None and not database.healthy:
        return None
    try:
        async with asyncio.timeout(COUNT_S):
            return await api.service.count_by_status(), await api.knowledge.ingesting()
    except (UnavailableError, TimeoutError):
        return None


async def _executions(api: Api, request: Request, workflow: str | None) -> Response:
    limit = read_limit(request, USUAL_LIMIT, MAX_LIMIT)
    found = await api.service.executions(
        limit=limit, workflow=workflow, status=request.query_params.get("status"), before=read_position(request),
    )  # fmt: skip
    following = found[-1].position.cursor() if len(found) == limit else None
    return SafeJSONResponse(ExecutionList(executions=list(map(ExecutionAnswer.of, found)), next_cursor=following))


def _given_definition(body: StartRequest, workflow_id: str) -> Definition | None:
    if body.definition is not UNSET and body.source is not UNSET:
        raise bad_request("body", "send either definition or source, not both")
    if body.definition is not UNSET:
        definition = definition_from_json(body.definition, "definition")
    elif isinstance(body.source, str):
        definition = parse_definition(body.source, body.file)
    else:
        return None
    if definition.id != workflow_id:
        raise bad_request("body", f'the id of the definition is "{definition.id}", that of the path "{workflow_id}"')
    return definition
