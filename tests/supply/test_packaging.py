"""Package list, wheel and source archive agree with the tree."""

from __future__ import annotations

import configparser
import fcntl
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import click
import pytest

from compozy.cli.main import cli
from compozy.rulebook import load_rulebook

ROOT = Path(__file__).parents[2]
DATA = (".yaml", ".json")


def tree_packages() -> set[str]:
    engine = {
        str(path.parent.relative_to(ROOT / "engine")).replace("/", ".")
        for path in (ROOT / "engine").rglob("__init__.py")
    }
    return engine | {"compozy.docs", "compozy.rules"}


def tree_files() -> set[str]:
    engine = {
        str(path.relative_to(ROOT / "engine"))
        for path in (ROOT / "engine" / "compozy").rglob("*")
        if path.suffix in (".py", ".lua") or path.name == "py.typed"
    }
    starter = ROOT / "engine" / "compozy" / "starter"
    engine |= {
        str(path.relative_to(ROOT / "engine"))
        for path in starter.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    rules = {
        "compozy/" + str(path.relative_to(ROOT))
        for path in (ROOT / "rules").rglob("*")
        if path.suffix in (*DATA, ".py")
    }
    docs = {
        "compozy/" + str(path.relative_to(ROOT))
        for path in (ROOT / "docs").rglob("*")
        if path.suffix in (".md", ".svg", ".yaml")
    }
    return engine | rules | docs


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel and the source archive, built once for all processes of a test run."""
    own = tmp_path_factory.getbasetemp()
    target = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "dist"
    target.mkdir(exist_ok=True)
    with (target / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(target.glob("*.whl")):
            build(tmp_path_factory.mktemp("source") / "compozy", target)
    return target


def build(source: Path, target: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    for name in tracked:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    # With the setuptools of this environment, which `build` compares with the required one.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(source)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_setup_cfg_lists_every_package_of_the_tree() -> None:
    """A forgotten sub-package would silently be missing from the wheel."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    listed = set(parser["options"]["packages"].split())
    assert listed == tree_packages()


def test_every_dependency_has_an_upper_bound() -> None:
    """A new release of an unbounded dependency may break a new installation."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    extras = "\n".join(parser["options.extras_require"].values())
    lines = (parser["options"]["install_requires"] + extras).split("\n")
    bounds = ("<", "==", "compozy[")
    unbounded = [line for line in lines if line.strip() and not any(bound in line for bound in bounds)]
    assert unbounded == []


def test_the_wheel_holds_every_module_and_rule_file(archives: Path) -> None:
    """Modules, `py.typed` and rule tables are installed."""
    wheel = next(archives.glob("*.whl"))
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == tree_files()


def test_source_archive_contains_tests_docs_examples_and_rules(archives: Path) -> None:
    """Tests, docs, examples and rules travel with the source."""
    archive = next(archives.glob("*.tar.gz"))
    with tarfile.open(archive) as held:
        names = {name.partition("/")[2] for name in held.getnames()}
    folders = ("engine", "rules", "tests", "property_tests", "docs", "examples", "benchmarks")
    wanted = {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".lua", ".yaml", ".md", ".svg") and ".egg-info" not in str(path)
    }
    wanted |= {"setup.cfg", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "Makefile"}
    assert wanted - names == set()


@pytest.fixture
def installed(archives: Path, tmp_path: Path) -> Path:
    """A fresh environment with the wheel; its dependencies are those of this environment."""
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*command, str(next(archives.glob("*.whl")))], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return environment / "bin"


@pytest.mark.e2e
def test_installed_wheel_runs_a_new_project(installed: Path, tmp_path: Path) -> None:
    """From an empty directory, with nothing of the source tree."""
    project = tmp_path / "project"
    path = f"{installed}:{Path(sys.executable).parent}:{os.defpath}"
    variables = {"PATH": path, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}

    def run(*words: str) -> str:
        project.mkdir(exist_ok=True)
        command = [str(installed / words[0]), *words[1:]]
        result = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    assert run("python", "-c", "import compozy; print(compozy.__file__)").startswith(str(installed.parent))
    run("compozy", "init", ".")
    assert run("compozy", "config", "validate", "--strict") == "valid\n"
    assert "invalid mode" in run("compozy", "config", "explain", "--finding", "mode.unknown")
    assert run("compozy", "workflow", "run", "greet", "--param", "name=Ada") == "greeting: Hello, Ada!\n"


def instructions() -> list[tuple[str, str]]:
    """Return each instruction of the Dockerfile and its arguments."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line)]


def test_dockerfile_copies_the_sources_of_the_wheel() -> None:
    """Each path exists, is in the build context, and together they hold the packages and the files of setup.cfg."""
    copied = [
        path for word, rest in instructions() if word == "COPY" and "--from" not in rest for path in rest.split()[:-1]
    ]
    assert [path for path in copied if not (ROOT / path).exists()] == []
    context = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == context
    needed = {"engine", "rules", "docs", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"}
    assert needed <= set(copied)


def test_dockerfile_runs_existing_commands_and_not_as_root() -> None:
    last = dict(instructions())
    assert last["USER"] not in ("root", "0")
    words = [*json.loads(last["ENTRYPOINT"]), *json.loads(last["CMD"])]
    check = json.loads(last["HEALTHCHECK"].partition("CMD ")[2])
    assert (words[0], check[0]) == ("compozy", "compozy")
    assert {words[1], check[1]} <= set(cli.list_commands(click.Context(cli)))
    assert last["EXPOSE"] == str(load_rulebook().registry.settings["server.port"].default)
