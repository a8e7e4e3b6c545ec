"""Servers of the testing kit, whatever the environment says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compozy.testing.postgres import PostgresServer
from compozy.testing.testbed import DB_URL, Testbed


@pytest.fixture(scope="session")
def testbed() -> Iterator[Testbed]:
    with pytest.MonkeyPatch.context() as environment, Testbed() as servers:
        environment.delenv(DB_URL, raising=False)
        yield servers


@pytest.fixture(scope="session")
def postgres(testbed: Testbed) -> PostgresServer:
    server = testbed.databases
    assert isinstance(server, PostgresServer)
    return server
