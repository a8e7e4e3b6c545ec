"""What is shipped is what is in the tree: package list, wheel and source archive."""

from __future__ import annotations

import configparser
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
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
        if path.suffix == ".py" or path.name == "py.typed"
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
    target = tmp_path_factory.mktemp("dist")
    source = tmp_path_factory.mktemp("source") / "compozy"
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    for name in tracked:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--outdir", str(target), str(source)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return target


def test_setup_cfg_lists_every_package_of_the_tree() -> None:
    """A forgotten sub-package would silently be missing from the wheel."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    listed = set(parser["options"]["packages"].split())
    assert listed == tree_packages()


def test_every_dependency_has_an_upper_bound() -> None:
    """An unbounded dependency breaks somebody's first day."""
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


def test_the_source_archive_holds_what_a_developer_needs(archives: Path) -> None:
    """Tests, docs, examples and rules travel with the source."""
    archive = next(archives.glob("*.tar.gz"))
    with tarfile.open(archive) as held:
        names = {name.partition("/")[2] for name in held.getnames()}
    folders = ("engine", "rules", "tests", "property_tests", "docs", "examples", "benchmarks")
    wanted = {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".yaml", ".md", ".svg") and ".egg-info" not in str(path)
    }
    wanted |= {"setup.cfg", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "Makefile"}
    assert wanted - names == set()
