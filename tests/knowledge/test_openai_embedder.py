"""Vectors from an OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from tests.support.web_server import WebServer

from compozy.knowledge.bases import EmbeddingModel
from compozy.knowledge.embedder import EmbeddingError, make_embedder
from compozy.knowledge.openai_embedder import OpenAIEmbedder

KEY = "sk-0123456789"


def vectors(web: WebServer, dimension: int = 3) -> Callable[[Request], Response]:
    """Return an endpoint whose vectors hold the length of the text, in an order of its own."""

    def answer(request: Request) -> Response:
        texts = json.loads(web.bodies[-1])["input"]
        found = [
            {"index": at, "embedding": [float(len(text))] + [1.0] * (dimension - 1)} for at, text in enumerate(texts)
        ]
        return JSONResponse({"object": "list", "data": found[::-1], "usage": {"total_tokens": 1}})

    return answer


def model(web: WebServer, dimension: int | None = None) -> EmbeddingModel:
    return EmbeddingModel("small", "local", "letters", web.url("/v1/"), KEY, "acme", dimension, 5.0)


@pytest.fixture
def waits() -> list[float]:
    """The waits of the embedder before each repetition, in seconds."""
    return []


@pytest.fixture
def embedder(web: WebServer, waits: list[float]) -> Iterator[OpenAIEmbedder]:
    web.answers["/v1/embeddings"] = vectors(web)
    found = OpenAIEmbedder(model(web), waits.append)
    yield found
    found.close()


def failure(embedder: OpenAIEmbedder) -> EmbeddingError:
    with pytest.raises(EmbeddingError) as caught, closing(embedder):
        embedder.embed(["a"])
    return caught.value


def test_vectors_are_in_the_order_of_the_texts(embedder: OpenAIEmbedder, web: WebServer) -> None:
    assert embedder.embed(["a", "bbb", "cc"]) == [[1.0, 1.0, 1.0], [3.0, 1.0, 1.0], [2.0, 1.0, 1.0]]
    assert json.loads(web.bodies[0]) == {"model": "letters", "input": ["a", "bbb", "cc"], "encoding_format": "float"}
    headers = web.requests[0].headers
    assert (headers["authorization"], headers["openai-organization"]) == (f"Bearer {KEY}", "acme")


def test_identity_has_provider_model_and_dimension(embedder: OpenAIEmbedder) -> None:
    assert (embedder.dimension, embedder.identity) == (3, "local/letters/3")


def test_configured_dimension_is_asked_for(web: WebServer) -> None:
    web.answers["/v1/embeddings"] = vectors(web, 2)
    embedder = OpenAIEmbedder(model(web, 2))
    assert embedder.identity == "local/letters/2"
    assert not web.requests
    embedder.embed(["a"])
    assert json.loads(web.bodies[0])["dimensions"] == 2
    embedder.close()


def test_another_dimension_than_the_configured_one_is_refused(web: WebServer) -> None:
    web.answers["/v1/embeddings"] = vectors(web, 2)
    assert "returns 2 numbers, not 4" in str(failure(OpenAIEmbedder(model(web, 4))))


@pytest.mark.parametrize(
    ("texts", "sizes"),
    [
        pytest.param(["a"] * 300, [128, 128, 44], id="texts"),
        pytest.param(["a" * 90_000] * 5, [2, 2, 1], id="characters"),
        pytest.param(["a" * 300_000, "b"], [1, 1], id="long-text"),
        pytest.param([], [], id="none"),
    ],
)
def test_many_texts_are_sent_in_batches(
    texts: list[str], sizes: list[int], embedder: OpenAIEmbedder, web: WebServer
) -> None:
    assert embedder.dimension == 3
    assert [vector[0] for vector in embedder.embed(texts)] == [len(text) for text in texts]
    assert [len(json.loads(body)["input"]) for body in web.bodies[1:]] == sizes


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_passing_failure_is_repeated(status: int, embedder: OpenAIEmbedder, web: WebServer, waits: list[float]) -> None:
    good, left = vectors(web), [Response(status_code=status)] * 4
    web.answers["/v1/embeddings"] = lambda request: left.pop() if left else good(request)
    assert embedder.embed(["a"]) == [[1.0, 1.0, 1.0]]
    assert [0.5 * 2**at / 2 <= wait <= 0.5 * 2**at for at, wait in enumerate(waits)] == [True] * 4


@pytest.mark.parametrize(
    ("stated", "low", "high"),
    [
        pytest.param("7", 7, 7, id="seconds"),
        pytest.param("1.5", 1.5, 1.5, id="fraction"),
        pytest.param("86400", 60, 60, id="too-long"),
        pytest.param(format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True), 60, 60, id="date"),
        pytest.param(format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True), 0, 0, id="past"),
        pytest.param("soon", 0.25, 0.5, id="malformed"),
        pytest.param("-1", 0.25, 0.5, id="negative"),
    ],
)
def test_stated_wait_is_respected(
    stated: str, low: float, high: float, embedder: OpenAIEmbedder, web: WebServer, waits: list[float]
) -> None:
    web.answers["/v1/embeddings"] = Response(status_code=429, headers={"retry-after": stated})
    failure(embedder)
    assert low <= waits[0] <= high


def test_lasting_failure_is_repeated_four_times(embedder: OpenAIEmbedder, web: WebServer, waits: list[float]) -> None:
    web.answers["/v1/embeddings"] = JSONResponse({"error": {"message": "overloaded"}}, 503)
    assert "answers with HTTP 503: overloaded" in failure(embedder).message
    assert (len(web.requests), len(waits)) == (5, 4)


@pytest.mark.parametrize(
    ("status", "fix"),
    [(400, "url and model"), (401, "api_key"), (403, "api_key"), (404, "url and model"), (302, "url")],
)
def test_refusal_is_not_repeated_and_names_the_setting(
    status: int, fix: str, embedder: OpenAIEmbedder, web: WebServer, waits: list[float]
) -> None:
    web.answers["/v1/embeddings"] = Response(status_code=status, headers={"location": web.url("/elsewhere")})
    assert fix in str(failure(embedder).hint)
    assert (len(web.requests), waits) == (1, [])


async def endless(part: bytes, pause_s: float) -> AsyncIterator[bytes]:
    while True:
        yield part
        await asyncio.sleep(pause_s)


@pytest.mark.parametrize("status", [200, 400])
def test_answer_above_the_size_limit_is_refused(
    status: int, embedder: OpenAIEmbedder, web: WebServer, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compozy.knowledge.openai_embedder._LONGEST_BYTES", 1_000_000)
    web.answers["/v1/embeddings"] = StreamingResponse(endless(b" " * 65536, 0), status)
    assert "answers with more than 1 MB" in failure(embedder).message
    assert (len(web.requests), waits) == (1, [])


def test_endless_answer_is_a_timeout(web: WebServer, waits: list[float]) -> None:
    web.answers["/v1/embeddings"] = lambda request: StreamingResponse(endless(b" ", 0.01))
    embedder = OpenAIEmbedder(replace(model(web), timeout_s=0.2), waits.append)
    assert "does not end its answer within 0.2 s" in failure(embedder).message
    assert len(waits) == 4


def test_answer_with_a_broken_encoding_is_reported(embedder: OpenAIEmbedder, web: WebServer) -> None:
    web.answers["/v1/embeddings"] = Response(b"no gzip", headers={"content-encoding": "gzip"})
    assert "does not answer" in failure(embedder).message


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param({"data": []}, "returns 0 vectors for 1 texts", id="none"),
        pytest.param({"data": [{"index": 1, "embedding": [1.0]}]}, "returns 1 vectors for 1 texts", id="other-index"),
        pytest.param({"data": [{"index": 0, "embedding": [1.0]}] * 2}, "returns 2 vectors for 1 texts", id="two"),
        pytest.param({"data": [{"index": 0, "embedding": []}]}, "without a direction", id="empty"),
        pytest.param({"data": [{"index": 0, "embedding": [0, 0]}]}, "without a direction", id="zeros"),
        pytest.param({"data": [{"index": 0, "embedding": ["1"]}]}, "answers otherwise", id="text"),
        pytest.param({"vectors": [[1.0]]}, "answers otherwise", id="other-key"),
        pytest.param([], "answers otherwise", id="list"),
    ],
)
def test_answer_of_another_form_is_refused(
    answer: object, reason: str, embedder: OpenAIEmbedder, web: WebServer
) -> None:
    web.answers["/v1/embeddings"] = JSONResponse(answer)
    assert reason in failure(embedder).message


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(JSONResponse({"error": {"message": f"invalid key {KEY}\x1b[2J"}}, 401), id="object"),
        pytest.param(JSONResponse({"error": f"invalid key {KEY}\x1b[2J"}, 401), id="text"),
        pytest.param(Response(f"<html>{KEY}\x1b[2J", 401), id="html"),
    ],
)
def test_key_and_control_characters_do_not_reach_an_error(
    answer: Response, embedder: OpenAIEmbedder, web: WebServer
) -> None:
    web.answers["/v1/embeddings"] = answer
    shown = str(failure(embedder))
    assert KEY not in shown
    assert "\x1b" not in shown
    assert KEY not in repr(model(web))


def test_secret_of_the_address_does_not_reach_an_error(web: WebServer, waits: list[float]) -> None:
    address = f"http://ada:pa55word@127.0.0.1:{web.port}/v1?token=t0ken"
    shown = str(failure(OpenAIEmbedder(EmbeddingModel("small", "local", "letters", address), waits.append)))
    assert "pa55word" not in shown
    assert "t0ken" not in shown


def test_silent_endpoint_is_named(waits: list[float]) -> None:
    found = failure(OpenAIEmbedder(EmbeddingModel("small", "local", "letters", "http://127.0.0.1:1/v1"), waits.append))
    assert 'the model "small" at http://127.0.0.1:1/v1/embeddings does not answer' in found.message
    assert len(waits) == 4


def test_model_without_an_address_is_refused() -> None:
    with pytest.raises(EmbeddingError, match=r'the model "small" has no address\nfix: correct url'):
        make_embedder(EmbeddingModel("small", "anthropic", "letters"))


def test_openai_has_an_address_of_its_own() -> None:
    assert make_embedder(EmbeddingModel("small", "openai", "text-embedding-3-small", dimension=8)).identity == (
        "openai/text-embedding-3-small/8"
    )
