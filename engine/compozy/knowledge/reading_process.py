"""Read content in a process of its own, within limits of time and memory.

The content comes from standard input, and the extract goes to standard output as JSON. The process sees no secret of
the environment; a parser that content makes it crash, loop or grow ends with the process.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import subprocess
import sys
import tempfile

import msgspec

from compozy.knowledge.bases import ReadLimits
from compozy.knowledge.documents import Extract, UnreadableDocument
from compozy.knowledge.html_reader import read_html
from compozy.knowledge.pdf_reader import read_pdf

_MODULE = "compozy.knowledge.reading_process"
# What Python needs to start as this one did; everything else may be a secret.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME")
_REFUSED = 3


class _Refusal(msgspec.Struct):
    reason: str
    fix: str


def read_in_process(kind: str, content: bytes, limits: ReadLimits, encoding: str = "") -> Extract:
    """Return the extract of an HTML page (`html`) or a PDF (`pdf`).

    Raises:
        UnreadableDocument: the reader refuses it, or reaches a limit.
    """
    command = [sys.executable, "-P", "-m", _MODULE, kind, encoding, str(limits.memory_bytes), f"{limits.timeout_s:g}"]
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # A file in place of a pipe: its size is limited by RLIMIT_FSIZE and nothing has to be held in memory.
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                command, input=content, stdout=output, stderr=subprocess.DEVNULL, env=environment,
                timeout=limits.timeout_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise _slow(limits) from error
        # A small document may unpack to a large text.
        if output.seek(0, os.SEEK_END) > limits.size_bytes:
            reason = f"its text is larger than {limits.size_bytes} bytes"
            raise UnreadableDocument(reason, "divide the document, or raise knowledge.read.max_size")
        output.seek(0)
        answer = output.read()
    if done.returncode == 0:
        return msgspec.json.decode(answer, type=Extract)
    if done.returncode == _REFUSED:
        refusal = msgspec.json.decode(answer, type=_Refusal)
        raise UnreadableDocument(refusal.reason, refusal.fix)
    raise _ended(done.returncode, limits)


def _slow(limits: ReadLimits) -> UnreadableDocument:
    reason = f"its reader took longer than {limits.timeout_s:g} s"
    return UnreadableDocument(reason, "divide the document, or raise knowledge.read.timeout")


def _large(limits_bytes: int) -> UnreadableDocument:
    reason = f"its reader needs more memory than {limits_bytes} bytes"
    return UnreadableDocument(reason, "divide the document, or raise knowledge.read.memory")


def _ended(status: int, limits: ReadLimits) -> UnreadableDocument:
    # The kernel sends SIGXCPU at the soft limit of processor time and SIGKILL at the hard one, which are equal here.
    if -status in (signal.SIGXCPU, signal.SIGKILL):
        return _slow(limits)
    ended = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    reason = f"its reader ended with {ended}, as damaged documents and those that need too much memory cause"
    return UnreadableDocument(reason, "save or export it anew, or raise knowledge.read.memory")


def main(kind: str, encoding: str, memory_bytes: int, timeout_s: float) -> int:
    """Read the document on standard input; return the exit status."""
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, memory_bytes),
        (resource.RLIMIT_CPU, math.ceil(timeout_s)),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        # A process without privileges cannot raise a hard limit.
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    try:
        content = sys.stdin.buffer.read()
        answer = msgspec.json.encode(read_pdf(content) if kind == "pdf" else read_html(content, encoding or None))
    except (UnreadableDocument, MemoryError) as error:
        refused = error if isinstance(error, UnreadableDocument) else _large(memory_bytes)
        sys.stdout.buffer.write(msgspec.json.encode(_Refusal(refused.reason, refused.fix)))
        return _REFUSED
    sys.stdout.buffer.write(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
