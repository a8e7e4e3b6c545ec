"""Commands import no heavy library before its use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "temporalio",
    "redis",
    "fakeredis",
    "peewee",
    "psycopg2",
    "starlette",
    "uvicorn",
    "jinja2",
    "httpx",
    "asyncio",
}
PROBE = """
import sys
from compozy.cli.main import run
code = run(sys.argv[1:])
print(code, *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def imported(directory: Path, *args: str) -> set[str]:
    command = [sys.executable, "-c", PROBE, *args]
    # The measurement of coverage imports modules of its own.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=directory, env=variables)
    code, *modules = result.stderr.splitlines()[-1].split()
    assert code == "0"
    return set(modules)


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(["--help"], id="help"),
        pytest.param(["--version"], id="version"),
        pytest.param(["config", "show"], id="config-show"),
        pytest.param(["config", "validate", "--mode", "persistent"], id="config-validate"),
    ],
)
def test_reading_command_imports_no_server_library(args: list[str], tmp_path: Path) -> None:
    """Help and configuration answer at once because nothing heavy is loaded."""
    assert imported(tmp_path, *args) & HEAVY == set()


def test_help_does_not_import_the_configuration_engine(tmp_path: Path) -> None:
    """`compozy --help` lists the commands without reading a rule table; dataclasses alone would cost it 8 %."""
    assert imported(tmp_path, "--help") & {"yaml", "cerberus", "transitions", "dataclasses"} == set()


def test_library_import_loads_no_unused_module() -> None:
    """`import compozy` loads neither rules nor servers."""
    code = "import sys; import compozy; print(*{name.partition('.')[0] for name in sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(result.stdout.split()) & (HEAVY | {"yaml", "cerberus", "transitions"}) == set()
