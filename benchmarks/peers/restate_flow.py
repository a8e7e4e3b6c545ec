"""Restate: its server with its data in this directory, and a Python service behind hypercorn."""
# mypy: allow-untyped-decorators

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import restate

INGRESS, ADMIN, NODE, SERVICE = (f"127.0.0.1:{port}" for port in (18080, 19070, 15122, 19080))
one = restate.Workflow("one")


@one.main()
async def run(context: restate.WorkflowContext, name: str) -> str:
    """Run the trivial step."""
    return str(await context.run_typed("step", lambda: name))


app = restate.app([one])


def call(url: str, content: object) -> None:
    """Post JSON until the server answers, at most for 60 s."""
    body = urllib.request.Request(url, json.dumps(content).encode(), {"content-type": "application/json"})
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(body, timeout=60).read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@contextmanager
def servers() -> Iterator[None]:
    """Run the server and the service."""
    variables = {**os.environ, "RESTATE_INGRESS__BIND_ADDRESS": INGRESS, "RESTATE_ADMIN__BIND_ADDRESS": ADMIN}
    variables |= {"RESTATE_BIND_ADDRESS": NODE, "RESTATE_LISTEN_MODE": "tcp", "PYTHONPATH": os.path.dirname(__file__)}
    commands = (["restate-server", "--base-dir", "data"], ["hypercorn", "--bind", SERVICE, "restate_flow:app"])
    started = [
        subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    try:
        yield
    finally:
        for server in started:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    with servers():
        call(f"http://{ADMIN}/deployments", {"uri": f"http://{SERVICE}"})
        call(f"http://{INGRESS}/one/first/run", "first")
        print("first", flush=True)
        count = int(sys.argv[1])
        ready = threading.Barrier(count + 1)

        def start(number: int) -> None:
            """Run one workflow together with the others."""
            ready.wait()
            call(f"http://{INGRESS}/one/w{number}/run", "x")

        with ThreadPoolExecutor(count) as pool:
            calls = [pool.submit(start, number) for number in range(count)]
            ready.wait()
            began = time.perf_counter()
        for ended in calls:
            ended.result()
        print(count / (time.perf_counter() - began), flush=True)
