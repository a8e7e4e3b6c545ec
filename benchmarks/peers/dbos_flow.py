"""DBOS on SQLite: its functions run in this process."""
# mypy: allow-untyped-decorators

import sys
import time

from dbos import DBOS

DBOS(config={"name": "peers", "system_database_url": "sqlite:///dbos.sqlite", "log_level": "ERROR"})


@DBOS.step()
def step(name: str) -> str:
    """Do the trivial step."""
    return name


@DBOS.workflow()
def flow(name: str) -> str:
    """Run the step."""
    return str(step(name))


if __name__ == "__main__":
    DBOS.launch()
    flow("first")
    print("first", flush=True)
    count = int(sys.argv[1])
    began = time.perf_counter()
    for handle in [DBOS.start_workflow(flow, f"w{number}") for number in range(count)]:
        handle.get_result()
    print(count / (time.perf_counter() - began), flush=True)
    DBOS.destroy()
