"""The output of `compozy start` on a terminal, in each mode."""

from __future__ import annotations

import re
import signal
import subprocess

import pytest
from tests.support.golden_files import check_golden
from tests.support.polling import DEADLINE_S

from .conftest import COMPOZY, Shell, environment

pytestmark = pytest.mark.e2e

SETTINGS = {
    "memory": ["--mode", "memory"],
    "persistent": ["--mode", "persistent"],
    "distributed": ["--mode", "distributed"],
    "mixed": ["--mode", "memory", "--redis-mode", "persistent"],
}


@pytest.mark.parametrize("mode", SETTINGS)
def test_banner_is_the_golden_one(shell: Shell, mode: str, request: pytest.FixtureRequest) -> None:
    reached = request.getfixturevalue("services").settings() if mode == "distributed" else {}
    arguments = [COMPOZY, "start", *SETTINGS[mode], "--port", "0"]
    with subprocess.Popen(
        arguments, cwd=shell.directory, env=environment(shell.runtime, reached), stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        lines = []
        for line in process.stdout or ():
            lines.append(line)
            if line.startswith("Run a workflow"):
                break
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    words = {
        re.escape(str(shell.directory)): "<project>", r"\d+\.\d\d s": "<time>",
        r"127\.0\.0\.1:\d+": "127.0.0.1:<port>", r"token=\S+": "token=<token>", r"project_\w+": "<database>",
        r"/\S+/compozy-valkey-\d+": "/tmp/compozy-valkey-<number>",
    }  # fmt: skip
    check_golden(f"{mode}/start", "".join(lines), words)
