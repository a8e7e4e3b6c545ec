"""The service around executions: catalogue, idempotence, outages and upkeep of rows."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import peewee
import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError
from tests.support.polling import eventually
from tests.workflows.bench import Bench

from compozy.client.local import workflow_list
from compozy.errors import DefinitionError, NotFoundError, SyntaxProblem, UsageError
from compozy.store import LOST, Execution, Pruned, Store, StoredWorkflow, UnavailableError
from compozy.store.records import timestamp
from compozy.workflows.ends import Ends
from compozy.workflows.facade import Workflows, WorkflowSettings
from compozy.workflows.model.inputs import InputError
from compozy.workflows.read.loader import definition_from_json
from compozy.workflows.run.worker import WorkerHost
from compozy.workflows.service import Service
from compozy.workflows.starting import ConflictError

GREET = """
id: {id}
input: {{name: x}}
tasks: [{{id: t, type: aggregate, output: "{{{{ workflow.input.name }}}}"}}]
"""
NAP = definition_from_json(
    {"id": "nap", "tasks": [{"id": "nap", "type": "aggregate", "sleep": "1000h", "output": 1}]}, "nap"
)

SHORT = definition_from_json({"id": "short", "tasks": [{"id": "a", "type": "aggregate", "output": 1}]}, "short")


def test_wait_asks_again_when_a_poll_ends_without_an_event(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time-skipping server ends a poll after twenty seconds, and the library raises an error."""
    service, polls, result = bench.open().service, list[str](), WorkflowHandle.result

    async def ended_poll(handle: WorkflowHandle[Any, Any]) -> Any:
        polls.append(handle.id)
        if len(polls) == 1:
            raise RuntimeError("No completion event found")
        return await result(handle)

    monkeypatch.setattr(WorkflowHandle, "result", ended_poll)
    name = bench.call(service.start(SHORT))
    bench.call(service._ended(name))
    assert polls == [name, name]


def test_workflows_come_from_the_project(bench: Bench) -> None:
    """Files in workflows/ and files that the configuration names are listed by id."""
    bench.write("workflows/b.yaml", GREET.format(id="bbb"))
    bench.write("more/a.yaml", GREET.format(id="aaa"))
    workflows = bench.open(worker=False, files=("more/*.yaml",))

    assert [found.id for found in workflows.workflows().definitions] == ["aaa", "bbb"]
    assert workflows.workflow("bbb").inputs is not None


def test_a_broken_file_hides_only_itself(bench: Bench) -> None:
    """The valid workflows are listed, with the problems of the invalid and the missing ones."""
    bench.write("workflows/good.yaml", GREET.format(id="good"))
    bench.write("workflows/bad.yaml", "id: bad\n")
    bench.write("workflows/worse.yaml", "id: [\n")
    bench.write("workflows/same.yaml", GREET.format(id="good"))
    workflows = bench.open(worker=False, files=("missing.yaml",))

    listing = workflows.workflows()

    assert [found.id for found in listing.definitions] == ["good"]
    assert sorted(problem.id for problem in listing.problems) == [
        "file.syntax",
        "not-found",
        "workflow.definition",
        "workflow.definition",
    ]
    with pytest.raises(DefinitionError, match="bad.yaml"):
        workflows.workflow("bad")
    with pytest.raises(SyntaxProblem, match="worse.yaml"):
        workflows.workflow("worse")


def test_leftovers_of_editors_are_no_workflows(bench: Bench) -> None:
    """Neither in `workflows/` nor among the files that the configuration names with a pattern."""
    for name in ("workflows/._x.yaml", "workflows/.#x.yaml", "more/._x.yaml"):
        bench.write(name, "id: [\n")
    listing = bench.open(worker=False, files=("more/*.yaml",)).workflows()
    assert (listing.definitions, listing.problems) == ((), ())


def test_invalid_imported_workflow_does_not_hide_others(bench: Bench, store: Store) -> None:
    """A workflow accepted by an earlier version and rejected by this one is a problem of the listing and of its use."""
    store.save_workflow(StoredWorkflow("old", "1", {"id": "old", "unknown": True}, timestamp()))
    good = {"id": "good", "tasks": [{"id": "t", "type": "aggregate", "output": 1}]}
    store.save_workflow(StoredWorkflow("good", "1", good, timestamp()))
    bench.write("workflows/a.yaml", GREET.format(id="in-a-file"))
    workflows = bench.open(worker=False)

    listing = workflows.workflows()

    assert [found.id for found in listing.definitions] == ["good", "in-a-file"]
    assert [problem.id for problem in listing.problems] == ["workflow.definition"]
    assert [workflows.workflow(name).id for name in ("good", "in-a-file")] == ["good", "in-a-file"]
    with pytest.raises(DefinitionError, match="imported workflow old"):
        workflows.workflow("old")
    with pytest.raises(NotFoundError, match='did you mean "good"'):
        workflows.workflow("goood")


