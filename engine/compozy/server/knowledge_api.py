"""Answer requests about knowledge bases: one coroutine for each entry of the route table."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from compozy.client.knowledge_answers import BaseDeletion, IngestRequest, QueryRequest
from compozy.client.local_knowledge import asked, ingestion_answer, knowledge_list, query_answer
from compozy.server.api import Api
from compozy.server.problem_details import SafeJSONResponse
from compozy.server.requests import read_body, read_wait


async def list_knowledge(api: Api, _request: Request) -> Response:
    """Return the declared knowledge bases."""
    return SafeJSONResponse(knowledge_list(await api.knowledge.states()))


async def show_knowledge(api: Api, request: Request) -> Response:
    """Return a knowledge base and its last ingestion; `?wait` waits for the end of one that runs."""
    found = await api.knowledge.state(request.path_params["base"], read_wait(request))
    return SafeJSONResponse(ingestion_answer(found))


async def ingest_knowledge(api: Api, request: Request) -> Response:
    """Ingest the documents of a knowledge base, or join the ingestion that runs; `?wait` waits for its end."""
    wait_s = read_wait(request) or 0.0
    body = await read_body(request, IngestRequest)
    found = await api.knowledge.ingest(request.path_params["base"], rebuild=body.rebuild, wait_s=wait_s)
    return SafeJSONResponse(ingestion_answer(found), HTTPStatus.ACCEPTED if found.running else HTTPStatus.OK)


async def query_knowledge(api: Api, request: Request) -> Response:
    """Return the passages of a knowledge base that answer a query."""
    base: str = request.path_params["base"]
    query = asked(await read_body(request, QueryRequest))
    return SafeJSONResponse(query_answer(base, await api.knowledge.query(base, query)))


async def delete_knowledge(api: Api, request: Request) -> Response:
    """Delete the documents of a knowledge base, after its ingestion was ended."""
    base: str = request.path_params["base"]
    return SafeJSONResponse(BaseDeletion(deleted=base, documents=await api.knowledge.delete(base)))
