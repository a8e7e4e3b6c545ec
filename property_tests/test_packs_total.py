"""A pack that verification calls free of gaps decides every readable configuration."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from property_tests.pack_worlds import TYPES, completed, resolved, tables, written


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables(), st.data())
def test_a_verified_pack_decides_every_readable_configuration(table: dict[str, Any], data: st.DataObject) -> None:
    pack = completed(table)
    read = [word for source in table["inputs"].values() for word in source.values()]
    paths = sorted({word.removeprefix("equals ") for word in read} & TYPES.keys())
    for _ in range(10):
        flags = {path: data.draw(written(path), label=path) for path in paths if data.draw(st.integers(0, 5))}
        assert resolved(pack.rulebook, flags).decision("t").outputs == {"out": "a"}
