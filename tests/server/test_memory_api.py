"""Requests about conversation memories."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from tests.server.conftest import Site

CHAT = "/api/v0/memory/chat"


def test_messages_are_appended_read_replaced_cleared_and_deleted(site: Site) -> None:
    key = f"{CHAT}/ada"
    assert site.post(key, {"role": "user", "content": "one"}).json["removed"] == 0
    appended = site.post(key, [{"content": n} for n in (2, 3, 4)]).json
    assert (appended["removed"], appended["stats"]["entries"], appended["memory"]) == (1, 3, "chat")

    found = site.get(f"{key}?limit=2").json
    assert [(one["role"], one["content"]) for one in found["messages"]] == [("user", 3), ("user", 4)]
    older = site.get(f"{key}?before={found['messages'][0]['id']}").json
    assert [one["content"] for one in older["messages"]] == [2]
    assert site.get("/api/v0/memory").json == {
        "format_version": 1, "memories": [{"id": "chat", "keys": 1, "entries": 3, "type": "buffer"}],
    }  # fmt: skip

    assert site.ask("PUT", key, [{"role": "system", "content": "new"}]).json["stats"]["entries"] == 1
    assert site.ask("DELETE", f"{key}?only=messages").json["removed"] == 1
    assert site.get(key).json["messages"] == []
    assert site.ask("DELETE", key).json["removed"] == 0
    assert (site.get(key).status, site.get(key).json["id"]) == (404, "not-found")


@pytest.mark.parametrize("key", ["a/b", "/", "ключ ☃", "?x=%2F#y", "a/../b"])
def test_keys_may_hold_slashes_and_any_other_character(site: Site, key: str) -> None:
    path = f"{CHAT}/{quote(key, safe='')}"
    assert site.post(path, {"content": "x"}).json["key"] == key
    assert site.get(path).json["stats"]["entries"] == 1
    assert [one["key"] for one in site.get(CHAT).json["keys"]] == [key]


def test_keys_are_listed_in_pages(site: Site) -> None:
    for key in ("b", "a", "c"):
        site.post(f"{CHAT}/{key}", {"content": 1})
    first = site.get(f"{CHAT}?limit=2").json
    assert ([one["key"] for one in first["keys"]], first["next_cursor"]) == (["a", "b"], "b")
    second = site.get(f"{CHAT}?limit=2&cursor=b").json
    assert ([one["key"] for one in second["keys"]], second["next_cursor"]) == (["c"], None)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "problem", "detail"),
    [
        pytest.param("GET", "/api/v0/memory/chta", None, 404, "not-found", 'memory "chta" does not exist', id="memory"),
        pytest.param("POST", f"{CHAT}/k", {"text": 1}, 400, "memory.refused", "message 1 has no content", id="content"),
        pytest.param("POST", f"{CHAT}/k", None, 400, "memory.refused", "message 1 has no content", id="no-body"),
        pytest.param("POST", f"{CHAT}/k", [{"content": 1, "rol": "x"}], 400, "memory.refused", '"rol"', id="key"),
        pytest.param("PUT", f"{CHAT}/k", [{"content": 1}, 2], 400, "memory.refused", "message 2", id="second"),
        pytest.param("GET", f"{CHAT}/k?before=x", None, 400, "http.parameter", "before: expected", id="before"),
        pytest.param("DELETE", f"{CHAT}/k?only=stats", None, 400, "http.parameter", "only: expected", id="only"),
        pytest.param("GET", f"{CHAT}/a%1Bb", None, 400, "http.parameter", "control characters", id="control"),
        pytest.param("POST", f"{CHAT}/", {"content": 1}, 400, "memory.refused", "a key must have", id="empty"),
        pytest.param("POST", CHAT, {"content": 1}, 405, "http.method-not-allowed", "POST", id="method"),
    ],
)  # fmt: skip
def test_invalid_requests_are_refused(
    site: Site, method: str, path: str, body: object, status: int, problem: str, detail: str
) -> None:
    answer = site.ask(method, path, body)
    assert (answer.status, answer.json["id"]) == (status, problem)
    assert detail in answer.json["detail"]
