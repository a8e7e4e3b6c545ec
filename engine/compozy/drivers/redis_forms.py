"""The forms of a vector store in Redis, best first, and the choice between them.

A collection keeps the form with which it began.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compozy.base.late_import import LATE_IMPORT
from compozy.drivers.redis_search import SearchIndex, SearchOptions
from compozy.drivers.redis_vector_sets import VectorSets
from compozy.drivers.redis_vectors import RedisVectorStore, answered
from compozy.errors import DriverError

with LATE_IMPORT:
    from compozy.drivers.redis_blocks import PackedBlocks

FORMS: tuple[type[RedisVectorStore], ...] = (VectorSets, SearchIndex, PackedBlocks)


def open_store(client: Any, collection: str, dimension: int | None, options: Mapping[str, Any]) -> RedisVectorStore:
    """Return the store of a collection, in the form that it has, or else in the first one that the server offers.

    `options` are those of a search index, by name.

    Raises:
        DriverError: it has another dimension or a form that the server lacks, or the server does not answer.
    """
    with answered():
        stored = client.hget(f"compozy:vector:{collection}:store", "form")
        kept = [one for one in FORMS if stored is None or one.form == stored.decode()]
        form = next((one for one in kept if one.offered(client)), None)
    if form is None:
        needs = kept[0].needs if kept else "install the version of Compozy that wrote them, or a newer one"
        raise DriverError(f"the vectors are stored for {stored.decode()}, which this Redis does not offer", hint=needs)
    made = (
        SearchIndex(client, collection, SearchOptions(**options)) if form is SearchIndex else form(client, collection)
    )
    made.open(dimension)
    return made
