"""Build the ASGI application from the route table; every failure that it answers is a problem document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from compozy.errors import CompozyError
from compozy.memory.memories import Memories
from compozy.server.access import Access
from compozy.server.admission import Admission
from compozy.server.api import Api, ServerState
from compozy.server.guard import AccessMiddleware
from compozy.server.limits import Limits
from compozy.server.openapi import docs_page, openapi_document
from compozy.server.problem_details import (
    RequestProblem,
    on_bug,
    on_compozy_error,
    on_http_exception,
    on_request_problem,
)
from compozy.server.requests import check_parameters
from compozy.server.routes import ROUTES, Operation
from compozy.workflows.knowledge_service import KnowledgeService
from compozy.workflows.service import Service

__all__ = ["ServerState", "build_app"]


def build_app(
    service: Service,
    state: ServerState,
    *,
    access: Access,
    memories: Memories,
    knowledge: KnowledgeService,
    host: str = "127.0.0.1",
    most_requests: int = Limits().requests,
) -> Starlette:
    """Return the application; `host` is the address to serve it on, `most_requests` are at work at once.

    Its `state.api` is the `Api` behind it, whose `drain` answers waiting requests early.
    """
    api = Api(service, state, access, memories, knowledge)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        api.close()

    app = Starlette(
        routes=[*(_route(api, endpoint) for endpoint in ROUTES), *_descriptions()],
        middleware=[
            # First, so that a request without the key takes none of the places of `Admission`.
            Middleware(AccessMiddleware, access=access, host=host, traffic=api.traffic),
            Middleware(Admission, most=most_requests),
        ],
        exception_handlers={
            CompozyError: on_compozy_error,
            RequestProblem: on_request_problem,
            HTTPException: on_http_exception,
            Exception: on_bug,
        },
        lifespan=lifespan,
    )
    app.state.api = api
    return app


def _route(api: Api, endpoint: Operation) -> Route:
    async def answer(request: Request) -> Response:
        if not endpoint.open:
            check_parameters(request, endpoint.query)
        return await endpoint.handler(api, request)

    return Route(endpoint.route, answer, methods=[endpoint.method], name=endpoint.handler.__name__)


def _descriptions() -> list[Route]:
    document = openapi_document(ROUTES)
    page = docs_page(ROUTES)
    return [
        Route("/openapi.json", _always(lambda: JSONResponse(document)), methods=["GET"]),
        Route("/", _always(lambda: RedirectResponse("/docs")), methods=["GET"]),
        Route("/docs", _always(lambda: HTMLResponse(page)), methods=["GET"]),
    ]


def _always(build: Callable[[], Response]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        return build()

    return answer
