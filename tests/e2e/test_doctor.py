"""`compozy doctor` and `compozy plan` in every mode."""

from __future__ import annotations

import socket

import pytest

from .conftest import Shell
from .services import Services

pytestmark = pytest.mark.e2e


def test_memory_mode_would_start(shell: Shell) -> None:
    """Nothing fails in an empty directory, and nothing is written."""
    checks = shell.json("doctor")["checks"]
    assert [check for check in checks if check["status"] == "fail"] == []
    assert {"rules", "clock", "temporal.binary", "redis.binary", "server.port"} <= {check["id"] for check in checks}
    assert list(shell.directory.iterdir()) == []


def test_a_half_configured_distributed_mode_names_each_part(shell: Shell) -> None:
    """Every unreachable service is a failure with its address and a fix; exit code 4."""
    result = shell.run(
        "doctor", "--mode", "distributed", "--set", "database.port=1", "--set", "temporal.host_port=127.0.0.1:1",
        "--set", "redis.port=1",
    )  # fmt: skip
    assert result.returncode == 4
    for name in ("database.reach", "temporal.reach", "redis.reach"):
        assert f"fail  {name}" in result.stdout
    assert result.stdout.count("fix:") >= 3
    assert "Traceback" not in result.stderr


def test_distributed_mode_with_its_services_would_start(shell: Shell, services: Services) -> None:
    """Reachability with latency and versions, and pgvector."""
    answer = shell.json("doctor", "--mode", "distributed", env=services.settings())
    checks = {check["id"]: check for check in answer["checks"]}
    assert {name: checks[name]["status"] for name in ("database.reach", "temporal.reach", "redis.reach")} == {
        "database.reach": "pass", "temporal.reach": "pass", "redis.reach": "pass",
    }  # fmt: skip
    assert "ms" in checks["redis.reach"]["message"]
    assert checks["database.pgvector"]["status"] == "pass"


def test_a_locked_state_directory_names_its_owner(shell: Shell) -> None:
    """The server that runs is named with its process id."""
    server = shell.start("--mode", "persistent")
    checks = {check["id"]: check for check in shell.json("doctor", "--mode", "persistent")["checks"]}
    assert checks["state-directory"]["status"] == "fail"
    assert str(server.pid) in checks["state-directory"]["message"]
    assert server.stop() == 0


def test_a_chosen_busy_port_fails(shell: Shell) -> None:
    """The same answer as `start` would give."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        checks = shell.json("doctor", "--port", str(busy.getsockname()[1]))["checks"]
    assert [check["status"] for check in checks if check["id"] == "server.port"] == ["fail"]


def test_an_invalid_configuration_fails_and_skips_the_components(shell: Shell) -> None:
    """Findings are checks; the components are not asked."""
    checks = shell.json("doctor", "--mode", "foo")["checks"]
    assert {check["status"] for check in checks} == {"pass", "fail", "skip"}


@pytest.mark.parametrize(
    ("mode", "drivers"),
    [
        pytest.param("memory", {"sqlite", "temporal-embedded", "valkey"}, id="memory"),
        pytest.param("persistent", {"sqlite", "temporal-embedded", "valkey"}, id="persistent"),
        pytest.param("distributed", {"postgres", "temporal-remote", "redis-external"}, id="distributed"),
    ],
)
def test_plan_shows_what_would_start_and_starts_nothing(shell: Shell, mode: str, drivers: set[str]) -> None:
    """Order, addresses and files; nothing is written."""
    plan = shell.json("plan", "--mode", mode)
    assert {step["driver"] for step in plan["steps"]} == drivers
    assert (plan["state_dir"] is not None) == (mode == "persistent")
    assert list(shell.directory.iterdir()) == []
