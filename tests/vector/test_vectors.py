"""Vectors, and filters of their metadata."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import uuid
from array import array
from collections.abc import Mapping
from enum import IntEnum, StrEnum

import pytest
import sqlite_vec

from compozy.drivers.qdrant_collection import point_id
from compozy.drivers.vec_connections import extension_path
from compozy.errors import VectorError
from compozy.vector.checked_records import checked
from compozy.vector.metadata_filter import Condition, accepted, fact, matches, metadata_json
from compozy.vector.vector_store import VectorRecord, packed, unit_vector


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


class Kind(StrEnum):
    NOTE = "note"


class Level(IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({}, id="empty"),
        pytest.param({"a": "знак \\u0000", "n": -(2**63), "x": -0.0, "y": 1e300, "b": True, "c": None}, id="plain"),
        pytest.param({"list": [1, {"a": [None]}], "pair": ("a", 1.5)}, id="nested"),
        pytest.param({1: "a", None: "b", Kind.NOTE: "c"}, id="keys-of-other-types"),
        pytest.param({"kind": Kind.NOTE, "level": Level.HIGH}, id="values-of-subclasses"),
    ],
)
def test_checked_metadata_are_the_same_as_from_json(metadata: Mapping[str, object]) -> None:
    """With the types of JSON, whether or not they were encoded for the check."""
    found = checked([VectorRecord("a", [1.0], "", metadata)], None)["a"].metadata
    assert repr(found) == repr(json.loads(json.dumps(metadata)))
    assert repr(json.loads(metadata_json(found))) == repr(found)
    assert found is not metadata


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"a": value}, id=name)
        for name, value in {
            "nul": "\0", "surrogate": "\ud800", "not-a-number": math.nan, "infinite": -math.inf, "integer": 2**63,
            "negative-integer": -(2**63) - 1, "object": object(), "nested-nul": ["\0"], "nested-integer": [2**63],
        }.items()
    ] + [pytest.param({"\0": 1}, id="key-nul"), pytest.param({"\ud800": 1}, id="key-surrogate")],
)  # fmt: skip
def test_checked_rejects_metadata_unsupported_by_an_engine(metadata: Mapping[str, object]) -> None:
    with pytest.raises(VectorError):
        checked([VectorRecord("a", [1.0], "", metadata)], None)


@pytest.mark.parametrize("value", ["a \"'ключ", "", 0, -7, 2**62, 1.5, 1e300, -0.0, 2.0, True, False, None, Level.HIGH])
def test_keywords_of_facts_have_the_stored_form(value: str | float | None) -> None:
    """Collections hold them, so that no other spelling of the same JSON would be found."""
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    text = json.dumps(["ключ", number])
    assert fact("ключ", value) == text or (len(text) > 64 and fact("ключ", value).startswith("#"))


def test_point_ids_are_uuids_of_version_5() -> None:
    space = uuid.UUID("5f0c2a8e-6d0b-5b52-9a51-0d3b4c8f7e21")
    for key in map(chr, range(1, 300)):
        assert point_id(key) == str(uuid.uuid5(space, key))


def test_packed_vector_has_numbers_of_single_precision() -> None:
    assert packed([0.1, -1.0, 1e-40]) == array("f", [0.1, -1.0, 1e-40]).tobytes()


def test_database_of_vectors_is_opened_without_numpy() -> None:
    code = (
        "import sys; from compozy.drivers.vec_connections import VecConnections;"
        "VecConnections(':memory:', lambda: None); print('numpy' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_extension_is_found_where_its_package_has_it() -> None:
    assert extension_path() == sqlite_vec.loadable_path()
