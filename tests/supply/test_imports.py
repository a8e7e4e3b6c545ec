"""Commands import no heavy library before its use."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

SERVERS = {"fakeredis", "psycopg2", "redis", "starlette", "temporalio", "uvicorn"}
HEAVY = {*SERVERS, "asyncio", "httpx2", "jinja2", "peewee"}
PACKAGE = Path(__file__).parents[2] / "engine" / "compozy"
NO_SERVER = "http://127.0.0.1:9"
WORKFLOW = 'id: step\ntasks: [{id: a, type: aggregate, output: "1"}]\n'
PROBE = """
import sys
before = set(sys.modules)
from compozy.cli.main import run
code = run(sys.argv[1:])
print(code, *sorted(set(sys.modules) - before), file=sys.stderr)
"""
RULES = {"click", "transitions", "six"}
CLIENT = {*RULES, "msgspec", "typing_extensions"}
# command -> exit code, packages that it may import, and how many modules (the number measured, and seven)
TABLE: dict[str, tuple[int, set[str], int]] = {
    "--help": (0, {"click"}, 72),
    "--version": (0, {"click"}, 64),
    "config show": (0, RULES, 179),
    "config validate --mode persistent": (0, {*RULES, "cerberus"}, 225),
    "config explain redis.mode": (0, {*RULES, "yaml"}, 224),
    "config schema": (0, {"click"}, 176),
    "plan": (0, RULES, 254),
    "doctor --help": (0, {"click"}, 180),
    "rules list": (0, {"click", "yaml"}, 200),
    "start --help": (0, CLIENT - {"transitions", "six"}, 278),
    "status": (4, CLIENT, 220),
    f"status --server {NO_SERVER}": (4, {*CLIENT, "cerberus"}, 259),
    f"workflow run step.yaml --server {NO_SERVER}": (4, {*CLIENT, "cerberus", "yaml"}, 353),
    f"workflow list --server {NO_SERVER}": (4, {*CLIENT, "cerberus"}, 270),
    "workflow validate step.yaml": (0, {*CLIENT, "yaml"}, 328),
}


@pytest.fixture(scope="module", autouse=True)
def _verified_rules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have the rules verified in a cache of its own, from which the commands take them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        assert imported(tmp_path_factory.mktemp("project"), "config", "show")[0] == 0
        yield


def imported(directory: Path, *args: str) -> tuple[int, list[str]]:
    """Return the exit code of a command and the modules that it imported."""
    command = [sys.executable, "-c", PROBE, *args]
    # The measurement of coverage imports modules of its own.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=directory, env=variables)
    code, *modules = result.stderr.splitlines()[-1].split()
    return int(code), modules


def packages(modules: Iterable[str]) -> set[str]:
    """Return the packages that neither Python nor the product brings; compiled modules share those of Cython."""
    found = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"compozy"}
    return {name for name in found if "cython" not in name}


@pytest.mark.parametrize("words", TABLE)
def test_command_imports_the_packages_of_its_row(words: str, tmp_path: Path) -> None:
    """Every package and every dozen modules delays a command; a longer list is a decision, made in the table."""
    (tmp_path / "step.yaml").write_text(WORKFLOW)
    code, allowed, most = TABLE[words]
    ended, modules = imported(tmp_path, *words.split())
    assert ended == code
    assert packages(modules) <= allowed
    assert len(modules) <= most, "more modules than the table allows"


def test_help_does_not_import_the_configuration_engine(tmp_path: Path) -> None:
    """`compozy --help` lists the commands without reading a rule table; dataclasses alone would cost it 8 %."""
    assert "dataclasses" not in imported(tmp_path, "--help")[1]


def test_library_import_loads_no_unused_module() -> None:
    """`import compozy` loads neither rules nor servers."""
    code = "import sys; import compozy; print(*{name.partition('.')[0] for name in sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(result.stdout.split()) & (HEAVY | {"yaml", "cerberus", "transitions"}) == set()


def imports(file: Path) -> Iterator[str]:
    """Yield the top packages that a file imports anywhere, late imports included."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("part", ["base", "graph", "tables", "errors.py"])
def test_lowest_packages_import_only_the_standard_library_and_yaml(part: str) -> None:
    """The contract of import-linter names known libraries; this one holds for those that come later."""
    files = [PACKAGE / part] if part.endswith(".py") else sorted((PACKAGE / part).rglob("*.py"))
    found = {(file.name, name) for file in files for name in imports(file)}
    assert found
    assert {(file, name) for file, name in found if name not in {*sys.stdlib_module_names, "compozy", "yaml"}} == set()
