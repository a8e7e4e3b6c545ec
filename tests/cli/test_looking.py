"""Commands that only look at a project run none of its Python and write no file that it names; others do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from compozy.cli.main import cli, run

EXAMPLE = Path(__file__).parents[2] / "examples" / "rule-pack"
# The knowledge commands bring up what `start` does where no server runs.
RUNS = {"start", "workflow run", "worker", "rules check", "knowledge ingest", "knowledge delete"}
MARK = "from pathlib import Path as _Path\n_Path({mark!r}).touch()\n"
FACT = """
machine:
  - {fact: shop.printer, values: [there, unknown], probe: "./facts.py:printer", help: "Is there a printer?"}
"""


def commands(group: click.Group, *above: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from commands(found, *above, name)
        elif found is not None:
            yield " ".join([*above, name]), found


EVERY = dict(commands(cli))
LOOKING = {name: command for name, command in EVERY.items() if not hasattr(command.callback, "runs_project_code")}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example whose every Python file leaves a mark when it is imported."""
    folder = tmp_path / "project"
    shutil.copytree(EXAMPLE, folder)
    (folder / "pack" / "facts.yaml").write_text(FACT, encoding="utf-8")
    (folder / "pack" / "facts.py").write_text("def printer() -> str:\n    return 'there'\n", encoding="utf-8")
    for file in [*folder.rglob("*.py")]:
        code = file.read_text(encoding="utf-8").replace("from __future__ import annotations\n", "")
        file.write_text(MARK.format(mark=str(folder / f"imported-{file.name}")) + code, encoding="utf-8")
    for name in ("json", "yaml", "sitecustomize", "mailer"):
        (folder / f"{name}.py").write_text(MARK.format(mark=str(folder / f"imported-{name}.py")), encoding="utf-8")
    (tmp_path / "victim").write_text("precious", encoding="utf-8")
    with (folder / "compozy.yaml").open("a", encoding="utf-8") as config:
        config.write(f"\nlog: {{level: debug, file: {tmp_path / 'victim'}}}\n")
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.chdir(folder)
    return folder


def imported(project: Path) -> list[str]:
    return sorted(path.name for path in project.glob("imported-*"))


def arguments(command: click.Command, project: Path) -> list[str]:
    """Return a value for each argument that the command needs."""
    needed = [item for item in command.params if isinstance(item, click.Argument) and item.required]
    exported = project / "exported.json"
    exported.write_text('{"workflows": []}', encoding="utf-8")
    return [str(exported) if isinstance(item.type, click.Path | click.File) else "mode" for item in needed]


def test_only_running_commands_import_project_code() -> None:
    assert EVERY.keys() - LOOKING.keys() <= RUNS
    assert {"start", "workflow run", "rules check"} <= EVERY.keys() - LOOKING.keys()


@pytest.mark.parametrize("name", LOOKING)
def test_looking_command_imports_and_writes_nothing_of_the_project(name: str, project: Path) -> None:
    """The result does not matter here; without a server many commands fail."""
    command = LOOKING[name]
    options = {option for item in command.params for option in item.opts}
    chosen = ["--mode", "persistent"] if "--mode" in options else []
    code = run([*name.split(), *arguments(command, project), *chosen])
    assert code in (0, 2, 3, 4)
    assert imported(project) == []
    assert (project.parent / "victim").read_text(encoding="utf-8") == "precious"


def test_looking_command_logs_to_the_file_of_its_own_flag(project: Path) -> None:
    log = project.parent / "log"
    assert run(["plan", "--mode", "persistent", "--log-file", str(log)]) == 0
    assert "lifecycle.transition" in log.read_text(encoding="utf-8")


def test_module_run_imports_nothing_of_the_working_directory(project: Path) -> None:
    """`python -m` puts that directory on the module path."""
    (project / "click.py").write_text(MARK.format(mark=str(project / "imported-click.py")), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "compozy", "config", "show"], cwd=project, check=False)
    assert (done.returncode, imported(project)) == (0, [])


def test_rules_check_imports_the_rule_pack(project: Path) -> None:
    """Its purpose is to try the rules out."""
    assert run(["rules", "check"]) == 0
    assert imported(project) == ["imported-facts.py", "imported-mailer.py"]


def test_doctor_skips_checks_of_project_code(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["doctor", "--mode", "memory", "--set", "mailer.mode=distributed"])
    assert "skip  mailer.preflight: " in capsys.readouterr().out


def test_fact_with_a_probe_is_unknown_to_a_looking_command(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table that does not decide the case `unknown` is named."""
    (project / "pack" / "decide.yaml").write_text(
        "table: shop.print\nstage: resolve\nabout: Print or not.\nhit: unique\n"
        "inputs: {printer: {machine: shop.printer}}\noutputs: {print: [true, false]}\nrows:\n"
        "  - {id: yes, when: {printer: there}, then: {print: true}, because: there is one}\n"
        "  - {id: none, when: {printer: unknown}, then: {print: false}, because: it was not looked for}\n",
        encoding="utf-8",
    )
    assert run(["config", "explain", "shop.print"]) == 0
    assert "it was not looked for" in capsys.readouterr().out
    assert imported(project) == []
