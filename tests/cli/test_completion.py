"""Shell completion of commands, values and names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMPOZY = str(Path(sys.executable).parent / "compozy")


def offered(tmp_path: Path, *words: str) -> list[tuple[str, str]]:
    """Return kind and word of each offer, as the script of bash gets them."""
    variables = {"_COMPOZY_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    printed = subprocess.check_output([COMPOZY], env=variables, cwd=tmp_path, text=True)
    found = (line.partition(",") for line in printed.splitlines())
    return [(kind, word) for kind, _, word in found]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        pytest.param("st", [("plain", "start"), ("plain", "status")], id="command"),
        pytest.param("start --mode p", [("plain", "persistent")], id="mode"),
        pytest.param("start --db-driver ", [("plain", "postgres"), ("plain", "sqlite")], id="driver"),
        pytest.param("start --set server.p", [("plain", "server.port=")], id="setting"),
        pytest.param("config explain redis.mo", [("plain", "redis.mode")], id="key"),
        pytest.param("rules show redis.k", [("plain", "redis.kept")], id="table"),
        pytest.param("workflow run exa", [("file", "exa")], id="workflow-file"),
        pytest.param("start --config c", [("file", "c")], id="configuration-file"),
        pytest.param("start --cwd d", [("dir", "d")], id="directory"),
        pytest.param("restore b", [("file", "b")], id="backup"),
    ],
)
def test_completion_extends_the_typed_text(tmp_path: Path, typed: str, expected: list[tuple[str, str]]) -> None:
    """Commands, values, settings and tables by name; files and directories through the shell."""
    assert sorted(offered(tmp_path, "compozy", *typed.split(" "))) == expected
