"""`compozy doctor` and `compozy plan` in every mode."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.polling import eventually

from compozy.settings.keyring import random_key

from .conftest import Shell
from .services import Services

pytestmark = pytest.mark.e2e
HELLO = Path(__file__).parents[2] / "examples" / "hello-world.yaml"


def test_memory_mode_would_start(shell: Shell) -> None:
    """Every check passes in an empty directory, and no file is written."""
    checks = shell.json("doctor")["checks"]
    assert [check for check in checks if check["status"] == "fail"] == []
    assert {"rules", "clock", "temporal.binary", "redis.binary", "server.port"} <= {check["id"] for check in checks}
    assert list(shell.directory.iterdir()) == []


def test_a_half_configured_distributed_mode_names_each_part(shell: Shell) -> None:
    """Every unreachable service is a failure with its address and a fix; exit code 4."""
    result = shell.run(
        "doctor", "--mode", "distributed", "--set", "database.port=1", "--set", "temporal.host_port=127.0.0.1:1",
        "--set", "redis.port=1", "--set", f"temporal.encryption_key={random_key()}",
        "--set", "knowledge.vector_dbs=[{id: docs, provider: qdrant, port: 1}]",
    )  # fmt: skip
    assert result.returncode == 4
    for name in ("database.reach", "temporal.reach", "redis.reach", "vector_store[docs].reach"):
        assert f"fail  {name}" in result.stdout
    assert result.stdout.count("fix:") >= 4
    assert "Traceback" not in result.stderr


def test_distributed_mode_with_its_services_would_start(shell: Shell, services: Services) -> None:
    """Reachability with latency and versions, and pgvector in the database."""
    stores = ("--set", "knowledge.vector_dbs=[{id: docs, provider: pgvector}]")
    checks: dict[str, Any] = {}

    def reached() -> bool:
        answer = shell.json("doctor", "--mode", "distributed", *stores, env=services.settings())
        checks.update({check["id"]: check for check in answer["checks"]})
        return {checks[f"{name}.reach"]["status"] for name in ("database", "temporal", "redis")} == {"pass"}

    eventually(reached, lambda: f"an answer of each service: {checks}")  # a busy one may take too long
    assert "ms" in checks["redis.reach"]["message"]
    assert checks["vector_store[docs].pgvector"]["status"] == "pass"


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
def test_plan_shows_components_and_starts_nothing(shell: Shell, mode: str, drivers: set[str]) -> None:
    """Order, addresses and files; nothing is written."""
    plan = shell.json("plan", "--mode", mode, env={"COMPOZY_TEMPORAL__ENCRYPTION_KEY": random_key()})
    assert {step["driver"] for step in plan["steps"]} == drivers
    assert (plan["state_dir"] is not None) == (mode == "persistent")
    assert list(shell.directory.iterdir()) == []


def replace_by_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "database-missing": lambda state: (state / "compozy.db").unlink(),
    "temporal-newer": lambda state: (state / "temporal.db.version").write_text('{"server": "99.0.0", "binary": "x"}'),
    "redis-no-manifest": lambda state: manifest(state).unlink(),
    "no-directory": replace_by_file,
}  # fmt: skip


OWNED = {"database": "compozy.db", "temporal": "temporal.db", "redis": "redis", "version": "version"}


def manifest(state: Path) -> Path:
    return next((state / "redis" / "appendonlydir").glob("*.manifest"))


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory that a server has used."""
    directory = tmp_path_factory.mktemp("used")
    used = Shell(directory, tmp_path_factory.mktemp("runtime"))
    server = used.start("--mode", "persistent")
    address = server.ready["components"]["redis"]["address"]
    assert address
    used.run("workflow", "run", str(HELLO))
    assert server.stop() == 0
    used.close()
    log = directory / ".compozy" / "redis" / "appendonlydir"
    next(log.glob("*.incr.aof")).write_bytes(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$300\r\n" + b"v" * 300 + b"\r\n")
    return directory / ".compozy"


@pytest.mark.parametrize("damage", DAMAGES)
def test_doctor_reports_refusals_of_start(shell: Shell, used: Path, damage: str) -> None:
    """Each is named with a fix by both, and nothing is written over."""
    state = shell.directory / ".compozy"
    shutil.copytree(used, state)
    DAMAGES[damage](state)
    before = contents(state)
    doctor = shell.run("doctor", "--mode", "persistent")
    assert (doctor.returncode, "fail  " in doctor.stdout, "fix:" in doctor.stdout) == (4, True, True)
    assert contents(state) == before
    start = shell.run("start", "--mode", "persistent")
    assert (start.returncode, "fix:" in start.stderr, "Traceback" in start.stderr) == (4, True, False), start.stderr
    damaged = OWNED.get(damage.partition("-")[0], "")  # the others came up until they were called off
    after = contents(state)
    assert [name for name in before if name.startswith(damaged) and before[name] != after.get(name)] == []


def test_start_accepts_lost_data_with_a_flag(shell: Shell, used: Path) -> None:
    """The refusal names the flag; without it nothing is created."""
    state = shell.directory / ".compozy"
    shutil.copytree(used, state)
    (state / "compozy.db").unlink()
    refused = shell.run("start", "--mode", "persistent")
    assert (refused.returncode, "--accept-loss" in refused.stderr, (state / "compozy.db").exists()) == (4, True, False)
    server = shell.start("--mode", "persistent", "--accept-loss")
    assert server.stop() == 0
    assert (state / "inventory.json").exists()


def test_doctor_accepts_data_of_a_stopped_server(shell: Shell, used: Path) -> None:
    """After a stop, all of it is what it should be."""
    shutil.copytree(used, shell.directory / ".compozy")
    checks = {check["id"]: check["status"] for check in shell.json("doctor", "--mode", "persistent")["checks"]}
    assert [checks[f"{name}.intact"] for name in ("database", "temporal", "redis")] == ["pass"] * 3


def contents(state: Path) -> dict[str, bytes]:
    """Return every file in the state directory with its content, but for what reading a database puts beside it."""
    if state.is_file():
        return {"": state.read_bytes()}
    files = (path for path in state.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm")))
    return {str(path.relative_to(state)): path.read_bytes() for path in files}
