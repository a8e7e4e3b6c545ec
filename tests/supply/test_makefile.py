"""The Makefile checks the Python version before it installs anything."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A Python that claims another version; the code that it is given runs unchanged.
FAKE = """#!/bin/sh
if [ "$1" != -c ]; then echo "installs: $*"; exit 7; fi
exec {python} -c 'import sys; sys.version_info = {version}; exec(sys.argv[1])' "$2"
"""


def make(target: str, version: tuple[int, ...], folder: Path) -> subprocess.CompletedProcess[str]:
    python = folder / "python"
    python.write_text(FAKE.format(python=shlex.quote(sys.executable), version=version))
    python.chmod(0o755)
    command = ["make", "--no-print-directory", target, f"PYTHON={python}", f"VENV={folder / 'venv'}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("target", ["start", "test", "lint", "bench"])
@pytest.mark.parametrize(("version", "shown"), [((3, 11, 2), "3.11.2"), ((2, 7, 18), "2.7.18")])
def test_make_rejects_an_old_python_before_it_installs(
    target: str, version: tuple[int, ...], shown: str, tmp_path: Path
) -> None:
    result = make(target, version, tmp_path)
    assert result.returncode != 0
    assert f"Compozy needs Python 3.11.4 or newer; this is {shown}\n" in result.stderr
    assert "installs" not in result.stdout
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("version", [(3, 11, 4), (3, 12, 0), (3, 13, 1)])
def test_make_accepts_a_supported_python(version: tuple[int, ...], tmp_path: Path) -> None:
    assert f"installs: -m venv {tmp_path / 'venv'}" in make("start", version, tmp_path).stdout


def test_make_start_installs_the_runtime_only() -> None:
    command = ["make", "--dry-run", "start", "VENV=/nonexistent/venv"]
    planned = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "constraints-runtime.txt" in planned
    assert "constraints.txt" not in planned
