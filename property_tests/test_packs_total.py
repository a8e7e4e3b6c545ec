"""A pack that verification calls free of gaps decides every readable configuration."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from property_tests.pack_worlds import (
    TYPES,
    completed,
    constraints,
    depends_on_the_machine,
    deriving,
    findings,
    resolved,
    resolved_from_file,
    rulebook_of,
    tables,
    written,
)

from compozy.errors import RuleTableError
from compozy.resolution.validate import occasions
from compozy.tables.verify import verify


def read_by(table: dict[str, Any]) -> list[str]:
    """The settings that a table reads, plainly or compared with another one."""
    read = [word for source in table["inputs"].values() for word in source.values()]
    return sorted({word.removeprefix("equals ") for word in read} & TYPES.keys())


@settings(max_examples=50)
@given(tables(), st.data())
def test_a_verified_pack_decides_every_readable_configuration(table: dict[str, Any], data: st.DataObject) -> None:
    pack = completed(table, data.draw(constraints(table)))
    paths = read_by(table)
    for _ in range(10):
        flags = {path: data.draw(written(path), label=path) for path in paths if data.draw(st.integers(0, 5))}
        assert resolved(pack.rulebook, flags).decision("t").outputs == {"out": "a"}


@settings(max_examples=50)
@given(tables(), st.data())
def test_a_witness_shows_its_gap_when_it_is_pasted(table: dict[str, Any], data: st.DataObject) -> None:
    assume(not depends_on_the_machine(table))
    # A witness is not excluded, or resolving would see the defaults and not the gap.
    never = data.draw(constraints(table))
    assume("/../" not in str(never))  # a path that climbs depends on the directory
    rulebook = rulebook_of(table, never)
    with TemporaryDirectory() as folder:
        for report in verify(rulebook.ruleset).findings:
            if report.id == "gap":
                with pytest.raises(RuleTableError, match="no row of table"):
                    resolved_from_file(rulebook, report.witness or "", folder)


@settings(max_examples=40)
@given(deriving(), findings(), st.data())
def test_finding_of_some_configuration_is_never_reported_as_unreachable(
    fills: dict[str, Any], table: dict[str, Any], data: st.DataObject
) -> None:
    # Without constraints: findings look at the values of a configuration that violates one, too.
    rulebook = rulebook_of(table, (), fills)
    reports = verify(rulebook.ruleset).findings
    dead = {report.message.split('"')[3] for report in reports if report.id in ("contradiction", "unreachable")}
    paths = sorted({*read_by(fills), *read_by(table), *fills["sets"].values(), "label", "same"})
    for _ in range(5):
        flags = {path: data.draw(written(path), label=path) for path in paths if data.draw(st.booleans())}
        found = occasions(resolved(rulebook, flags), rulebook.ruleset.tables["f"])
        assert dead.isdisjoint(row.id for occasion in found for row in occasion.decision.rows)
