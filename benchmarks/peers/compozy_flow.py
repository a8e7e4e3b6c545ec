"""Compozy in persistent mode: Temporal, Valkey and SQLite on files, from the Python API."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import compozy

WORKFLOW = 'id: one\ninput: {name: x}\ntasks: [{id: a, type: aggregate, output: "{{ workflow.input.name }}"}]\n'

if __name__ == "__main__":
    Path("workflows").mkdir()
    Path("workflows/one.yaml").write_text(WORKFLOW, encoding="utf-8")
    with compozy.load(settings={"mode": "persistent"}).provision() as runtime:
        runtime.workflows.run("one", {"name": "first"})
        print("first", flush=True)
        count = int(sys.argv[1])
        began = time.perf_counter()
        with ThreadPoolExecutor(count) as pool:
            ended = list(pool.map(lambda number: runtime.workflows.run("one", {"name": f"w{number}"}), range(count)))
        print(count / (time.perf_counter() - began), flush=True)
    if any(one.status != "completed" for one in ended):
        raise SystemExit("a workflow did not complete")
