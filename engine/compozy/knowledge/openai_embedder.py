"""Make vectors through an OpenAI-compatible endpoint, `POST {url}/embeddings`."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from functools import cached_property

import httpx2
import msgspec

from compozy.base.control import escape_line
from compozy.knowledge.bases import EmbeddingModel
from compozy.knowledge.embedder import EmbeddingError
from compozy.settings.redact import REDACTED, redact_url

_OPENAI = "https://api.openai.com/v1"
# One request has at most so many texts and, beyond its first text, so many characters.
_TEXTS, _CHARACTERS = 128, 200_000
_ATTEMPTS = 5
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 60.0
# 128 vectors of 16,384 numbers fit.
_LONGEST_BYTES = 64_000_000
_SHOWN = 300  # characters of an answer that an error repeats


class _Embedding(msgspec.Struct):
    index: int
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Embedding]


class _Fault(msgspec.Struct):
    message: str


class _FaultAnswer(msgspec.Struct):
    error: _Fault | str


class OpenAIEmbedder:
    """The embedder of a model behind an endpoint; connections are kept between requests.

    A request that the endpoint cannot serve now (HTTP 408, 409, 429, 5xx, no connection) is repeated after
    `Retry-After`, or after a time that doubles; `sleep` waits for that many seconds.
    """

    def __init__(self, model: EmbeddingModel, sleep: Callable[[float], None] = time.sleep) -> None:
        if not (model.url or model.provider == "openai"):
            raise EmbeddingError(f'the model "{model.id}" has no address', hint=_at(model, "url"))
        self._model = model
        self._url = f"{(model.url or _OPENAI).rstrip('/')}/embeddings"
        self._sleep = sleep

    @cached_property
    def _client(self) -> httpx2.Client:
        model = self._model
        headers = {"Authorization": f"Bearer {model.api_key}"} if model.api_key else {}
        headers |= {"OpenAI-Organization": model.organization} if model.organization else {}
        # No proxy and no .netrc of the environment; the environment is no source of settings.
        return httpx2.Client(headers=headers, timeout=model.timeout_s, trust_env=False)

    @property
    def identity(self) -> str:
        """Return `provider/model/dimension`."""
        return f"{self._model.provider}/{self._model.model}/{self.dimension}"

    @cached_property
    def dimension(self) -> int:
        """Return the configured dimension, or that of a first vector."""
        return self._model.dimension or len(self._vectors(["dimension"])[0])

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of `texts`, in their order."""
        vectors = [vector for batch in _batches(texts) for vector in self._vectors(batch)]
        for vector in vectors:
            if len(vector) != self.dimension:
                reason = f"{self._named} returns {len(vector)} numbers, not {self.dimension}"
                raise EmbeddingError(reason, hint=_at(self._model, "dimension"))
        return vectors

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def _named(self) -> str:
        return f'the model "{self._model.id}" at {redact_url(self._url)}'

    def _vectors(self, texts: Sequence[str]) -> list[list[float]]:
        body: dict[str, object] = {"model": self._model.model, "input": texts, "encoding_format": "float"}
        if self._model.dimension is not None:
            body["dimensions"] = self._model.dimension
        try:
            found = msgspec.json.decode(self._post(body), type=_Answer).data
        except msgspec.MsgspecError as error:
            raise EmbeddingError(
                f"{self._named} answers otherwise than an OpenAI-compatible endpoint: {error}"
            ) from error
        # By index: the API does not promise the order of the texts.
        vectors = {one.index: one.embedding for one in found}
        if len(found) != len(texts) or vectors.keys() != set(range(len(texts))):
            raise EmbeddingError(f"{self._named} returns {len(found)} vectors for {len(texts)} texts")
        # Cosine similarity is undefined for a zero vector, and NaN compares unequal to everything.
        if not all(vector and any(vector) and all(map(math.isfinite, vector)) for vector in vectors.values()):
            raise EmbeddingError(f"{self._named} returns a vector without a direction")
        return [vectors[at] for at in range(len(texts))]

    def _post(self, body: dict[str, object]) -> bytes:
        """Return the answer to a request, which is repeated where that can help."""
        for attempt in range(_ATTEMPTS - 1):
            try:
                return self._post_once(body)
            except _PassingError as error:
                # Random, so that clients that failed together do not return together.
                longest = _FIRST_WAIT_S * 2**attempt
                self._sleep(longest * random.uniform(0.5, 1) if error.wait_s is None else error.wait_s)
        return self._post_once(body)

    def _post_once(self, body: dict[str, object]) -> bytes:
        try:
            with self._client.stream("POST", self._url, json=body) as response:
                content = self._read(response)
        except httpx2.RequestError as error:
            raise _PassingError(
                f"{self._named} does not answer: {self._shown(str(error) or type(error).__name__)}",
                hint="check that it runs, and that this machine reaches it",
            ) from error
        status = response.status_code
        if status == 200:
            return content
        message = (
            f"{self._named} answers with HTTP {status}: {self._shown(_fault_text(content) or response.reason_phrase)}"
        )
        hint = _at(self._model, "api_key") if status in (401, 403) else _at(self._model, "url and model")
        if status in (408, 409, 429) or status >= 500:
            raise _PassingError(message, hint="try again later", wait_s=_stated_wait(response))
        raise EmbeddingError(message, hint=hint)

    def _read(self, response: httpx2.Response) -> bytes:
        """Return the body; the timeout of the client applies to each part of it, and here to the whole.

        Raises:
            EmbeddingError: it is too long, or does not end within the timeout of the model.
        """
        deadline, content = time.monotonic() + self._model.timeout_s, bytearray()
        for part in response.iter_bytes():
            content += part
            if len(content) > _LONGEST_BYTES:
                reason = f"{self._named} answers with more than {_LONGEST_BYTES // 1_000_000} MB"
                raise EmbeddingError(reason, hint=_at(self._model, "url"))
            if time.monotonic() > deadline:
                reason = f"{self._named} does not end its answer within {self._model.timeout_s:g} s"
                raise _PassingError(reason, hint=_at(self._model, "params.timeout"))
        return bytes(content)

    def _shown(self, text: str) -> str:
        """Return the beginning of a foreign text without the key."""
        key = self._model.api_key
        return escape_line(redact_url(text.replace(key, REDACTED) if key else text))[:_SHOWN]