def test_a_file_hides_the_imported_workflow_of_its_id(bench: Bench, store: Store) -> None:
    """A stored workflow that a file replaces is not reported."""
    store.save_workflow(StoredWorkflow("same", "1", {"id": "same", "unknown": True}, timestamp()))
    bench.write("workflows/a.yaml", GREET.format(id="same"))
    workflows = bench.open(worker=False)

    assert [found.id for found in workflows.workflows().definitions] == ["same"]
    assert workflows.workflows().problems == ()
    assert workflows.workflow("same").inputs is not None


def test_a_changed_file_is_read_again(bench: Bench) -> None:
    """A workflow has the current contents of its file."""
    path = bench.write("workflows/a.yaml", GREET.format(id="first"))
    workflows = bench.open(worker=False)
    workflows.workflow("first")

    path.write_text(GREET.format(id="second-one"), encoding="utf-8")

    assert [found.id for found in workflows.workflows().definitions] == ["second-one"]


def test_an_unknown_workflow_names_the_nearest(bench: Bench) -> None:
    """A typo in an id is answered with the id that was meant."""
    bench.write("workflows/a.yaml", GREET.format(id="hello-world"))

    with pytest.raises(NotFoundError, match='did you mean "hello-world"'):
        bench.open(worker=False).start("hello-wrld")


def test_listed_workflows_can_be_imported(bench: Bench, tmp_path: Path) -> None:
    """The JSON of `workflow list` feeds an import; imported workflows run by their id."""
    bench.write("workflows/a.yaml", GREET.format(id="moved"))
    workflows = bench.open()
    exported = json.dumps(workflow_list(workflows.workflows()).to_json())
    (bench.directory / "workflows" / "a.yaml").unlink()
    assert workflows.workflows().definitions == ()

    assert workflows.import_workflows(json.loads(exported)).names == ("moved",)
    assert workflows.import_workflows(json.loads(exported)).names == ("moved",)

    expected = [{**item, "source": "imported"} for item in json.loads(exported)["workflows"]]
    assert workflow_list(workflows.workflows()).to_json()["workflows"] == expected
    assert workflows.run("moved", {"name": "z"}).status == "completed"


def test_an_import_with_one_broken_workflow_takes_none(bench: Bench) -> None:
    """An import is all or nothing, and reports every problem."""
    good = {"id": "good", "tasks": [{"id": "t", "type": "aggregate", "output": 1}]}
    workflows = bench.open(worker=False)

    with pytest.raises(DefinitionError) as caught:
        workflows.import_workflows({"workflows": [good, {"id": "bad"}, 3]})

    assert [one.where.name for one in caught.value.findings] == ["workflows[1]", "workflows[2]"]
    assert workflows.workflows().definitions == ()


@pytest.mark.parametrize("exported", [None, [], {"workflows": 3}, {}])
def test_import_of_another_document_names_the_expected_form(bench: Bench, exported: object) -> None:
    """Another document is refused with the form of an export."""
    with pytest.raises(DefinitionError, match="workflow list --format json"):
        bench.open(worker=False).import_workflows(exported)


def test_starting_twice_with_one_id_is_one_execution(bench: Bench) -> None:
    """A client that tries again after a lost answer does not double its execution."""
    workflows = bench.open()
    first = workflows.run(NAP, execution_id="order-7", timeout_s=0.01)

    assert workflows.start(NAP, execution_id="order-7") == first.id == "order-7"
    assert [row.id for row in workflows.executions()] == ["order-7"]


def test_an_id_of_another_workflow_is_a_conflict(bench: Bench) -> None:
    """An id names one execution of one workflow."""
    bench.write("workflows/a.yaml", GREET.format(id="other"))
    workflows = bench.open()
    workflows.run("other", execution_id="taken")

    with pytest.raises(ConflictError, match="taken exists and is of another workflow"):
        workflows.start(NAP, execution_id="taken")


