"""Read the parameters and the body of a request strictly, and bound their size."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from itertools import islice
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from compozy.base.control import escape_line
from compozy.base.findings import Collector, Finding
from compozy.base.place import Place
from compozy.base.strict_json import strict_json
from compozy.server.problem_details import RequestProblem
from compozy.settings.values import parse_duration
from compozy.store.records import Position, read_cursor

MAX_BODY_BYTES = 2_000_000
MAX_WAIT_S = 600.0
BODY_TIMEOUT_S = 30.0
JSON_TYPE = "application/json"
# Parsed within a few milliseconds, so on the event loop; handing it to a thread would take longer.
_QUICK_BYTES = 16_384
_MOST = 20  # names in one problem document
_LONGEST = 200
_IDS = {"body": "http.body", "query": "http.parameter"}
Body = TypeVar("Body", bound=msgspec.Struct)


async def read_json(request: Request) -> object:
    """Return the body as JSON; an empty one is None.

    Raises:
        RequestProblem: it is too large, too slow, not JSON or not called JSON.
        BusyError: it has to be read on a thread, and too many checks are waiting.
    """
    body = await _read_body(request)
    if not body:
        return None
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON_TYPE:
        text = f"the body must come with Content-Type: {JSON_TYPE}"
        raise RequestProblem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "http.media-type", text)
    try:
        # A longer body would hold up every other request of the event loop while it is parsed.
        if len(body) <= _QUICK_BYTES:
            return strict_json(body)
        return await request.app.state.api.service.checks.run(strict_json, body)
    except (ValueError, RecursionError) as error:
        raise bad_request("body", f"the body is not JSON: {error}") from error


async def read_body(request: Request, kind: type[Body]) -> Body:
    """Return the body as a record; an empty body is an empty object.

    Raises:
        RequestProblem: see `read_json`; or it is not an object, has an unknown key, or a value of another type.
    """
    body = await read_json(request)
    allowed = kind.__struct_fields__
    if body is not None and not isinstance(body, dict):
        raise bad_request("body", f"the body must be an object with: {', '.join(allowed)}")
    _check_names("body", "key", body or {}, allowed)
    try:
        return msgspec.convert(body or {}, kind)
    except msgspec.ValidationError as error:
        # The only form in which msgspec gives the path.
        text, _, path = str(error).partition(" - at `$.")
        raise bad_request("body", text, path.removesuffix("`")) from error


def check_parameters(request: Request, allowed: Sequence[str]) -> None:
    """Check the names of the query's parameters, and their values and those of the path for control characters.

    Raises:
        RequestProblem: the query has another parameter than the `allowed` ones, or one of them twice, or a value holds
            a control character.
    """
    for value in (*request.path_params.values(), *request.query_params.values()):
        if escape_line(value) != value:
            raise bad_request("query", f'"{escape_line(value)}" holds control characters')
    _check_names("query", "parameter", request.query_params, allowed)
    for name in allowed:
        if len(request.query_params.getlist(name)) > 1:
            raise bad_request("query", "the parameter is given more than once", name)


def _check_names(part: str, what: str, given: Iterable[str], allowed: Sequence[str]) -> None:
    """Refuse unknown names in a part of a request; the problem lists the first `_MOST` of them as findings."""
    found = Collector(longest=_LONGEST)
    for name in islice((name for name in given if name not in allowed), _MOST):
        advice = found.suggestions.did_you_mean(name, allowed) or "; none is known here"
        found.add(_IDS[part], f'unknown {what} "{name}"{advice}', Place(part, 0, 0), key=name)
    if found.findings:
        text = "; ".join(finding.message for finding in found.findings)
        raise RequestProblem(HTTPStatus.BAD_REQUEST, _IDS[part], text, findings=found.findings)


def read_wait(request: Request) -> float | None:
    """Return the seconds of `?wait=30s`, None without it.

    Raises:
        RequestProblem: it is not a duration, or longer than `MAX_WAIT_S`.
    """
    text = request.query_params.get("wait")
    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise bad_request("query", str(error), "wait") from error
    if seconds > MAX_WAIT_S:
        raise bad_request("query", f"at most {MAX_WAIT_S:g}s; ask again after that", "wait")
    return seconds


def read_duration(value: object) -> float | None:
    """Return the seconds of a duration in a body, None for null.

    Raises:
        RequestProblem: it is not a duration.
    """
    try:
        return None if value is None else parse_duration(str(value))
    except ValueError as error:
        raise bad_request("body", str(error), "older_than") from error


def read_limit(request: Request, usual: int, most: int) -> int:
    """Return the number of `?limit=`, from 1 to `most`.

    Raises:
        RequestProblem: it is not such a number.
    """
    text = request.query_params.get("limit", str(usual))
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not 1 <= int(text) <= most:
        raise bad_request("query", f"expected a whole number from 1 to {most}", "limit")
    return int(text)


def read_number(request: Request, name: str) -> int:
    """Return the whole number of a parameter of the query, 0 without it.

    Raises:
        RequestProblem: it is not such a number.
    """
    text = request.query_params.get(name, "0")
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise bad_request("query", "expected a whole number", name)
    return int(text)


def read_position(request: Request) -> Position | None:
    """Return the position in the list of executions that `?cursor=` names, None without it.

    Raises:
        RequestProblem: no list gave this cursor.
    """
    text = request.query_params.get("cursor")
    try:
        return None if text is None else read_cursor(text)
    except (ValueError, RecursionError) as error:
        raise bad_request("query", "expected the next_cursor of a list of executions", "cursor") from error


def bad_request(part: str, text: str, key: str = "") -> RequestProblem:
    """Return the refusal of a request because of a `key` of its body or query, or because of that part as a whole."""
    finding = Finding.at(_IDS[part], text, Place(part, 0, 0), key=key)
    return RequestProblem(HTTPStatus.BAD_REQUEST, finding.id, f"{key}: {text}" if key else text, findings=(finding,))


async def _read_body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        # One deadline for the whole body, because a client that sends a byte from time to time never exceeds one of
        # each part.
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.stream():
                # Counted while reading: a chunked body states no length, and a stated one may be wrong.
                size += len(part)
                if size > MAX_BODY_BYTES:
                    text = f"the body has more than {MAX_BODY_BYTES} bytes"
                    raise RequestProblem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "http.too-large", text)
                parts.append(part)
    except TimeoutError as error:
        text = f"the body did not arrive within {BODY_TIMEOUT_S:g} s"
        raise RequestProblem(HTTPStatus.REQUEST_TIMEOUT, "http.timeout", text) from error
    except ClientDisconnect as error:
        raise bad_request("body", "the client closed the connection") from error
    return b"".join(parts)
