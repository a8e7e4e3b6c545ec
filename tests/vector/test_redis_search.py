"""Vector stores in the index of a search module: the choice of the form, and the life of the index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from tests.support.polling import eventually
from tests.support.search_module_server import SearchModuleServer

from compozy.drivers import redis_search
from compozy.drivers.redis_forms import open_store
from compozy.errors import DriverError

from .subjects import records
from .test_conformance import assert_same, exact

pytestmark = pytest.mark.distributed
KNOWN = records(60)
QUERY = KNOWN[4].vector
EXPECTED = exact(KNOWN, QUERY, 5)


@pytest.fixture(scope="module")
def server() -> Iterator[SearchModuleServer]:
    with SearchModuleServer() as begun:
        yield begun


@pytest.fixture
def collection() -> str:
    return f"c: {uuid4().hex[:12]}"


@pytest.fixture
def client(server: SearchModuleServer) -> Iterator[Any]:
    with Redis.from_url(server.url) as opened:
        yield opened


class Knowing:
    """A client of a Redis that has only some commands, and a collection in a form."""

    def __init__(self, *commands: str, form: bytes | None = None, db: int = 0) -> None:
        self.commands, self.form = commands, form
        self.connection_pool = self
        self.connection_kwargs = {"db": db}

    def execute_command(self, *words: str) -> object:
        if words[0] not in self.commands:
            raise ResponseError(f"unknown command '{words[0]}'")
        return []

    def hget(self, *_: str) -> bytes | None:
        return self.form

    def hmget(self, *_: str) -> list[None]:
        return [None, None]


@pytest.mark.parametrize(
    ("client", "form"),
    [
        pytest.param(Knowing("VCARD", "FT._LIST"), "vector sets", id="both"),
        pytest.param(Knowing("FT._LIST"), "FT.SEARCH", id="module"),
        pytest.param(Knowing("FT._LIST", db=1), "packed blocks", id="another-database"),
        pytest.param(Knowing(), "packed blocks", id="neither"),
        pytest.param(Knowing("VCARD", "FT._LIST", form=b"FT.SEARCH"), "FT.SEARCH", id="stored"),
        pytest.param(Knowing("VCARD", "FT._LIST", form=b"packed blocks"), "packed blocks", id="stored-blocks"),
    ],
)
def test_store_has_the_first_form_of_the_server_or_the_stored_one(client: Any, form: str) -> None:
    assert open_store(client, "docs", None, {}).form == form


@pytest.mark.parametrize(
    ("form", "hint"), [(b"vector sets", "Redis 8"), (b"FT.SEARCH", "search module"), (b"later", "version of Compozy")]
)
def test_store_of_a_form_unknown_to_the_server_is_refused(form: bytes, hint: str) -> None:
    with pytest.raises(DriverError, match=form.decode()) as caught:
        open_store(Knowing(form=form), "docs", None, {})
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("protocol", [2, 3])
def test_answers_of_both_protocols_are_read(protocol: int, server: SearchModuleServer, collection: str) -> None:
    with Redis.from_url(f"{server.url}?protocol={protocol}") as client:
        store = open_store(client, collection, None, {})
        store.upsert(KNOWN)
        assert_same(store.search(QUERY, 5), EXPECTED)
        assert_same(store.search(QUERY, 5, {"n": 3}), exact(KNOWN, QUERY, 5, {"n": 3}))


def test_collections_with_similar_names_are_separate(client: Any) -> None:
    begin = uuid4().hex
    stores = [open_store(client, begin + ending, None, {}) for ending in ("", ":entry", ":entry:x", ":index:16", " x")]
    for store, known in zip(stores, KNOWN, strict=False):
        store.upsert([known])
    for store, known in zip(stores, KNOWN, strict=False):
        assert [match.id for query in KNOWN[:5] for match in store.search(query.vector, 1)] == [known.id] * 5


def test_search_survives_kill_of_the_server(server: SearchModuleServer, client: Any, collection: str) -> None:
    store = open_store(client, collection, None, {})
    store.upsert(KNOWN)
    server.kill()
    server.start()
    for opened in (store, open_store(client, collection, None, {})):
        assert_same(opened.search(QUERY, 5), EXPECTED)


def indexes(client: Any, collection: str) -> list[str]:
    """Return the definitions of the indexes of a collection."""
    names = [name.decode() for name in client.execute_command("FT._LIST")]
    return sorted(name.rpartition(":index:")[2] for name in names if collection.removeprefix("c: ") in name)


def test_deleted_index_is_built_anew(client: Any, collection: str) -> None:
    store = open_store(client, collection, None, {})
    store.upsert(KNOWN)
    store.search(QUERY)
    name = next(one for one in client.execute_command("FT._LIST") if collection.removeprefix("c: ").encode() in one)
    client.execute_command("FT.DROPINDEX", name)
    assert_same(store.search(QUERY, 5), EXPECTED)
    assert indexes(client, collection) == ["16:FLAT"]


def test_index_of_changed_parameters_takes_the_place_of_the_former(client: Any, collection: str) -> None:
    """A store with the former parameters continues with the new index."""
    former = open_store(client, collection, None, {})
    former.upsert(KNOWN)
    assert_same(former.search(QUERY, 5), EXPECTED)
    changed = open_store(client, collection, None, {"index_type": "hnsw", "m": 8, "ef_construction": 50})

    def replaced() -> bool:
        assert_same(changed.search(QUERY, 5), EXPECTED)
        return indexes(client, collection) == ["16:HNSW:8:50"]

    eventually(replaced, "the end of the former index")
    former.delete([KNOWN[4].id])
    for store in (former, changed):
        assert_same(store.search(QUERY, 5), exact([one for one in KNOWN if one.id != KNOWN[4].id], QUERY, 5))
    assert indexes(client, collection) == ["16:HNSW:8:50"]


@pytest.fixture
def building(server: SearchModuleServer) -> Iterator[Any]:
    """A client that takes each HNSW index for half built."""
    half = [b"num_docs", b"0", b"backfill_complete_percent", b"0.500000"]
    with Redis.from_url(server.url) as opened:
        opened.set_response_callback(
            "FT.INFO", lambda answer, **_: half if b"HNSW" in answer[b"index_name"] else answer
        )
        yield opened


def test_complete_index_is_searched_while_another_one_is_built(client: Any, building: Any, collection: str) -> None:
    open_store(client, collection, None, {}).upsert(KNOWN[:30])
    store = open_store(building, collection, None, {"index_type": "hnsw"})
    store.upsert(KNOWN[30:])
    assert_same(store.search(QUERY, 5), EXPECTED)
    assert indexes(client, collection) == ["16:FLAT", "16:HNSW:16:200"]


def test_search_in_an_incomplete_index_is_refused(
    client: Any, building: Any, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also beside one of another dimension."""
    monkeypatch.setattr(redis_search, "_BUILD_S", 0.0)
    assert open_store(client, collection, 3, {}).search([1, 0, 0]) == []
    store = open_store(building, collection, None, {"index_type": "hnsw"})
    store.upsert(KNOWN)
    with pytest.raises(DriverError, match="being built: 50%"):
        store.search(QUERY)


def test_new_index_is_searched_before_the_server_has_read_all_its_keys(
    server: SearchModuleServer, collection: str
) -> None:
    with Redis.from_url(server.url) as client:
        client.set_response_callback("FT.INFO", lambda answer, **_: {**answer, b"percent_indexed": 0.1})
        store = open_store(client, collection, None, {})
        store.upsert(KNOWN)
        assert_same(store.search(QUERY, 5), EXPECTED)


def test_index_of_another_dimension_is_not_searched(client: Any, collection: str) -> None:
    """One that a writer left behind whose first vector came second."""
    assert open_store(client, collection, 3, {}).search([1, 0, 0]) == []
    assert indexes(client, collection) == ["3:FLAT"]
    store = open_store(client, collection, None, {})
    store.upsert(KNOWN)
    assert_same(store.search(QUERY, 5), EXPECTED)
    assert indexes(client, collection) == ["16:FLAT"]