def test_an_id_with_another_input_is_a_conflict(bench: Bench) -> None:
    """An id names one execution with one input; the first result is no answer to another question."""
    bench.write("workflows/a.yaml", GREET.format(id="greet"))
    workflows = bench.open()
    workflows.run("greet", {"name": "Ada"}, execution_id="one")

    assert workflows.start("greet", {"name": "Ada"}, execution_id="one") == "one"
    with pytest.raises(ConflictError, match="one exists and has another input"):
        workflows.start("greet", {"name": "Bob"}, execution_id="one")


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 300])
def test_an_unusable_execution_id_is_refused(bench: Bench, name: str) -> None:
    """Ids stay usable in paths and shells."""
    with pytest.raises(UsageError, match="execution id"):
        bench.open(worker=False).start(NAP, execution_id=name)


def test_a_bad_input_starts_nothing(bench: Bench) -> None:
    """An input that does not fit is refused before anything is recorded."""
    bench.write("workflows/a.yaml", GREET.format(id="greet"))
    workflows = bench.open(worker=False)

    with pytest.raises(InputError, match='did you mean "name"'):
        workflows.start("greet", {"nam": "x"})

    assert workflows.executions() == ()


def test_executions_are_filtered_and_limited(bench: Bench) -> None:
    """The newest come first; workflow and status narrow the list."""
    bench.write("workflows/a.yaml", GREET.format(id="aaa"))
    bench.write("workflows/b.yaml", GREET.format(id="bbb"))
    workflows = bench.open()
    names = [workflows.run(workflow).id for workflow in ("aaa", "bbb", "aaa")]

    assert [row.id for row in workflows.executions()] == names[::-1]
    assert [row.id for row in workflows.executions(limit=1)] == names[2:]
    assert [row.id for row in workflows.executions(workflow="bbb")] == [names[1]]
    assert workflows.executions(status="failed") == ()
    with pytest.raises(UsageError, match='unknown status "done"; statuses: running, completed'):
        workflows.executions(status="done")


def test_a_terminated_execution_is_found_out(bench: Bench) -> None:
    """An end from outside is recorded with the state in Temporal."""
    workflows = bench.open()
    name = workflows.start(NAP)
    bench.call(bench.client.get_workflow_handle(name).terminate("enough"))

    corrected = workflows.reconcile()

    row = workflows.execution(name)
    assert (row.status, row.output, row.finished) == ("terminated", None, True)
    assert corrected in ((name,), ())  # the upkeep may have been faster
    assert workflows.reconcile() == ()


def test_waiting_finds_out_too(bench: Bench) -> None:
    """Waiting for a terminated execution ends, with its status."""
    workflows = bench.open()
    name = workflows.start(NAP)
    bench.call(bench.client.get_workflow_handle(name).terminate("enough"))

    assert workflows.wait(name, 20).status == "terminated"


def test_an_execution_without_history_is_closed_on_open(bench: Bench, store: Store) -> None:
    """A row that outlived Temporal's memory does not run for ever."""
    store.record_started(Execution("lost", "w", "1", "running", {}, timestamp()))

    workflows = bench.open(worker=False)
    workflows.reconcile()

    row = workflows.execution("lost")
    assert (row.status, row.error) == ("terminated", LOST)


def test_signals_to_ended_executions_are_conflicts(bench: Bench) -> None:
    """An execution that has ended takes no signals and is not canceled again."""
    bench.write("workflows/a.yaml", GREET.format(id="greet"))
    workflows = bench.open()
    ended = workflows.run("greet")

    with pytest.raises(ConflictError, match="has ended"):
        workflows.signal(ended.id, "go")
    assert workflows.cancel(ended.id) == ended


def test_signal_names_are_checked(bench: Bench) -> None:
    """A signal's name stays usable in paths."""
    with pytest.raises(UsageError, match='signal name "a/b"'):
        bench.open(worker=False).signal("any", "a/b")


@pytest.mark.parametrize("migrated", [False, True])
def test_failed_opening_of_workflows_leaves_nothing(bench: Bench, tmp_path: Path, migrated: bool) -> None:
    """If the database or Temporal is unavailable, the import path is restored, and nothing keeps running."""
    away = peewee.SqliteDatabase(str(tmp_path / "no" / "such" / "folder.db"))
    nowhere = bench.call(Client.connect("127.0.0.1:1", lazy=True))
    client, database = (nowhere, bench.database) if migrated else (bench.client, away)
    settings = WorkflowSettings(directory=str(tmp_path), task_queue=bench.task_queue)
    path, tasks = list(sys.path), asyncio.all_tasks(bench.loop.loop)

    with pytest.raises(UnavailableError, match="is not available"):
        Workflows(client, database, bench.loop, settings).open()

    assert sys.path == path
    left = {task.get_name() for task in asyncio.all_tasks(bench.loop.loop) - tasks}
    assert [name for name in left if name.startswith("compozy")] == []


