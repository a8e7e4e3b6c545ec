"""Server-sent events: changes of executions and of health, resumed without a gap."""

from __future__ import annotations

import http.client
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.server.conftest import Site, serve
from tests.support.polling import eventually
from tests.workflows.bench import Bench

from compozy.server import events

RUN = "/api/v0/workflows/greet/executions"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for changes often."""
    monkeypatch.setattr(events, "POLL_S", 0.02)


@contextmanager
def stream(site: Site, query: str = "", last_id: str | None = None) -> Iterator[Iterator[dict[str, Any]]]:
    """Yield the events of a stream that is open."""
    connection = http.client.HTTPConnection("127.0.0.1", site.server.port, timeout=20)
    headers = {"X-API-Key": str(site.key), **({"Last-Event-ID": last_id} if last_id else {})}
    connection.request("GET", f"/api/v0/events{query}", headers=headers)
    answer = connection.getresponse()
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    try:
        yield _events(answer)
    finally:
        answer.close()
        connection.close()


def _events(answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    found: dict[str, Any] = {}
    for line in iter(answer.readline, b""):
        text = line.decode().rstrip("\n")
        if text.startswith(":"):
            yield {"comment": text}
        elif text:
            key, _, value = text.partition(": ")
            found[key] = json.loads(value) if key == "data" else value
        elif found:
            yield found
            found = {}


def of(found: Iterator[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(event for event in found if event.get("event") == kind)


def test_events_report_start_and_end_of_an_execution(site: Site) -> None:
    with stream(site) as found:
        next(found)
        name = site.post(RUN, {"input": {"name": "Ada"}}).json["execution_id"]

        ended = next(e for e in found if e.get("data", {}).get("status") == "completed")

    assert (ended["event"], ended["data"]["id"], ended["data"]["workflow"]) == ("execution", name, "greet")
    assert set(ended["data"]) == {"id", "workflow", "status", "error", "started_at", "finished_at"}


def test_events_report_a_change_of_component_health(site: Site) -> None:
    with stream(site) as found:
        next(found)
        site.state.components["redis"]["healthy"] = False

        event = of(found, "component")

    assert (event["data"]["component"], event["data"]["healthy"]) == ("redis", False)


def test_stream_survives_an_unexpected_error_of_a_comparison(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    def logged() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.getMessage() == "events.failed"]

    with stream(site) as found:
        next(found)
        site.state.bug = KeyError("planted")
        eventually(logged, "the log event")
        site.state.components["redis"]["healthy"] = False
        site.state.bug = None

        assert of(found, "component")["data"]["component"] == "redis"
    (record,) = logged()
    assert isinstance((record.exc_info or (None, None))[1], KeyError)


def test_events_before_an_unexpected_error_are_sent_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 3600)
    with stream(site) as found:
        next(found)
        site.state.bug = KeyError("planted")
        site.post(RUN, {"execution_id": "one"})

        assert of(found, "execution")["data"]["id"] == "one"


def test_stream_opened_during_an_unexpected_error_gets_later_events(site: Site) -> None:
    site.state.bug = KeyError("planted")
    with stream(site) as found:
        assert next(found) == {"comment": ": connected"}
        site.state.bug = None
        site.post(RUN, {"execution_id": "one"})

        assert of(found, "execution")["data"]["id"] == "one"


def test_events_of_one_execution_leave_out_the_others(site: Site) -> None:
    with stream(site, "?execution=two") as found:
        next(found)
        for name in ("one", "two"):
            site.post(f"{RUN}?wait=30s", {"execution_id": name})

        assert of(found, "execution")["data"]["id"] == "two"


def test_stream_resumes_after_the_last_received_event(site: Site) -> None:
    with stream(site) as found:
        next(found)
        site.post(f"{RUN}?wait=30s", {"execution_id": "seen"})
        last = next(e for e in found if e.get("data", {}).get("status") == "completed")
    site.post(f"{RUN}?wait=30s", {"execution_id": "missed"})

    with stream(site, last_id=last["id"]) as found:
        assert next(found) == {"comment": ": connected"}
        assert of(found, "execution")["data"]["id"] == "missed"


@pytest.mark.parametrize("last_id", ["0000-1", "1", "x", "-", "9" * 50])
def test_stream_resets_a_client_after_an_expired_event(site: Site, last_id: str) -> None:
    with stream(site, last_id=last_id) as found:
        assert next(found) == {"event": "reset", "data": {}}


def test_stream_resets_a_late_client(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "RETAINED", 1)
    site = serve(bench)
    with stream(site) as found:
        next(found)
        ends = []
        for name in ("a", "b"):
            site.post(f"{RUN}?wait=30s", {"execution_id": name})
            ends.append(next(e for e in found if e.get("data", {}).get("status") == "completed"))

    with stream(site, last_id=ends[0]["id"]) as found:
        assert next(found)["event"] == "reset"


def test_streams_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_STREAMS", 1)
    with stream(site) as found:
        next(found)
        answer = site.get("/api/v0/events")

    assert (answer.status, answer.json["id"], "retry-after" in answer.headers) == (503, "http.busy", True)


def test_stream_ends_when_the_server_stops(site: Site) -> None:
    with stream(site) as found:
        next(found)
        site.server.stop(5)

        assert list(found) == []


def test_events_need_the_key(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.server.port, timeout=20)
    connection.request("GET", "/api/v0/events")
    assert connection.getresponse().status == 401
    connection.close()
