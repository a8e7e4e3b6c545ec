"""Vectors, and filters of their metadata."""

from __future__ import annotations

import math
import subprocess
import sys
from array import array
from collections.abc import Mapping

import pytest
import sqlite_vec

from compozy.drivers.vec_connections import extension_path
from compozy.errors import VectorError
from compozy.vector.metadata_filter import Condition, accepted, matches
from compozy.vector.vector_store import unit_vector


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        pytest.param({}, True, id="no-condition"),
        pytest.param({"year": 2024}, True, id="equal"),
        pytest.param({"year": 2024.0}, True, id="equal-number-of-another-type"),
        pytest.param({"year": [2023, 2024]}, True, id="any-of"),
        pytest.param({"year": []}, False, id="any-of-none"),
        pytest.param({"year": 2024, "draft": False}, False, id="one-condition-differs"),
        pytest.param({"draft": 1}, False, id="number-against-boolean"),
        pytest.param({"author": None}, True, id="null"),
        pytest.param({"place": None}, False, id="missing-key"),
    ],
)
def test_metadata_filter_compares_values_as_json(where: Mapping[str, Condition], expected: bool) -> None:
    assert matches({"year": 2024, "draft": True, "author": None}, where) is expected


def test_metadata_filter_rejects_values_other_than_scalars() -> None:
    with pytest.raises(VectorError, match="not dict"):
        accepted([{"min": 1}])  # type: ignore[list-item]


def test_unit_vector_has_length_one() -> None:
    assert unit_vector([3, 4], 2) == [0.6, 0.8]


def test_unit_vector_is_a_copy_of_a_vector_of_length_one_in_single_precision() -> None:
    """A caller may change its own list afterwards."""
    vector = list(array("f", [0.6, 0.8]))
    assert unit_vector(vector) == vector
    assert unit_vector(vector) is not vector
    assert math.hypot(*unit_vector([0.6, 0.8001])) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param([1.0, 2.0, 3.0], id="wrong-dimension"),
        pytest.param([0.0, 0.0], id="zero"),
        pytest.param([math.nan, 1.0], id="not-a-number"),
        pytest.param([math.inf, 1.0], id="infinite"),
    ],
)
def test_unit_vector_rejects_vectors_without_direction_or_of_wrong_dimension(vector: list[float]) -> None:
    with pytest.raises(VectorError):
        unit_vector(vector, 2)


def test_database_of_vectors_is_opened_without_numpy() -> None:
    code = (
        "import sys; from compozy.drivers.vec_connections import VecConnections;"
        "VecConnections(':memory:', lambda: None); print('numpy' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_extension_is_found_where_its_package_has_it() -> None:
    assert extension_path() == sqlite_vec.loadable_path()
