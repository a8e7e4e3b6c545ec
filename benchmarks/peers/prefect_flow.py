"""Prefect with the server that it starts itself, on SQLite below PREFECT_HOME."""
# mypy: allow-untyped-decorators

import asyncio
import sys
import time

from prefect import flow, task


@task
async def step(name: str) -> str:
    """Do the trivial step."""
    return name


@flow
async def one(name: str) -> str:
    """Run the step."""
    return str(await step(name))


async def main(count: int) -> None:
    """Run one flow, then `count` at once."""
    await one("first")
    print("first", flush=True)
    began = time.perf_counter()
    await asyncio.gather(*(one(f"w{number}") for number in range(count)))
    print(count / (time.perf_counter() - began), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
