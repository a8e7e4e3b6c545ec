"""Temporal's development server on a file, with its default pragmas, and a Python worker."""

import asyncio
import subprocess
import sys
import time

from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.start import free_port
from benchmarks.throughput import OneStep, connected, step


async def main(count: int) -> None:
    """Run one workflow, then `count` at once."""
    port = free_port()
    command = ["temporal", "server", "start-dev", "--headless", "--port", str(port), "--log-level", "never"]
    server = subprocess.Popen([*command, "--db-filename", "temporal.db"], stdout=subprocess.DEVNULL)
    try:
        client = await connected(port)

        async def one(name: str) -> str:
            return await client.execute_workflow(OneStep.run, name, id=name, task_queue="peers")

        runner = UnsandboxedWorkflowRunner()
        async with Worker(client, task_queue="peers", workflows=[OneStep], activities=[step], workflow_runner=runner):
            await one("first")
            print("first", flush=True)
            began = time.perf_counter()
            await asyncio.gather(*(one(f"w{number}") for number in range(count)))
            print(count / (time.perf_counter() - began), flush=True)
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
