"""Every mode and several mixtures, each cell a test that starts the real command.

Cells: start, workflow execution, state persistence, restart recovery, 10 and 50 concurrent workflows.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.support.polling import eventually

from .conftest import Server, Shell

pytestmark = pytest.mark.e2e

TWO_STEPS = """
id: two-steps
input: {name: World, pause: 0}
tasks:
  - {id: first, type: aggregate, output: "{{ workflow.input.name }}"}
  - {id: second, type: aggregate, sleep: SLEEP, output: "{{ tasks.first.output }}!"}
outputs: {greeting: "{{ tasks.second.output }}"}
"""


@dataclass(frozen=True)
class Cell:
    """A configuration: its settings, whether it needs services, and what survives a restart."""

    id: str
    environment: Mapping[str, str] = field(default_factory=dict)
    external: bool = False
    keeps_rows: bool = False
    keeps_histories: bool = False


CELLS = [
    Cell("memory"),
    Cell("persistent", {"COMPOZY_MODE": "persistent"}, keeps_rows=True, keeps_histories=True),
    Cell("distributed", {"COMPOZY_MODE": "distributed"}, True, True, True),
    Cell("memory-with-persistent-temporal", {"TEMPORAL_MODE": "persistent"}, keeps_histories=True),
    Cell("persistent-with-memory-redis", {"COMPOZY_MODE": "persistent", "REDIS_MODE": "memory"}, False, True, True),
    Cell("distributed-with-embedded-redis", {"COMPOZY_MODE": "distributed", "REDIS_MODE": "memory"}, True, True, True),
    Cell("memory-with-postgres", {"COMPOZY_MODE": "memory", "DB_DRIVER": "postgres"}, True, True, False),
]


@dataclass
class Project:
    """One cell's project; `start` always starts it with the same settings."""

    cell: Cell
    shell: Shell
    environment: Mapping[str, str]

    def start(self) -> Server:
        return self.shell.start("--set", "temporal.standalone.enable_ui=false", env=self.environment)

    def write(self, sleep: str = "0s") -> None:
        (self.shell.directory / "workflows").mkdir(exist_ok=True)
        (self.shell.directory / "workflows" / "two-steps.yaml").write_text(TWO_STEPS.replace("SLEEP", sleep))


@pytest.fixture(
    params=[pytest.param(cell, id=cell.id, marks=pytest.mark.distributed if cell.external else ()) for cell in CELLS]
)
def project(request: pytest.FixtureRequest, shell: Shell) -> Project:
    cell: Cell = request.param
    reached = request.getfixturevalue("services").settings() if cell.external else {}
    made = Project(cell, shell, {**reached, **cell.environment})
    made.write()
    return made


def request(server: Server, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Ask the server as a program does."""
    address = urlsplit(str(server.ready["url"]))
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json", "X-API-Key": server.key})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def run(server: Server, name: str, wait: str = "?wait=60s") -> Any:
    status, answer = request(server, "POST", f"/api/v0/workflows/two-steps/executions{wait}", {"input": {"name": name}})
    assert status in (200, 202), answer
    return answer


def test_server_has_the_components_of_its_mode_and_completes_concurrent_workflows(project: Project) -> None:
    """Readiness and health agree with the ready line; no execution is doubled, none finds the database locked."""
    server = project.start()
    eventually(lambda: request(server, "GET", "/readyz")[0] == 200, "readiness")
    components = request(server, "GET", "/api/v0/health")[1]["components"]
    assert components.keys() == server.ready["components"].keys()
    kept = (components["database"]["kept"], components["temporal"]["kept"])
    assert kept == (project.cell.keeps_rows, project.cell.keeps_histories)
    for count in (10, 50):
        with ThreadPoolExecutor(count) as pool:
            answers = list(pool.map(lambda number: run(server, f"n{number}"), range(count)))
        assert sorted(answer["output"]["greeting"] for answer in answers) == sorted(f"n{at}!" for at in range(count))
    listed = request(server, "GET", "/api/v0/executions?limit=1000")[1]["executions"]
    assert (len(listed), {row["status"] for row in listed}) == (60, {"completed"})
    assert (server.stop(), server.has_ended()) == (0, True)
    assert "database is locked" not in server.errors.read_text()


def test_mode_decides_the_data_after_a_stop_and_a_kill(project: Project) -> None:
    """After a stop an execution is listed exactly where rows are kept.

    After `kill -9` a workflow that sleeps between two tasks completes, or its row reports the loss.
    """
    server = project.start()
    answer = run(server, "Ada")
    assert (answer["status"], answer["output"]) == ("completed", {"greeting": "Ada!"})
    assert server.stop() == 0
    project.write("1s")
    server = project.start()
    listed = request(server, "GET", "/api/v0/executions")[1]["executions"]
    assert [row["id"] for row in listed] == ([answer["execution_id"]] if project.cell.keeps_rows else [])
    sleeping = run(server, "Ada", wait="")["execution_id"]
    server.kill()
    server = project.start()
    status, row = request(server, "GET", f"/api/v0/executions/{sleeping}?wait=30s")
    if project.cell.keeps_rows:
        expected = ["completed"] if project.cell.keeps_histories else ["terminated", "failed"]
        assert (status, row["status"] in expected) == (200, True), row
    server.kill()


def test_matrix_covers_three_modes_and_four_mixtures(tmp_path: Path) -> None:
    """Three modes and at least four mixtures."""
    assert {"memory", "persistent", "distributed"} < {cell.id for cell in CELLS}
    assert len(CELLS) >= 7
