"""The drivers of something of our own: the same shared suite that the external ones pass."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from compozy.drivers.port import Port
from compozy.drivers.ports import free_port
from compozy.drivers.redis_embedded import FakeRedisDriver, ValkeyDriver
from compozy.drivers.sqlite import SqliteDriver
from compozy.drivers.temporal_embedded import TemporalEmbeddedDriver
from compozy.settings.keyring import random_key
from compozy.testing.servers import RedisServer

from .suite import DriverSuite, Row, Subject, counted, described, remembered

KEY = random_key()
HOST = "127.0.0.1"


def directory(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue("tmp_path")
    return folder


def sqlite_in_memory(request: pytest.FixtureRequest) -> Subject:
    return Subject(make=partial(SqliteDriver, ":memory:"), works=counted, expected=42)


def sqlite_in_a_file(request: pytest.FixtureRequest) -> Subject:
    folder = directory(request)
    (folder / "text.db").write_text("not a database")
    return Subject(
        make=partial(SqliteDriver, str(folder / "data" / "compozy.db")),
        works=counted,
        expected=42,
        failing=(partial(SqliteDriver, str(folder)), partial(SqliteDriver, str(folder / "text.db"))),
    )


def fakeredis_in_process(request: pytest.FixtureRequest) -> Subject:
    return Subject(make=FakeRedisDriver, works=remembered, expected=42)


def valkey_in_memory(request: pytest.FixtureRequest) -> Subject:
    return Subject(make=partial(ValkeyDriver, persistence=False, data_dir=None), works=remembered, expected=42)


def valkey_on_disk(request: pytest.FixtureRequest) -> Subject:
    folder = directory(request)
    (folder / "file").touch()
    return Subject(
        make=partial(ValkeyDriver, persistence=True, data_dir=str(folder / "redis")),
        works=remembered,
        expected=42,
        failing=(partial(ValkeyDriver, persistence=True, data_dir=str(folder / "file")),),
    )


def temporal(file: str, port: int, *, explicit: bool = False) -> TemporalEmbeddedDriver:
    options: dict[str, Any] = {"bind_ip": HOST, "enable_ui": False, "require_ui": False, "log_level": "error"}
    return TemporalEmbeddedDriver(
        database_file=file,
        frontend_port=Port(port, "temporal.standalone.frontend_port", explicit),
        ui_port=Port(free_port(), "temporal.standalone.ui_port", False),
        namespace="default",
        encryption_key=KEY,
        **options,
    )


def temporal_in_memory(request: pytest.FixtureRequest) -> Subject:
    taken: RedisServer = request.getfixturevalue("redis_server")
    return Subject(
        make=lambda: temporal(":memory:", free_port()),
        works=described,
        expected="default",
        failing=(partial(temporal, ":memory:", taken.port, explicit=True),),
    )


def temporal_in_a_file(request: pytest.FixtureRequest) -> Subject:
    folder = directory(request)
    (folder / "text.db").write_text("not a database")
    return Subject(
        make=lambda: temporal(str(folder / "temporal.db"), free_port()),
        works=described,
        expected="default",
        failing=(lambda: temporal(str(folder / "text.db"), free_port()),),
    )


class TestEmbeddedDrivers(DriverSuite):
    """Drivers of embedded servers."""

    rows = (
        Row("sqlite-memory", sqlite_in_memory),
        Row("sqlite-file", sqlite_in_a_file),
        Row("fakeredis", fakeredis_in_process),
        Row("valkey-memory", valkey_in_memory),
        Row("valkey-persistent", valkey_on_disk),
        Row("temporal-embedded-memory", temporal_in_memory),
        Row("temporal-embedded-file", temporal_in_a_file),
    )
