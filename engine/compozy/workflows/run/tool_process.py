"""Run tools in processes of their own: `python -m compozy.workflows.run.tool_process REQUEST RESULT`.

A tool that ends its process, holds the interpreter or is given up harms no other one: the caller kills the process with
everything that it started. The process ends by itself when its caller does, whose end of the request then closes.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from io import BufferedReader

from compozy.base.record import dataclass
from compozy.errors import NotFoundError
from compozy.workflows.model.tool_failure import ToolFailure

_MODULE = "compozy.workflows.run.tool_process"
_END = b"\n"


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """One call: the project and what of it may be called, the tool with its arguments, and the secrets it may read."""

    directory: str
    tool: str
    arguments: Mapping[str, object]
    allowed: Sequence[str] | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def to_json(self) -> str:
        """Return the request as one line."""
        found = {name: getattr(self, name) for name in ("directory", "tool", "arguments", "secrets")}
        return json.dumps({**found, "allowed": None if self.allowed is None else list(self.allowed)}) + "\n"


async def call_in_process(request: ToolRequest) -> object:
    """Call a tool in a process of its own, whose output goes to our stderr.

    Raises:
        ToolFailure: see `Tools.call`; or the process ended without a result.
        asyncio.CancelledError: this call was cancelled; the process is killed.
    """
    # Two pipes of their own, because standard input and output belong to the tool and what it prints.
    request_read, request_write = os.pipe()
    result_read, result_write = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", _MODULE, str(request_read), str(result_write), stdin=asyncio.subprocess.DEVNULL,
            stdout=_error_output(), env={**os.environ, **request.secrets}, cwd=request.directory,
            pass_fds=(request_read, result_write), start_new_session=True,
        )  # fmt: skip
    except BaseException:
        # The child was not started, so no transport will own these ends; the others are closed below.
        os.close(request_write)
        os.close(result_read)
        raise
    finally:
        os.close(request_read)
        os.close(result_write)
    requests = await _write_pipe(request_write)
    reader, results = await _read_pipe(result_read)
    try:
        requests.write(request.to_json().encode())
        # Until the pipe ends: forked children close their copy of it, so that they do not delay the result.
        answer = await reader.read()
        # With an answer the call is over; threads and children that the tool left running are killed below.
        return _result(answer, 0 if answer.endswith(_END) else await process.wait())
    finally:
        requests.close()
        results.close()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _write_pipe(descriptor: int) -> asyncio.WriteTransport:
    pipe = open(descriptor, "wb", buffering=0)  # noqa: SIM115 - the transport closes it
    transport, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, pipe)
    return transport


async def _read_pipe(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    reader, pipe = asyncio.StreamReader(), open(descriptor, "rb", buffering=0)  # noqa: SIM115 - the transport closes it
    connecting = asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    transport, _ = await connecting
    return reader, transport


def _result(answer: bytes, status: int) -> object:
    if not answer.endswith(_END):
        ended = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        raise ToolFailure("ToolProcess", f"its worker ended: {ended}")
    found = json.loads(answer)
    if "failure" in found:
        raise ToolFailure(**found["failure"])
    return found["result"]


def _error_output() -> int:
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return asyncio.subprocess.DEVNULL


def main(request_read: int, result_write: int) -> None:
    """Serve one request and end."""
    from compozy.settings.reference import project_code

    # Programs that the tool starts must not keep the pipes open after this process has ended.
    os.set_inheritable(request_read, False)
    os.set_inheritable(result_write, False)
    # The caller reads until the pipe ends, so a forked child of the tool must not keep it open.
    os.register_at_fork(after_in_child=lambda: os.close(result_write))
    requests = open(request_read, "rb")  # noqa: SIM115 - open as long as the process lives
    request = ToolRequest(**json.loads(requests.readline()))
    # The caller may be killed: then the request pipe ends, which is the only sign that needs no polling.
    threading.Thread(target=_end_with_caller, args=(requests,), daemon=True).start()
    with project_code(allowed=True):
        answer = asyncio.run(_answer(request))
    # The tool may have closed the stream.
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(BrokenPipeError), open(result_write, "wb") as results:
        results.write(json.dumps(answer).encode() + _END)


def _end_with_caller(requests: BufferedReader) -> None:
    requests.read()
    os.killpg(0, signal.SIGKILL)


async def _answer(request: ToolRequest) -> dict[str, object]:
    from compozy.workflows.run.tool_loader import ToolOffer, Tools

    tools = Tools(request.directory, ToolOffer(_no_components, request.allowed, request.secrets)).open()
    try:
        return {"result": await tools.call(request.tool, request.arguments)}
    except ToolFailure as failure:
        return {"failure": {"kind": failure.kind, "reason": failure.reason, "final": failure.final}}


def _no_components(name: str) -> object:
    hint = "connect by its address, or leave isolation: process away"
    raise NotFoundError("component", name, hint=f"a tool in a process of its own has no components: {hint}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
