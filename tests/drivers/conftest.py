"""Start contexts and certificates for tests of drivers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .starting import Starting, starting
from .tls import Authority, make_authority


@pytest.fixture
def started() -> Iterator[Starting]:
    with starting() as begun:
        yield begun


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))
