"""For any contents of the sources, the source of highest precedence that sets a setting decides its value."""

from __future__ import annotations

from tempfile import TemporaryDirectory

from hypothesis import given, settings
from property_tests.choices import outputs_of
from property_tests.oracle import DECISIONS, PROMISES, Facts, findings_of
from property_tests.source_worlds import SETTINGS, World, worlds

from compozy.resolution.resolve import Resolved, resolve
from compozy.resolution.validate import validate


def resolved(world: World) -> Resolved:
    with TemporaryDirectory() as folder:
        return resolve(world.read(folder), {"valkey.binary": "found", **world.facts})


@settings(max_examples=100)
@given(worlds())
def test_a_configuration_across_all_sources_keeps_the_contract(world: World) -> None:
    found = resolved(world)
    check_origins(world, found)
    facts = Facts(world.choice())
    for table, promised in DECISIONS.items():
        assert outputs_of(found, table) == promised(facts), table
    findings = validate(found)
    unreadable = {(one.source, one.reported_as) for one in world.statements if not one.readable}
    assert unreadable <= {(finding.where.kind, finding.key) for finding in findings if finding.id == "key.type"}
    if not unreadable:
        assert {finding.id for finding in findings} & PROMISES.keys() == findings_of(facts)


def check_origins(world: World, found: Resolved) -> None:
    """Each value has the origin of the highest source that states it, and shadows the lower ones in order."""
    for path in SETTINGS:
        value, sources = found.values[path], [one.source for one in world.stating(path)]
        assert [value.origin.kind, *(lower.origin.kind for lower in value.shadowed)][: len(sources)] == sources, path
        if not sources:
            assert value.origin.kind in ("default", "rule")
