"""Every mode and several mixtures, each cell a test that starts the real command.

Cells: start, workflow execution, state persistence, restart recovery, 10 and 50 concurrent workflows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
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

    def write(self) -> None:
        folder = self.shell.directory / "workflows"
        folder.mkdir()
        (folder / "two-steps.yaml").write_text(TWO_STEPS.replace("SLEEP", "0s"))
        sleeper = TWO_STEPS.replace("SLEEP", "1s").replace("id: two-steps", "id: sleeper")
        (folder / "sleeper.yaml").write_text(sleeper)


@pytest.fixture(
    params=[pytest.param(cell, id=cell.id, marks=pytest.mark.distributed if cell.external else ()) for cell in CELLS]
)
def project(request: pytest.FixtureRequest, shell: Shell) -> Project:
    cell: Cell = request.param
    reached = request.getfixturevalue("services").settings() if cell.external else {}
    made = Project(cell, shell, {**reached, **cell.environment})
    made.write()
    return made


def run(server: Server, name: str, wait: str = "?wait=60s", workflow: str = "two-steps") -> Any:
    status, answer = server.request("POST", f"/api/v0/workflows/{workflow}/executions{wait}", {"input": {"name": name}})
    assert status in (200, 202), answer
    return answer


def test_mode_decides_components_and_the_data_after_a_kill_and_a_stop(project: Project) -> None:
    """Two starts of each cell, because a start is the dearest part of the test; rows are read after the stop."""
    server = project.start()
    check_components(project, server)
    check_concurrent_workflows(server)
    answer = run(server, "Ada")
    assert (answer["status"], answer["output"]) == ("completed", {"greeting": "Ada!"})
    sleeping = run(server, "Ada", wait="", workflow="sleeper")["execution_id"]
    server.kill()
    server = project.start()
    check_data_after_kill(project, server, answer["execution_id"], sleeping)
    assert (server.stop(), server.has_ended()) == (0, True)
    assert not any("database is locked" in one.errors.read_text() for one in project.shell.servers)
    if project.cell.keeps_rows:
        assert {answer["execution_id"], sleeping} < set(rows_left(project))


def check_components(project: Project, server: Server) -> None:
    """Readiness and health agree with the ready line."""
    eventually(lambda: server.request("GET", "/readyz")[0] == 200, "readiness")
    components = server.request("GET", "/api/v0/health")[1]["components"]
    assert components.keys() == server.ready["components"].keys()
    kept = (components["database"]["kept"], components["temporal"]["kept"])
    assert kept == (project.cell.keeps_rows, project.cell.keeps_histories)


def check_concurrent_workflows(server: Server) -> None:
    """No execution is doubled or lost, 10 and 50 at once."""
    for count in (10, 50):
        with ThreadPoolExecutor(count) as pool:
            answers = list(pool.map(lambda number: run(server, f"n{number}"), range(count)))
        assert sorted(answer["output"]["greeting"] for answer in answers) == sorted(f"n{at}!" for at in range(count))
    listed = server.request("GET", "/api/v0/executions?limit=1000")[1]["executions"]
    assert (len(listed), {row["status"] for row in listed}) == (60, {"completed"})


def check_data_after_kill(project: Project, server: Server, ended: str, sleeping: str) -> None:
    """Executions are listed exactly where rows are kept; one that slept completes, or its row reports the loss."""
    listed = [row["id"] for row in server.request("GET", "/api/v0/executions?limit=1000")[1]["executions"]]
    kept = (62, True, True) if project.cell.keeps_rows else (0, False, False)
    assert (len(listed), ended in listed, sleeping in listed) == kept
    status, row = server.request("GET", f"/api/v0/executions/{sleeping}?wait=30s")
    if project.cell.keeps_rows:
        expected = ["completed"] if project.cell.keeps_histories else ["terminated", "failed"]
        assert (status, row["status"] in expected) == (200, True), row


def rows_left(project: Project) -> list[str]:
    """Return the executions in the database of a stopped server."""
    query = "SELECT id FROM executions"
    if "DB_URL" not in project.environment:
        with closing(sqlite3.connect(project.shell.directory / ".compozy" / "compozy.db")) as file:
            return [name for (name,) in file.execute(query)]
    with closing(psycopg2.connect(project.environment["DB_URL"])) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return [name for (name,) in cursor.fetchall()]


def test_matrix_covers_three_modes_and_four_mixtures(tmp_path: Path) -> None:
    """Three modes and at least four mixtures."""
    assert {"memory", "persistent", "distributed"} < {cell.id for cell in CELLS}
    assert len(CELLS) >= 7
