"""A store of each subject, with a collection of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.drivers.starting import Starting, starting
from tests.support.search_module_server import HAS_MODULE

from compozy.testing.testbed import Testbed
from compozy.vector.vector_store import VectorStore

from .subjects import SUBJECTS, Bed, Place, Subject, bed_of

collect_ignore = [] if HAS_MODULE else ["test_redis_search.py"]


@pytest.fixture(scope="session")
def bed(testbed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with bed_of(testbed, tmp_path_factory.mktemp("vector")) as opened:
        yield opened


@pytest.fixture
def started() -> Iterator[Starting]:
    with starting() as begun:
        yield begun


@pytest.fixture(params=[pytest.param(one, id=one.id, marks=getattr(pytest.mark, one.mode)) for one in SUBJECTS])
def subject(request: pytest.FixtureRequest) -> Subject:
    found: Subject = request.param
    return found


@pytest.fixture
def place(subject: Subject, bed: Bed, tmp_path: Path) -> Iterator[Place]:
    made = Place(subject, bed, tmp_path, f"c{uuid4().hex[:12]}")
    yield made
    made.close()


@pytest.fixture
def filled(subject: Subject, bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> VectorStore:
    """A store with the first records, which tests share and leave as it is."""
    return bed.filled(subject, lambda: tmp_path_factory.mktemp("filled"))


@pytest.fixture
def store(place: Place) -> VectorStore:
    return place.open()
