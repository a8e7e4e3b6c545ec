"""A vector store in a collection of a Qdrant server, over its REST interface.

This module imports the client library, so it is itself imported late.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import httpx
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from compozy.drivers.qdrant_collection import BATCH, FACTS, CollectionOptions, QdrantCollection, payload_of
from compozy.drivers.reach import Symptom, diagnosed
from compozy.errors import DriverError
from compozy.vector.vector_store import VectorRecord

DISTANCES = {"cosine": models.Distance.COSINE, "l2": models.Distance.EUCLID, "ip": models.Distance.DOT}
# Points in one request, whose size a server limits to 32 MB.
_SENT = 100
# 500 records, of which an answer has at most so many, may have vectors of 16,384 numbers.
_LONGEST_BYTES = 256_000_000
_UNBOUNDED = "answer too long or encoded"
_SYMPTOMS = (
    Symptom(
        _UNBOUNDED,
        "the answer is longer or in another encoding than a Qdrant server sends",
        "correct url, or host and port, of the vector store",
    ),
    Symptom(
        r"\b(401|403)\b|Unauthorized|Forbidden",
        "the API key was refused, or one is required",
        "correct api_key of the vector store",
    ),
    Symptom(
        "CERTIFICATE_VERIFY_FAILED|certificate",
        "the TLS connection failed: the server's certificate could not be verified",
        "install its authority on this machine; the certificate must name the host",
    ),
    Symptom(
        "SSL|TLS|WRONG_VERSION_NUMBER|server disconnected|reset by peer|Invalid HTTP",
        "the server closed the connection, or one side expects TLS and the other does not",
        "correct tls of the vector store, or http or https in its url",
    ),
    Symptom("refused|No route|unreachable", "connection refused: no server listens on this address", "start it"),
    Symptom("timed out|timeout", "no answer in time", "see its load, or raise timeout of the vector store"),
    Symptom(
        r"\b404\b|JSONDecodeError|ValidationError|Expecting value",
        "not a Qdrant server, or one with another interface",
        "correct url, or host and port, of the vector store",
    ),
)


class BoundedTransport(httpx.HTTPTransport):
    """Connections whose answers are bounded in size, and in time as a whole; the client bounds each part."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Compression is refused, because its content may be a thousand times as long."""
        request.headers["accept-encoding"] = "identity"
        deadline = time.monotonic() + request.extensions["timeout"]["read"]
        response = super().handle_request(request)
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _BoundedBody(response.stream, deadline)
        if response.headers.get("content-encoding", "identity") != "identity":
            response.close()
            raise httpx.ReadError(_UNBOUNDED)
        return response


class _BoundedBody(httpx.SyncByteStream):
    def __init__(self, body: httpx.SyncByteStream, deadline: float) -> None:
        self._body, self._deadline = body, deadline

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for part in self._body:
            size += len(part)
            if size > _LONGEST_BYTES:
                raise httpx.ReadError(_UNBOUNDED)
            if time.monotonic() > self._deadline:
                raise httpx.ReadTimeout("timed out")
            yield part

    def close(self) -> None:
        self._body.close()


@contextmanager
def answers(where: str) -> Iterator[None]:
    """Raise what the client raises within the block as DriverError."""
    try:
        yield
    except (ApiException, QdrantException, ValueError, OSError) as error:
        # The client wraps errors of its HTTP library, and only their text states the cause.
        text = f"{error} {getattr(error, 'source', '')!r}"
        raise diagnosed(text, where, _SYMPTOMS) from error


class QdrantClientCollection(QdrantCollection[models.Filter]):
    """The vector store in the collection `name`, for any number of threads and processes."""

    models = models

    def __init__(self, client: QdrantClient, name: str, options: CollectionOptions, where: str) -> None:
        super().__init__(options)
        self._client, self._name, self._where = client, name, where

    def open(self) -> None:
        """Create the collection where its dimension is known.

        Raises:
            DriverError: the server refuses, or has a collection of another kind, dimension or metric.
        """
        if not self._known() and self._options.dimension is not None:
            self._create(self._options.dimension)

    def _known(self) -> bool:
        if self._dimension is None:
            with answers(self._where):
                if self._client.collection_exists(self._name):
                    self._check(self._client.get_collection(self._name).config.params.vectors)
        return self._dimension is not None

    def _check(self, vectors: object) -> None:
        metrics = {distance: metric for metric, distance in DISTANCES.items()}
        reason = f"{self._where}: the collection {self._name}"
        if not isinstance(vectors, models.VectorParams) or vectors.distance not in metrics:
            raise DriverError(
                f"{reason} is not one of vectors of Compozy", hint="choose another `collection` for the vector store"
            )
        difference = self._options.difference(vectors.size, metrics[vectors.distance])
        if difference is not None:
            raise DriverError(f"{reason} {difference}", hint="correct it, or choose another `collection`")
        self._dimension, self._metric = vectors.size, metrics[vectors.distance]

    def _create(self, dimension: int) -> None:
        vectors = models.VectorParams(size=dimension, distance=DISTANCES[self._metric])
        graph = models.HnswConfigDiff(m=self._options.m, ef_construct=self._options.ef_construction)
        with answers(self._where):
            try:
                self._client.create_collection(self._name, vectors_config=vectors, hnsw_config=graph)
            except UnexpectedResponse:
                # Another process may have created the collection first.
                if not self._client.collection_exists(self._name):
                    raise
            self._client.create_payload_index(self._name, FACTS, models.PayloadSchemaType.KEYWORD, wait=True)
        self._known()

    def _write(self, records: Mapping[str, VectorRecord]) -> None:
        points = [
            models.PointStruct(id=id_, vector=list(record.vector), payload=payload_of(record))
            for id_, record in records.items()
        ]
        with answers(self._where):
            for begin in range(0, len(points), _SENT):
                self._client.upsert(self._name, points[begin : begin + _SENT], wait=True)

    def _erase(self, points: Sequence[str]) -> None:
        with answers(self._where):
            for begin in range(0, len(points), BATCH):
                selector = models.PointIdsList(points=list(points[begin : begin + BATCH]))
                self._client.delete(self._name, selector, wait=True)

    def _nearest(self, vector: Sequence[float], condition: models.Filter | None, limit: int) -> Sequence[object]:
        params = models.SearchParams(hnsw_ef=self._options.ef_search)
        with answers(self._where):
            return self._client.query_points(
                self._name, list(vector), query_filter=condition, limit=limit, search_params=params, with_payload=True
            ).points

    def _counted(self, condition: models.Filter | None) -> int:
        with answers(self._where):
            return self._client.count(self._name, condition, exact=True).count

    def _retrieved(self, points: Sequence[str], *, vectors: bool) -> Sequence[object]:
        with answers(self._where):
            return self._client.retrieve(self._name, list(points), with_payload=vectors, with_vectors=vectors)

    def _page(
        self, condition: models.Filter | None, fields: list[str], offset: models.ExtendedPointId | None
    ) -> tuple[Sequence[object], object]:
        with answers(self._where):
            return self._client.scroll(
                self._name, condition, limit=BATCH, offset=offset, with_payload=fields or False, with_vectors=False
            )
