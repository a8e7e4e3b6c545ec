"""Installation of the pinned requirements: uv configured as pip is, and pip where uv does not work."""

from __future__ import annotations

import sys
from pathlib import Path
from runpy import run_path

import pytest

TOOL = str(Path(__file__).parents[2] / "tools" / "install.py")
# Stands for pip and uv: notes its arguments, and fails if they contain the word.
PROGRAM = """#!/bin/sh
echo "$(basename "$0") $*" >>{log}
case "$*" in *"config list"*) printf "%s" "{listed}";; *{failing}*) exit 3;; esac
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, failing: str, listed: str = "") -> tuple[int, list[str]]:
    """Return the exit code of an installation with two programs of our own, and what it called."""
    for name in ("python", "uv"):
        program = folder / name
        program.write_text(PROGRAM.format(log=folder / "log", failing=failing, listed=listed))
        program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    code = run_path(TOOL)["main"]("wanted.txt")
    lines = (folder / "log").read_text().splitlines()
    return code, [f"{line.split()[0]} {Path(line.split()[-1]).name}" for line in lines if "config list" not in line]


@pytest.mark.parametrize(
    ("failing", "listed", "code", "called"),
    [
        pytest.param("nothing", "", 0, ["python constraints-installer.txt", "uv wanted.txt"], id="uv"),
        pytest.param("only-binary", "", 0, ["python constraints-installer.txt", "python wanted.txt"], id="no uv"),
        pytest.param(
            "compile-bytecode", "", 0, ["python constraints-installer.txt", "uv wanted.txt", "python wanted.txt"],
            id="uv fails",
        ),
        pytest.param("nothing", "global.no-index='1'", 0, ["python wanted.txt"], id="index forbidden"),
        pytest.param(
            "require-hashes", "", 3, ["python constraints-installer.txt", "python wanted.txt"], id="both fail"
        ),
    ],
)  # fmt: skip
def test_install_falls_back_to_pip(
    failing: str, listed: str, code: int, called: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert install(tmp_path, monkeypatch, failing, listed) == (code, called)


LISTED = r"""
:env:.cert='/etc/own.pem'
:env:.index-url='https://user:word@own.test/simple'
:env:.disable-pip-version-check='1'
global.cert='/etc/other.pem'
global.extra-index-url='\nhttps://one.test/simple\nhttps://two.test/simple'
global.index-url='https://other.test/simple'
install.find-links='/a /b'
"""


def test_uv_gets_the_configuration_of_pip() -> None:
    assert run_path(TOOL)["uv_environment"](LISTED, {"UV_INDEX_STRATEGY": "first-index", "HOME": "/root"}) == {
        "HOME": "/root", "SSL_CERT_FILE": "/etc/own.pem", "UV_DEFAULT_INDEX": "https://user:word@own.test/simple",
        "UV_FIND_LINKS": "/a,/b", "UV_INDEX": "https://one.test/simple https://two.test/simple",
        "UV_INDEX_STRATEGY": "first-index",
    }  # fmt: skip
