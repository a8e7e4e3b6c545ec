"""The process that `kill_sweep` kills: writes and acknowledges line by line, or verifies the acknowledgements.

It reads the acknowledgements of the last life on stdin and reports what is lost or stuck. Then, given a prefix for
names, it writes rows, keys of every type and workflows until it is killed; each line is an acknowledgement.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import compozy
from compozy.server.stack import Stack
from compozy.workflows.read.loader import parse_definition

WORKFLOW = """
id: kill-sweep
input: {name: x}
tasks:
  - {id: first, type: aggregate, output: "{{ workflow.input.name }}"}
  - {id: second, type: aggregate, sleep: 300ms, output: "{{ tasks.first.output }}-done"}
outputs: {result: "{{ tasks.second.output }}"}
"""
TTL_S = 3600
PATIENCE_S = 45.0
_LINES = threading.Lock()


def report(**event: Any) -> None:
    """Write one line, whole."""
    with _LINES:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def open_stack() -> Stack:
    """Bring up persistent mode in the working directory."""
    lifecycle = compozy.load(
        settings={
            "mode": "persistent", "temporal.standalone.enable_ui": False, "worker.max_concurrent_workflows": 10,
        },
        environment={},
    )  # fmt: skip
    lifecycle.resolve()
    lifecycle.validate()
    return Stack(lifecycle, notice=lambda line: None).open(serve=False)


def write(stack: Stack, prefix: str) -> None:
    """Write to every store at once until the process is killed."""
    writers = (write_row, write_key, run_workflow)
    threads = [threading.Thread(target=_forever, args=(writer, stack, prefix)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _forever(writer: Callable[[Stack, str], str], stack: Stack, prefix: str) -> None:
    number = 0
    while True:
        name = writer(stack, f"{prefix}-{number}")
        report(event="written", kind=writer.__name__.partition("_")[2], name=name)
        number += 1
        time.sleep(0.002)


def write_row(stack: Stack, name: str) -> str:
    """Commit one row."""
    database: Any = stack.runtime.database
    with database.connection_context(), database.atomic("IMMEDIATE"):
        database.execute_sql("INSERT INTO sweep (name) VALUES (?)", (name,))
    return name


KINDS = ("string", "hash", "list", "set", "zset", "stream")


def write_key(stack: Stack, name: str) -> str:
    """Write one key; its type is chosen by its number, and it has a time to live."""
    redis, kind = stack.runtime.redis, KINDS[int(name.rpartition("-")[2]) % len(KINDS)]
    key = f"{kind}:{name}"
    write_kind: dict[str, Callable[[], Any]] = {
        "string": lambda: redis.set(key, name, ex=TTL_S),
        "hash": lambda: redis.hset(key, "value", name),
        "list": lambda: redis.rpush(key, name),
        "set": lambda: redis.sadd(key, name),
        "zset": lambda: redis.zadd(key, {name: 1.5}),
        "stream": lambda: redis.xadd(key, {"value": name}),
    }
    write_kind[kind]()
    redis.expire(key, TTL_S)
    return key


def run_workflow(stack: Stack, name: str) -> str:
    """Start one workflow; the id is the acknowledgement."""
    definition = parse_definition(WORKFLOW, "kill-sweep.yaml")
    time.sleep(0.02)
    return stack.workflows.start(definition, {"name": name}, execution_id=f"sweep-{name}")


def verify(stack: Stack, written: list[tuple[str, str]]) -> None:
    """Compare the stores with the acknowledgements, and report what is lost or stuck."""
    named = {kind: [name for other, name in written if other == kind] for kind in ("row", "key", "workflow")}
    database = stack.runtime.database
    rows = {row[0] for row in database.execute_sql("SELECT name FROM sweep").fetchall()}
    lost = [f"row {name}" for name in named["row"] if name not in rows]
    lost += [f"key {name}" for name in named["key"] if not key_is_there(stack, name)]
    known = {row.id for row in stack.workflows.executions(limit=1000)}
    lost += [f"workflow {name}" for name in named["workflow"] if name not in known and not _listed(stack, name)]
    doubled = [f"key {name}" for name in named["key"] if entries(stack, name) > 1]
    stuck = [name for name in named["workflow"] if not finishes(stack, name)]
    report(event="verified", lost=lost, doubled=doubled, stuck=stuck)


def entries(stack: Stack, key: str) -> int:
    """Return how many entries a list or stream holds; one that was written twice holds two."""
    redis, kind = stack.runtime.redis, key.partition(":")[0]
    return int({"list": redis.llen, "stream": redis.xlen}.get(kind, lambda _: 1)(key))


def _listed(stack: Stack, name: str) -> bool:
    return stack.workflows.execution(name).id == name


def key_is_there(stack: Stack, key: str) -> bool:
    """Return True if a key has its value and its time to live."""
    redis = stack.runtime.redis
    kind, _, name = key.partition(":")
    value = name.encode()
    read_kind: dict[str, Callable[[], Any]] = {
        "string": lambda: redis.get(key) == value,
        "hash": lambda: redis.hget(key, "value") == value,
        "list": lambda: redis.lrange(key, 0, -1) == [value],
        "set": lambda: redis.smembers(key) == {value},
        "zset": lambda: redis.zscore(key, name) == 1.5,
        "stream": lambda: [entry[1] for entry in redis.xrange(key)] == [{b"value": value}],
    }
    return bool(read_kind[kind]()) and 0 < redis.ttl(key) <= TTL_S


def finishes(stack: Stack, name: str) -> bool:
    """Return True if an execution completes with the right output."""
    row = stack.workflows.wait(name, PATIENCE_S)
    return row.status == "completed" and row.output == {"result": f"{row.input['name']}-done"}


def main() -> None:
    """Verify, then write until killed if a prefix is given."""
    written = json.loads(sys.stdin.readline())
    stack = open_stack()
    try:
        stack.runtime.database.execute_sql("CREATE TABLE IF NOT EXISTS sweep (name TEXT PRIMARY KEY)")
        verify(stack, written)
        if sys.argv[1]:
            write(stack, sys.argv[1])
    finally:
        stack.close()


if __name__ == "__main__":
    main()