class _PassingError(EmbeddingError):
    """A failure that may pass; `wait_s` is after how many seconds, where the endpoint states it."""

    def __init__(self, reason: str, *, hint: str, wait_s: float | None = None) -> None:
        super().__init__(reason, hint=hint)
        self.wait_s = wait_s


def _at(model: EmbeddingModel, key: str) -> str:
    return f'correct {key} of the model "{model.id}" under models'


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield `texts` in parts that one request may have."""
    first = size = 0
    for at, text in enumerate(texts):
        if at > first and (at - first == _TEXTS or size + len(text) > _CHARACTERS):
            yield texts[first:at]
            first, size = at, 0
        size += len(text)
    if first < len(texts):
        yield texts[first:]


def _fault_text(content: bytes) -> str:
    """Return the message of an answer in the form of the OpenAI API; an answer of another form has none."""
    try:
        error = msgspec.json.decode(content, type=_FaultAnswer).error
        return error if isinstance(error, str) else error.message
    except msgspec.MsgspecError:
        return ""


def _stated_wait(response: httpx2.Response) -> float | None:
    """Return the seconds of `Retry-After`, a number or a date; None where it is absent or malformed."""
    stated = response.headers.get("retry-after", "")
    try:
        wait = float(stated) if stated[:1].isdigit() else parsedate_to_datetime(stated).timestamp() - time.time()
    except ValueError:
        return None
    return min(max(wait, 0.0), _LONGEST_WAIT_S)
