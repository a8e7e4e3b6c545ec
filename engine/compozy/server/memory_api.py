"""Answer requests about memories; each operation is one atomic script of Redis, run on a thread."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from compozy.client.answers import Answer
from compozy.client.local_memory import LocalMemory
from compozy.client.memory_answers import MemoryList
from compozy.server.api import USUAL_LIMIT, Api
from compozy.server.problem_details import SafeJSONResponse
from compozy.server.requests import bad_request, read_json, read_limit, read_number
from compozy.store.store import MAX_LIMIT


async def list_memories(api: Api, _request: Request) -> Response:
    """Return the declared memories, with the numbers of their keys and messages."""
    found = await api.in_memory(lambda memories: memories.summaries())
    return SafeJSONResponse(MemoryList(memories=found))


async def list_memory_keys(api: Api, request: Request) -> Response:
    """Return the keys of one memory, ordered by name."""
    limit, after = read_limit(request, USUAL_LIMIT, MAX_LIMIT), request.query_params.get("cursor", "")
    return await _answer(api, request, lambda memory, _: memory.keys(limit, after))


async def read_memory(api: Api, request: Request) -> Response:
    """Return the newest messages of one key, the oldest of them first, and its statistics."""
    limit, before = read_limit(request, USUAL_LIMIT, MAX_LIMIT), read_number(request, "before")
    return await _answer(api, request, lambda memory, key: memory.read(key, limit, before))


async def append_memory(api: Api, request: Request) -> Response:
    """Add one message or a list of them to a key, and evict what exceeds the limits."""
    payload = await read_json(request)
    return await _answer(api, request, lambda memory, key: memory.append(key, payload))


async def write_memory(api: Api, request: Request) -> Response:
    """Replace the messages of a key by one message or a list of them."""
    payload = await read_json(request)
    return await _answer(api, request, lambda memory, key: memory.write(key, payload))


async def delete_memory(api: Api, request: Request) -> Response:
    """Delete a key; with `?only=messages` clear its messages, and keep its statistics."""
    only = request.query_params.get("only")
    if only not in (None, "messages"):
        raise bad_request("query", "expected messages", "only")
    return await _answer(api, request, lambda memory, key: memory.clear(key) if only else memory.delete(key))


async def _answer(api: Api, request: Request, call: Callable[[LocalMemory, str], Answer]) -> Response:
    memory_id, key = request.path_params["memory_id"], request.path_params.get("key", "")
    answer = await api.in_memory(lambda memories: call(LocalMemory(memories.memory(memory_id)), key))
    return SafeJSONResponse(answer)
