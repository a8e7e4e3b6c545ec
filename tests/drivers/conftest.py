"""The certificates that drivers are tested with."""

from __future__ import annotations

import pytest

from .suite import started
from .tls import Authority, make_authority

__all__ = ["started"]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))
