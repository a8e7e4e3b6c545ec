"""Knowledge bases as the configuration declares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from compozy.base.record import dataclass
from compozy.errors import NotFoundError
from compozy.knowledge.documents import DocumentKind
from compozy.resolution.resolve import Resolved, instance_key

SIZE, OVERLAP = 512, 64  # of chunks, in characters


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Limits of the reader of a document; `allow` names the hosts that may be fetched from."""

    size_bytes: int = 64_000_000
    timeout_s: float = 30.0
    memory_bytes: int = 1 << 30
    fetch_timeout_s: float = 30.0
    fetch_allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceSetting:
    """One entry of `sources`: a path or pattern relative to the configuration file, or an address."""

    kind: DocumentKind
    address: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """An entry of `models` that makes vectors of texts; `dimension` is None where the provider decides it."""

    id: str
    provider: str
    model: str = ""
    url: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    organization: str = ""
    dimension: int | None = None
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    """A declared knowledge base: where its documents are, how they are split, embedded and stored.

    Without `embedder` or `store` it has lexical search alone. `root` is the directory of the configuration file,
    `at_start` whether a start ingests it.
    """

    id: str
    root: Path
    sources: tuple[SourceSetting, ...] = ()
    store: str | None = None
    embedder: EmbeddingModel | None = None
    chunk_size: int = SIZE
    chunk_overlap: int = OVERLAP
    limits: ReadLimits = ReadLimits()
    at_start: bool = False


def declared_bases(resolved: Resolved) -> dict[str, KnowledgeBase]:
    """Return the knowledge bases of a valid configuration by id."""
    models = {str(model.get("id")): _model(model) for model in resolved.get("models") or ()}
    root = Path(resolved.directory)
    limits = ReadLimits(
        size_bytes=resolved.get("knowledge.read.max_size"),
        timeout_s=resolved.get("knowledge.read.timeout"),
        memory_bytes=resolved.get("knowledge.read.memory"),
        fetch_timeout_s=resolved.get("knowledge.fetch.timeout"),
        fetch_allow=tuple(resolved.get("knowledge.fetch.allow")),
    )
    bases = (_base(base, models, root) for base in resolved.get("knowledge.bases") or ())
    return {base.id: replace(base, limits=limits, at_start=_at_start(resolved, base.id)) for base in bases}


def _at_start(resolved: Resolved, base: str) -> bool:
    return resolved.decision(instance_key("knowledge_base.ingest", base)).outputs["ingest"] == "start"


def _base(fields: Mapping[str, Any], models: Mapping[str, EmbeddingModel], root: Path) -> KnowledgeBase:
    embedder = fields.get("embedder")
    if embedder is not None and embedder not in models:
        raise NotFoundError("model", embedder, hint="declare it under models")
    return KnowledgeBase(
        id=fields["id"],
        root=root,
        sources=tuple(_source(source) for source in fields.get("sources") or ()),
        store=fields.get("store"),
        embedder=models[embedder] if embedder else None,
        chunk_size=fields.get("chunk.size", SIZE),
        chunk_overlap=fields.get("chunk.overlap", OVERLAP),
    )


def _source(fields: Mapping[str, Any]) -> SourceSetting:
    return SourceSetting(fields["type"], fields.get("path") or fields.get("url") or "")


def _model(fields: Mapping[str, Any]) -> EmbeddingModel:
    return EmbeddingModel(
        id=str(fields.get("id")),
        provider=fields.get("provider") or "",
        model=fields.get("model") or "",
        url=fields.get("url") or "",
        api_key=fields.get("api_key") or "",
        organization=fields.get("organization") or "",
        dimension=fields.get("dimension"),
        timeout_s=fields.get("params.timeout") or 30.0,
    )