def test_nothing_is_started_while_the_database_is_away(bench: Bench, store: Store, tmp_path: Path) -> None:
    """An execution without a row is not started: the client gets a clear answer and may try again."""
    away = Store(peewee.SqliteDatabase(str(tmp_path / "no" / "such" / "folder.db")))
    service = Service(bench.client, away, task_queue=bench.task_queue, directory=str(tmp_path))

    with pytest.raises(UnavailableError, match="database is not available"):
        bench.call(service.start(NAP, execution_id="never"))

    service.close()
    with pytest.raises(RPCError, match="not found"):
        bench.call(bench.client.get_workflow_handle("never").describe())


def test_terminate_ends_an_execution_at_once(bench: Bench) -> None:
    """A terminated execution has its reason in the row; terminating it again changes nothing."""
    workflows = bench.open(worker=False)
    name = workflows.start(NAP)

    ended = workflows.terminate(name)

    assert (ended.status, ended.error) == ("terminated", "terminated by request")
    assert workflows.terminate(name) == ended
    with pytest.raises(NotFoundError):
        workflows.terminate("nope")


def test_an_unanswered_cancellation_becomes_a_termination(bench: Bench, store: Store) -> None:
    """An execution that no worker lets answer is terminated after the patience, with the reason."""
    service = Service(bench.client, store, task_queue=bench.task_queue, directory="/", cancel_patience_s=0.1)
    name = bench.call(service.start(NAP))

    bench.call(service.cancel(name))
    eventually(lambda: bench.call(service.execution(name)).finished)

    ended = bench.call(service.execution(name))
    assert (ended.status, ended.error) == ("terminated", "it did not answer its cancellation within 0.1 s")
    bench.call(service.stop())
    service.close()


def test_the_retention_removes_old_executions(bench: Bench, store: Store) -> None:
    """The upkeep deletes what ended before the retention; without one nothing is deleted."""
    old = Execution("old", "w", "1", "completed", {}, "2001-01-01T00:00:00.000000Z", "2001-01-01T00:00:01.000000Z")
    for row in (old, replace(old, id="open", status="running", finished_at=None)):
        store.correct(row)
    kept = Service(bench.client, store, task_queue=bench.task_queue, directory="/")
    assert bench.call(kept.prune()) == Pruned(0, None)
    kept.close()

    bench.open(worker=False, retention_s=3600.0)

    eventually(lambda: store.execution("old") is None)
    assert store.execution("open") is not None


def test_wait_returns_announced_end_without_temporal(bench: Bench, store: Store, tmp_path: Path) -> None:
    """The worker of this process wrote the final row: its announcement ends the wait, not Temporal's answer."""
    bench.open()
    ends = Ends()
    service = Service(bench.client, store, task_queue="without-worker", directory=str(tmp_path), ends=ends)

    async def wait() -> Execution:
        name = await service.start(SHORT)
        waiting = asyncio.ensure_future(service.wait(name, 20))
        await asyncio.sleep(0)
        row = replace(await service.execution(name), status="completed", finished_at=timestamp())
        await asyncio.to_thread(store.record_finished, row)
        ends.announce(row)
        return await waiting

    row = bench.call(wait())
    assert row.status == "completed"
    bench.call(bench.client.get_workflow_handle(row.id).terminate())
    service.close()


def test_wait_returns_an_end_reached_in_another_worker(bench: Bench, store: Store, tmp_path: Path) -> None:
    """An execution whose end is not announced in this process is asked for at Temporal."""
    bench.open()
    service = Service(bench.client, store, task_queue=bench.task_queue, directory=str(tmp_path), ends=Ends())
    name = bench.call(service.start(SHORT))
    assert bench.call(service.wait(name, 20)).status == "completed"
    service.close()


def test_worker_announces_final_row(bench: Bench, store: Store) -> None:
    """The future of an execution is set when its worker has written its final row, which can then be read."""
    ends = Ends()
    worker = WorkerHost(bench.client, store, task_queue=bench.task_queue, directory=str(bench.directory), ends=ends)
    service = Service(bench.client, store, task_queue=bench.task_queue, directory="/", ends=ends)

    async def announced() -> Execution:
        await worker.start()
        final = ends.future("short-1")
        await service.start(SHORT, execution_id="short-1")
        row = await asyncio.wait_for(final, 20)
        await worker.stop()
        assert row == await service.execution("short-1")
        return row

    assert bench.call(announced()).status == "completed"
    service.close()
