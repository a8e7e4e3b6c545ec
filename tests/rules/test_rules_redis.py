"""Persistence of Redis by driver, and its findings: the imitation inside the process keeps no data."""

from __future__ import annotations

from pathlib import Path

import pytest

from compozy.resolution.configuration import load_configuration
from compozy.resolution.resolve import Resolved, resolve
from compozy.resolution.validate import validate

KEPT, ENGINE = "redis.standalone.persistence.enabled", "redis.standalone.engine"


def resolved(directory: Path, binary: str, **flags: str) -> Resolved:
    configuration = load_configuration(directory=str(directory), flags=flags, environment={})
    return resolve(configuration, {"valkey.binary": binary})


@pytest.mark.parametrize(
    ("engine", "binary", "driver", "kept", "findings"),
    [
        pytest.param("auto", "found", "valkey", True, {"redis.kept-in-memory-mode", "durability.redis-outlives-rows"},
                     id="auto"),
        pytest.param("auto", "missing", "valkey", True,
                     {"redis.engine.missing", "redis.kept-in-memory-mode", "durability.redis-outlives-rows"},
                     id="auto-without-a-server"),
        pytest.param("valkey", "found", "valkey", True,
                     {"redis.kept-in-memory-mode", "durability.redis-outlives-rows"}, id="valkey"),
        pytest.param("fakeredis", "found", "fakeredis", False, {"redis.engine.cannot-keep"}, id="fakeredis"),
        pytest.param("fakeredis", "missing", "fakeredis", False, {"redis.engine.cannot-keep"},
                     id="fakeredis-without-a-server"),
    ],
)  # fmt: skip
def test_persistence_asked_for_in_memory_mode_needs_the_real_server(
    engine: str, binary: str, driver: str, kept: bool, findings: set[str], tmp_path: Path
) -> None:
    """The configuration never reports that keys survive in a process that ends."""
    found = resolved(tmp_path, binary, **{KEPT: "true", ENGINE: engine})
    assert (found.components["redis"].driver, found.decision("redis.kept").outputs["kept"]) == (driver, kept)
    assert {finding.id for finding in validate(found)} == findings


@pytest.mark.parametrize("written", [{}, {KEPT: "false"}], ids=["unset", "off"])
@pytest.mark.parametrize("engine", ["auto", "fakeredis"])
def test_imitation_serves_without_persistence(engine: str, written: dict[str, str], tmp_path: Path) -> None:
    """Memory mode runs without a server binary."""
    found = resolved(tmp_path, "missing", **{ENGINE: engine}, **written)
    assert (found.components["redis"].driver, validate(found)) == ("fakeredis", ())


@pytest.mark.parametrize("written", [{}, {KEPT: "true"}, {KEPT: "false"}], ids=["unset", "on", "off"])
def test_a_persistent_redis_never_is_the_imitation(written: dict[str, str], tmp_path: Path) -> None:
    """Also where persistence is switched off in it."""
    flags = {"redis.mode": "persistent", ENGINE: "fakeredis", **written}
    assert "redis.engine.cannot-keep" in {finding.id for finding in validate(resolved(tmp_path, "found", **flags))}


@pytest.mark.parametrize("mode", ["memory", "persistent"])
def test_written_persistence_takes_precedence(mode: str, tmp_path: Path) -> None:
    """It takes precedence over the value derived from the mode and over the abilities of the engine."""
    for text, value in (("true", True), ("false", False)):
        found = resolved(tmp_path, "found", **{"mode": mode, KEPT: text, ENGINE: "fakeredis"})
        assert (found.get(KEPT), found.values[KEPT].origin.kind) == (value, "flag")
