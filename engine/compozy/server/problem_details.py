"""Turn failures into RFC 9457 problem documents with the same stable ids as those of the command line.

The text of a bug goes to the log only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TypedDict, Unpack

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from compozy.base.control import escape_json
from compozy.base.findings import Finding
from compozy.client.finding_answers import FindingAnswer, ProblemAnswer, finding_answers
from compozy.errors import (
    CompozyError,
    DefinitionError,
    DriverError,
    NotFoundError,
    SyntaxProblem,
    UsageError,
    VectorError,
)
from compozy.workflows.model.inputs import InputError, InputLimitError
from compozy.workflows.starting import ConflictError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
# The first match counts, so that subclasses come before their classes.
_STATUSES: tuple[tuple[type[CompozyError], HTTPStatus], ...] = (
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (InputLimitError, HTTPStatus.BAD_REQUEST),
    (InputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (DefinitionError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (SyntaxProblem, HTTPStatus.UNPROCESSABLE_ENTITY),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (VectorError, HTTPStatus.BAD_REQUEST),
    (DriverError, HTTPStatus.SERVICE_UNAVAILABLE),
)
_HTTP_IDS = {
    HTTPStatus.NOT_FOUND: "http.not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "http.method-not-allowed",
}


class ProblemFacts(TypedDict, total=False):
    """Fields of a problem document that not every one has; see `ProblemAnswer`."""

    exit_code: int
    hint: str
    problems: list[str]
    findings: list[FindingAnswer]


class RequestProblem(Exception):
    """A request that is refused before anything is done; `id` is stable, `findings` are its faults if it has several.

    `text` is the reason, with the fix.
    """

    def __init__(
        self,
        status: HTTPStatus,
        problem_id: str,
        text: str,
        headers: Mapping[str, str] | None = None,
        findings: Sequence[Finding] = (),
    ) -> None:
        super().__init__(text)
        self.status = status
        self.id = problem_id
        self.text = text
        self.headers = headers
        self.findings = tuple(findings)


def problem(
    status: HTTPStatus,
    problem_id: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **facts: Unpack[ProblemFacts],
) -> JSONResponse:
    """Return a problem document as an answer; `facts` are further fields of `ProblemAnswer`."""
    body = problem_document(status, problem_id, detail, **facts)
    return SafeJSONResponse(body, status.value, headers=headers, media_type=MEDIA_TYPE)


def problem_document(status: HTTPStatus, problem_id: str, detail: str, **facts: Unpack[ProblemFacts]) -> ProblemAnswer:
    """Return a problem document (https://www.rfc-editor.org/rfc/rfc9457)."""
    kind = f"urn:compozy:error:{problem_id}"
    return ProblemAnswer(type=kind, title=status.phrase, status=status.value, detail=detail, id=problem_id, **facts)


class SafeJSONResponse(JSONResponse):
    """JSON that a terminal can show: control characters are escaped, lone surrogates become question marks."""

    def render(self, content: object) -> bytes:
        """Return a typed record or plain JSON values as UTF-8."""
        text = json.dumps(msgspec.to_builtins(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return escape_json(text.encode("utf-8", "replace").decode()).encode()


async def on_compozy_error(_request: Request, error: Exception) -> JSONResponse:
    """Answer an error of the tree."""
    if not isinstance(error, CompozyError):
        return await on_bug(_request, error)
    status = next((code for kind, code in _STATUSES if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return problem(status, error.id, error.message, headers=headers, **_facts(error))


async def on_request_problem(_request: Request, error: Exception) -> JSONResponse:
    """Answer a request that was refused."""
    if not isinstance(error, RequestProblem):
        return await on_bug(_request, error)
    return problem(error.status, error.id, error.text, headers=error.headers, **_listed(error.findings))


async def on_http_exception(request: Request, error: Exception) -> JSONResponse:
    """Answer what the router refuses: unknown paths and methods."""
    if not isinstance(error, HTTPException):
        return await on_bug(request, error)
    status = HTTPStatus(error.status_code)
    text = f"{request.method} {request.url.path} is not part of this interface; see /docs"
    return problem(status, _HTTP_IDS.get(status, "http.refused"), text, headers=error.headers)


async def on_bug(_request: Request, _error: Exception) -> JSONResponse:
    """Answer a bug without its text; the server logs it."""
    text = "the server made a mistake; its log has the traceback"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", text)


def _facts(error: CompozyError) -> ProblemFacts:
    facts: ProblemFacts = {"exit_code": error.exit_code}
    if error.hint is not None:
        facts["hint"] = error.hint
    if isinstance(error, InputError):
        facts["problems"] = [finding.message for finding in error.findings]
    if isinstance(error, DefinitionError):
        facts["problems"] = [str(finding) for finding in error.findings]
    return {**facts, **_listed(error.findings)}


def _listed(findings: Sequence[Finding]) -> ProblemFacts:
    return {"findings": finding_answers(findings)} if findings else {}
