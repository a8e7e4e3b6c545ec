"""Components of a mode for a test: fresh, migrated, and started at their first use."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from tests.support.polling import eventually_healthy

from compozy.errors import ConfigurationError
from compozy.store import Execution, Store
from compozy.testing.postgres_server import PostgresServer
from compozy.testing.testbed import DB_URL, Testbed

pytestmark = pytest.mark.distributed

MODES = ("memory", "persistent", "distributed")
RECORD = Execution("one", "hello", "1", "running", {}, started_at="2025-01-01T00:00:00.000000Z")


@workflow.defn
class Patience:
    """Waits for a month."""

    @workflow.run
    async def run(self) -> str:
        """Return when the month is over."""
        await workflow.sleep(timedelta(days=30))
        return "patient"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_database_is_migrated_and_fresh(testbed: Testbed, tmp_path: Path, mode: str, turn: str) -> None:
    """The second test does not see what the first one wrote."""
    with testbed.database(mode, str(tmp_path)) as database:
        store = Store(database)
        store.require_schema()
        assert store.execution(RECORD.id) is None
        store.record_started(RECORD)
        assert store.execution(RECORD.id) == RECORD


@pytest.mark.parametrize(
    ("mode", "kind", "files"),
    [
        pytest.param("memory", "SqliteDatabase", False, id="memory"),
        pytest.param("persistent", "SqliteDatabase", True, id="persistent"),
        pytest.param("distributed", "PostgresqlDatabase", False, id="distributed"),
    ],
)
def test_each_mode_has_its_database(testbed: Testbed, tmp_path: Path, mode: str, kind: str, files: bool) -> None:
    """In memory, in a file, on PostgreSQL."""
    with testbed.database(mode, str(tmp_path)) as database:
        assert kind in {parent.__name__ for parent in type(database).__mro__}
        assert (tmp_path / ".compozy" / "compozy.db").exists() is files


@pytest.mark.parametrize("mode", MODES)
def test_a_runtime_has_every_component_of_its_mode(testbed: Testbed, tmp_path: Path, mode: str) -> None:
    """All are healthy, the database is migrated, Redis is empty."""
    with testbed.runtime(mode, str(tmp_path)) as runtime:
        eventually_healthy(runtime.health)
        Store(runtime.database).require_schema()
        assert runtime.redis.dbsize() == 0
        runtime.redis.set("key", "value")
        assert runtime.temporal.namespace == "default"


def test_components_may_have_modes_of_their_own(testbed: Testbed, tmp_path: Path) -> None:
    """Only what is external comes from the servers of the session."""
    settings = {"redis.mode": "memory", "temporal.mode": "memory", "redis.standalone.engine": "fakeredis"}
    with testbed.runtime("distributed", str(tmp_path), settings) as runtime:
        drivers = {step.component: step.driver for step in runtime.plan.steps}
    assert drivers == {"database": "postgres", "temporal": "temporal-embedded", "redis": "fakeredis"}


def test_settings_win_over_the_servers_of_the_session(
    testbed: Testbed, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """A database that a test chose is migrated and not dropped."""
    with postgres_server.database() as url:
        with testbed.database("distributed", str(tmp_path), {"database.url": url}) as database:
            Store(database).record_started(RECORD)
        with testbed.database("distributed", str(tmp_path), {"database.url": url}) as database:
            assert Store(database).execution(RECORD.id) == RECORD


@pytest.mark.parametrize("mode", ["foo", "standalone"])
def test_an_unknown_mode_is_an_error(testbed: Testbed, tmp_path: Path, mode: str) -> None:
    """It is never replaced by another one."""
    with pytest.raises(ConfigurationError, match=f'invalid mode "{mode}"'), testbed.database(mode, str(tmp_path)):
        raise AssertionError


def test_environment_does_not_affect_fixtures(
    testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings of the developer's shell and of the surrounding project have no effect."""
    (tmp_path / "compozy.yaml").write_text("mode: distributed\n")
    (tmp_path / "test").mkdir()
    monkeypatch.setenv("COMPOZY_MODE", "distributed")
    monkeypatch.setenv("DB_PATH", str(tmp_path / "elsewhere.db"))
    with testbed.database("memory", str(tmp_path / "test")) as database:
        Store(database).require_schema()
    assert {file.name for file in tmp_path.rglob("*")} == {"compozy.yaml", "test"}


def test_a_postgres_may_be_given_by_its_url(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `DB_URL` databases are made on that server, and none is left there."""
    before = databases_of(postgres_server)
    monkeypatch.setenv(DB_URL, postgres_server.url)
    with Testbed() as guest, guest.database("distributed", str(tmp_path)) as database:
        assert database.database.startswith("compozy_")
        assert len(databases_of(postgres_server)) == len(before) + 2
    assert databases_of(postgres_server) == before


def test_server_killed_by_a_test_is_restarted_for_the_next_one(testbed: Testbed, tmp_path: Path) -> None:
    """Each request returns a running server."""
    testbed.redis.kill()
    testbed.temporal.stop()
    with testbed.runtime("distributed", str(tmp_path)) as runtime:
        eventually_healthy(runtime.health)


def databases_of(server: PostgresServer) -> set[str]:
    import psycopg2

    connection: Any = psycopg2.connect(server.url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            return {name for (name,) in cursor.fetchall()}
    finally:
        connection.close()


@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_month_passes_at_once(testbed: Testbed, turn: str) -> None:
    """Timers are skipped while a result is waited for."""
    with testbed.time_skipping.environment() as skipping:
        client = skipping.client

        async def wait() -> str:
            async with Worker(
                client, task_queue=turn, workflows=[Patience], workflow_runner=UnsandboxedWorkflowRunner()
            ):
                return await client.execute_workflow(Patience.run, id=f"patience-{turn}", task_queue=turn)

        assert skipping.call(wait()) == "patient"


def test_testbed_ends_its_servers() -> None:
    """And can be ended twice."""
    with Testbed() as own:
        redis = own.redis
        assert redis.running()
    assert not redis.running()
    own.close()
