"""Workflows a second in persistent mode beside raw Temporal on a file, with its default pragmas and with Compozy's.

Every workflow does one trivial step and records nothing beside Temporal in the raw cases; ours also writes its row.
The number is that of workflows started at the same time; those that start alone are repeated. The default pragmas are
left out above 50, where they would take minutes.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

import compozy
from benchmarks.measurement import Measurement
from benchmarks.start import BIN, free_port, wait_for_port
from compozy.server.stack import Stack
from compozy.workflows.read.loader import parse_definition

OURS = ("--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL")
ALONE = 20
DEFINITION = parse_definition(
    'id: step\ninput: {name: x}\ntasks: [{id: a, type: aggregate, output: "{{ workflow.input.name }}"}]\n', "step.yaml"
)


@activity.defn
async def step(name: str) -> str:
    """Do the trivial step."""
    return name


@workflow.defn(sandboxed=False)
class OneStep:
    """A workflow of one activity."""

    @workflow.run
    async def run(self, name: str) -> str:
        """Run the step."""
        return await workflow.execute_activity(step, name, start_to_close_timeout=timedelta(seconds=30))


def run(short: bool) -> list[Measurement]:
    """Return workflows a second at each number; `short` leaves out 1, 200 and 1,000."""
    rows = []
    for count in (10, 50) if short else (1, 10, 50, 200, 1000):
        mine = ours(count)
        name = f"compozy persistent, {count} at once"
        if count <= 50:
            plain = asyncio.run(raw(count, ()))
            rows.append(Measurement(name, mine, "workflows/s", "raw Temporal on a file, its pragmas", plain))
        tuned = asyncio.run(raw(count, OURS))
        rows.append(Measurement(name, mine, "workflows/s", "raw Temporal on a file, our pragmas", tuned))
    return rows


def rounds(count: int) -> int:
    """Return how often a number of workflows is started."""
    return ALONE if count == 1 else 1


async def raw(count: int, pragmas: Sequence[str]) -> float:
    """Return the workflows a second of a raw server and worker."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [str(BIN / "temporal"), "server", "start-dev", "--headless", "--port", str(port)]
        command += ["--log-level", "never", "--db-filename", f"{folder}/t.db", *pragmas]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_for_port(port)
            return await _raw_rate(await connected(port), count)
        finally:
            server.kill()
            server.wait()


async def connected(port: int) -> Client:
    """Return a client of the server on a loopback port, once it answers; wait for that at most 30 s."""
    deadline = time.monotonic() + 30
    while True:
        try:
            client = await Client.connect(f"127.0.0.1:{port}")
            await client.count_workflows()
            return client
        except (RPCError, RuntimeError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


async def _raw_rate(client: Client, count: int) -> float:
    async def one(name: str) -> str:
        return await client.execute_workflow(OneStep.run, name, id=f"{name}-{uuid.uuid4()}", task_queue="raw")

    runner = UnsandboxedWorkflowRunner()
    async with Worker(client, task_queue="raw", workflows=[OneStep], activities=[step], workflow_runner=runner):
        await one("warm")
        began = time.perf_counter()
        for _ in range(rounds(count)):
            await asyncio.gather(*(one(f"w{number}") for number in range(count)))
        return count * rounds(count) / (time.perf_counter() - began)


def ours(count: int) -> float:
    """Return the workflows a second of the product, through its library."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"mode": "persistent", "temporal.standalone.enable_ui": False}
        lifecycle = compozy.load(directory=folder, settings=settings, environment={})
        lifecycle.resolve()
        lifecycle.validate()
        stack = Stack(lifecycle, notice=lambda line: print(line, file=sys.stderr)).open(serve=False)
        try:
            stack.workflows.run(DEFINITION, {"name": "warm"})
            began = time.perf_counter()
            with ThreadPoolExecutor(count) as pool:
                inputs = [{"name": f"w{number}"} for number in range(count * rounds(count))]
                rows = list(pool.map(lambda given: stack.workflows.run(DEFINITION, given), inputs))
            took = time.perf_counter() - began
        finally:
            stack.close()
        if any(row.status != "completed" for row in rows):
            raise SystemExit("a workflow did not complete")
        return len(rows) / took


if __name__ == "__main__":
    for row in run("--short" in sys.argv):
        print(Path(__file__).stem, row)
