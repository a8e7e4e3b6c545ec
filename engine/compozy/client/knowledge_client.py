"""Operations of commands on the knowledge bases of a project, with or without its running server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from compozy.client.remote import TIMEOUT_S, V0

if TYPE_CHECKING:
    from compozy.client.knowledge_answers import BaseAnswer, BaseDeletion, KnowledgeList, QueryAnswer, QueryRequest
    from compozy.client.remote import RemoteClient

POLL_S = 0.5  # between two reports of progress

Progress = Callable[["BaseAnswer"], None]


class KnowledgeClient(Protocol):
    """The bases of one project; errors are those of `ProjectClient`."""

    def bases(self) -> KnowledgeList:
        """Return the declared bases."""
        ...

    def base(self, base: str) -> BaseAnswer:
        """Return a base and its last ingestion."""
        ...

    def ingest(self, base: str, *, rebuild: bool, wait: bool, progress: Progress) -> BaseAnswer:
        """Ingest the documents of a base; with `wait` until it has ended, and `progress` gets each change."""
        ...

    def query(self, base: str, request: QueryRequest) -> QueryAnswer:
        """Return the passages that answer a query."""
        ...

    def delete(self, base: str) -> BaseDeletion:
        """Delete the documents of a base."""
        ...


class RemoteKnowledge:
    """The bases of a running server."""

    def __init__(self, client: RemoteClient) -> None:
        self._client = client

    def bases(self) -> KnowledgeList:
        """Return the declared bases."""
        from compozy.client.knowledge_answers import KnowledgeList

        return self._client.ask(KnowledgeList, "GET", f"{V0}/knowledge")

    def base(self, base: str) -> BaseAnswer:
        """Return a base and its last ingestion."""
        return self._base("GET", base)

    def ingest(self, base: str, *, rebuild: bool, wait: bool, progress: Progress) -> BaseAnswer:
        """Ingest the documents of a base."""
        answer = first = self._base("POST", base, "/ingest", {"rebuild": rebuild})
        while wait and answer.status == "ingesting":
            progress(answer)
            answer = self._base("GET", base, f"?wait={POLL_S:g}s")
        return answer if not first.joined else _joined(answer)

    def query(self, base: str, request: QueryRequest) -> QueryAnswer:
        """Return the passages that answer a query."""
        import msgspec

        from compozy.client.knowledge_answers import QueryAnswer

        return self._client.ask(QueryAnswer, "POST", f"{_path(base)}/query", msgspec.to_builtins(request))

    def delete(self, base: str) -> BaseDeletion:
        """Delete the documents of a base."""
        from compozy.client.knowledge_answers import BaseDeletion

        return self._client.ask(BaseDeletion, "DELETE", _path(base))

    def _base(self, method: str, base: str, rest: str = "", body: object = None) -> BaseAnswer:
        from compozy.client.knowledge_answers import BaseAnswer

        return self._client.ask(BaseAnswer, method, _path(base) + rest, body, timeout_s=POLL_S + TIMEOUT_S)


def _path(base: str) -> str:
    return f"{V0}/knowledge/{quote(base, safe='')}"


def _joined(answer: BaseAnswer) -> BaseAnswer:
    from msgspec.structs import replace

    return replace(answer, joined=True)
