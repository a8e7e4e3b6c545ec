"""A server with the REST interface of Qdrant, because no package carries the real one.

Its answers are those of the local mode of Qdrant's own client library, so that semantics are not ours; requests and
responses have the library's models.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from compozy.drivers.ports import free_port

HOST = "127.0.0.1"
_WAIT_S = 10.0
Body = dict[str, Any]


class QdrantServer:
    """The routes that the driver of a Qdrant server uses; other requests are answered with 404."""

    def __init__(self, api_key: str | None) -> None:
        import qdrant_client  # half a second, which not every process of a test run has to spend

        self._models = qdrant_client.models
        self._local = qdrant_client.QdrantClient(":memory:", force_disable_check_same_thread=True)
        self._key = api_key
        name = "/collections/{name}"
        routes = {
            ("GET", f"{name}/exists"): lambda n, _: {"exists": self._local.collection_exists(n)},
            ("GET", name): lambda n, _: self._local.get_collection(n),
            ("PUT", name): self._create,
            ("PUT", f"{name}/index"): lambda n, _: {"operation_id": 0, "status": "completed"},
            ("PUT", f"{name}/points"): self._upsert,
            ("POST", f"{name}/points"): self._retrieve,
            ("POST", f"{name}/points/delete"): self._delete,
            ("POST", f"{name}/points/query"): self._query,
            ("POST", f"{name}/points/count"): self._count,
            ("POST", f"{name}/points/scroll"): self._scroll,
        }
        self.app = Starlette(
            routes=[Route(path, self._route(do), methods=[verb]) for (verb, path), do in routes.items()]
        )

    def _route(self, do: Callable[[str, Body], Any]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            if self._key is not None and request.headers.get("api-key") != self._key:
                return JSONResponse({"status": {"error": "Must provide an API key"}}, 401)
            body = await request.json() if await request.body() else {}
            try:
                found = do(request.path_params["name"], body)
            except ValueError as error:
                return JSONResponse({"status": {"error": str(error)}}, 404 if "not found" in str(error) else 400)
            result = found.model_dump(mode="json") if hasattr(found, "model_dump") else found
            return JSONResponse({"result": result, "status": "ok", "time": 0.0})

        return endpoint

    def _create(self, name: str, body: Body) -> bool:
        asked = self._models.CreateCollection(**body)
        assert asked.vectors is not None
        if self._local.collection_exists(name):
            raise ValueError(f"Collection `{name}` already exists!")
        return bool(self._local.create_collection(name, asked.vectors))

    def _upsert(self, name: str, body: Body) -> Any:
        return self._local.upsert(name, self._models.PointsList(**body).points)

    def _retrieve(self, name: str, body: Body) -> Any:
        asked = self._models.PointRequest(**body)
        found = self._local.retrieve(
            name, asked.ids, with_payload=asked.with_payload or False, with_vectors=asked.with_vector or False
        )
        return [point.model_dump(mode="json") for point in found]

    def _delete(self, name: str, body: Body) -> Any:
        return self._local.delete(name, self._models.PointIdsList(**body))

    def _query(self, name: str, body: Body) -> Any:
        asked = self._models.QueryRequest(**body)
        return self._local.query_points(
            name, asked.query, query_filter=asked.filter, limit=asked.limit or 10, with_payload=True
        )

    def _count(self, name: str, body: Body) -> Any:
        return self._local.count(name, self._models.CountRequest(**body).filter)

    def _scroll(self, name: str, body: Body) -> Any:
        asked = self._models.ScrollRequest(**body)
        points, following = self._local.scroll(
            name, asked.filter, limit=asked.limit or 10, offset=asked.offset,
            with_payload=asked.with_payload or False, with_vectors=asked.with_vector or False,
        )  # fmt: skip
        return {"points": [point.model_dump(mode="json") for point in points], "next_page_offset": following}


@dataclass(frozen=True)
class Listening:
    """The address of a server."""

    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


@contextmanager
def qdrant_server(api_key: str | None = None) -> Iterator[Listening]:
    """Run a server in a thread, with nothing in it."""
    port, begun = free_port(), threading.Event()
    app = QdrantServer(api_key).app
    server = uvicorn.Server(uvicorn.Config(app, host=HOST, port=port, log_level="error", lifespan="off"))

    async def serve() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        begun.set()
        await serving

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert begun.wait(_WAIT_S)
    assert server.started
    try:
        yield Listening(port)
    finally:
        server.should_exit = True
        thread.join(_WAIT_S)
