"""Tools in separate processes: the same results and failures, and isolation of the other tools."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.polling import eventually

from compozy.workflows.model.tool_failure import ToolFailure
from compozy.workflows.run.tool_loader import ToolOffer, Tools

SECRETS = {"TOKEN": "s3cr3t-word", "SHORT": "abc"}
SOURCE = """
import os, pathlib, signal, subprocess, sys, threading, time
from compozy.tools import component, secret
def add(a, b=1):
    print("noise")
    subprocess.run(["echo", "more noise"])
    return [a + b, os.getpid()]
async def later(a):
    return a
def fails():
    raise ValueError("no")
def exits():
    os._exit(7)
def dies():
    os.kill(os.getpid(), signal.SIGKILL)
def spins(mark):
    child = subprocess.Popen(["sleep", "600"])
    pathlib.Path(mark).write_text(f"{os.getpid()} {child.pid}")
    while True:
        pass
def closes():
    os.closerange(0, 3)
    return "closed"
def large(text):
    return text
def returned_key():
    return {"env": os.environ["TOKEN"], "read": "Bearer " + secret("TOKEN"), secret("SHORT"): len(secret("TOKEN"))}
def forks():
    child = os.fork()
    if not child:
        time.sleep(600)
    return child
def forks_and_exits():
    if not os.fork():
        time.sleep(600)
    os._exit(7)
def leaves_thread():
    threading.Thread(target=time.sleep, args=(600,)).start()
    print("last words")
    return os.getpid()
def handle():
    return component("redis")
"""


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    """Return the tools of a project."""
    (tmp_path / "mod_apart.py").write_text(SOURCE)
    (tmp_path / "json.py").write_text("raise RuntimeError('not the project's')\n")
    made = Tools(str(tmp_path), ToolOffer(allowed=["mod_apart:*"], secrets=SECRETS)).open()
    yield made
    made.close()


def call(tools: Tools, name: str, **arguments: Any) -> Any:
    """Call a tool in a process of its own and wait for it."""
    return asyncio.run(tools.call_apart(f"mod_apart:{name}", arguments))


def test_results_come_back_without_the_output(tools: Tools, capfd: pytest.CaptureFixture[str]) -> None:
    """The value returns; what the tool and its children print goes to stderr."""
    total, pid = call(tools, "add", a=2)

    assert (total, call(tools, "later", a=[1])) == (3, [1])
    assert pid != os.getpid()
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "kind", "reason", "final"),
    [
        pytest.param("fails", "ValueError", "no", False, id="raises"),
        pytest.param("exits", "ToolProcess", "its worker ended: exit status 7", False, id="exits"),
        pytest.param("forks_and_exits", "ToolProcess", "its worker ended: exit status 7", False, id="leaves-child"),
        pytest.param("dies", "ToolProcess", "its worker ended: signal SIGKILL", False, id="killed"),
        pytest.param("nope", "ToolNotFound", 'defines no function "nope"', True, id="unknown"),
        pytest.param("add", "ToolArguments", "does not take them", True, id="arguments"),
        pytest.param("handle", "NotFoundError", "a tool in a process of its own has no", False, id="component"),
    ],
)
def test_failures_are_those_of_the_tool(tools: Tools, name: str, kind: str, reason: str, final: bool) -> None:
    """Failures have kind, reason and finality as in a thread; an end without a result is one too."""
    with pytest.raises(ToolFailure) as caught:
        call(tools, name)

    assert (caught.value.kind, caught.value.final) == (kind, final)
    assert reason in caught.value.reason


def test_closed_descriptors_of_a_tool_do_not_harm_other_tools(tools: Tools) -> None:
    """Standard descriptors that a tool closes are its own."""
    assert call(tools, "closes") == "closed"
    assert call(tools, "add", a=1)[0] == 2


@pytest.mark.parametrize("name", ["forks", "leaves_thread"])
def test_result_does_not_wait_for_background_work_of_the_tool(
    tools: Tools, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A forked child or a thread is killed after the result; output is complete."""
    left = call(tools, name)

    eventually(lambda: not _runs(left))
    assert name == "forks" or "last words" in capfd.readouterr().err


def test_large_arguments_and_results_pass(tools: Tools) -> None:
    """Values larger than the buffer of a pipe arrive."""
    assert call(tools, "large", text="x" * 900_000) == "x" * 900_000


def test_a_cancelled_call_kills_the_process_and_its_children(tools: Tools, tmp_path: Path) -> None:
    """Giving a call up ends the whole process group."""
    mark = tmp_path / "spins"

    async def cancel_it() -> None:
        calling = asyncio.create_task(tools.call_apart("mod_apart:spins", {"mark": str(mark)}))
        while not (mark.exists() and mark.read_text()):
            await asyncio.sleep(0.01)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling

    asyncio.run(cancel_it())

    eventually(lambda: not any(_runs(int(pid)) for pid in mark.read_text().split()))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_secrets_are_readable_and_redacted_in_the_result(tools: Tools) -> None:
    """A tool reads secrets from its environment and by name; results do not hold them."""
    redacted = {"env": "[REDACTED]", "read": "Bearer [REDACTED]", "abc": 11}

    assert call(tools, "returned_key") == redacted
