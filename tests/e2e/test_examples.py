"""The examples: the commands of each README run in a copy of the examples and print what the README shows.

A README is one session of a terminal. `compozy start` runs beside the commands after it until `^C`, or until one of
them kills it. Docker is not used: in place of `docker compose`, the services of the tests run.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from tests.support.polling import DEADLINE_S, eventually

from compozy.cli.main import run
from compozy.starter import project_files

from .conftest import COMPOZY, Shell, environment, interruptible
from .services import Services

pytestmark = pytest.mark.e2e
EXAMPLES = Path(__file__).parents[2] / "examples"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"^(?:\$ (.*)|(\^C))\n", re.MULTILINE)
HOME = "/home/ada/compozy"
VARYING = {
    r"(?m)^note: port \d+ is busy.*; using \d+ for .*\n": "",
    r"\d+ tables, \d+ rows": "N tables, N rows",
    r"token=[\w-]+": "token=T",
    r"\b\d+(\.\d+)? (m?s)\b": r"N \2",
    r"(127\.0\.0\.1|localhost):\d+": "HOST:P",
    r"HOST:P/project_\w+": "HOST:P/compozy",
    r"process \d+": "process N",
    r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b": "UUID",
    r"compozy-valkey-\d+": "compozy-valkey-N",
    r"-[0-9a-f]{16}\b": "-ID",
    r"\d{4}-\d\d-\d\dT[\d:.]+Z": "TIME",
    r" {2,}": "  ",
    r"(?<=\n\n)\n+": "",
}
READMES = [pytest.param(path, path, id=path.parent.name) for path in sorted(EXAMPLES.rglob("README.md"))]


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Return each command of a README and the output below it."""
    pieces = COMMAND.split("".join(BLOCK.findall(text)))[1:]
    return ((command or key, output) for command, key, output in zip(*[iter(pieces)] * 3, strict=True))


def shape(text: str) -> str:
    """Return an output in which times, ports, identifiers and column widths are alike."""
    for pattern, stands in VARYING.items():
        text = re.sub(pattern, stands, text)
    return text.strip()


class Terminal:
    """One bash for the commands, and the servers that they started."""

    def __init__(self, home: Path, project: Path, variables: dict[str, str]) -> None:
        self.home = home
        self.project = project
        self.variables = {**variables, "PATH": f"{Path(COMPOZY).parent}:{variables['PATH']}"}
        self.servers: list[subprocess.Popen[str]] = []
        self.shell = self._open(home, "bash")

    def _open(self, directory: Path, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=directory, env=self.variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, preexec_fn=interruptible,
        )  # fmt: skip

    def run(self, command: str) -> str:
        """Run one step and return its output."""
        if command == "^C":
            return self._interrupt()
        if command.startswith("compozy start"):
            return self._start(command)
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        self.shell.stdin.write(f"{{ {command}\n}} </dev/null; printf '\\nEND\\n'\n")
        self.shell.stdin.flush()
        return "".join(takewhile(lambda line: line != "END\n", self.shell.stdout))

    def _start(self, command: str) -> str:
        self.servers.append(self._open(self.project, "bash", "-c", f"exec {command}"))
        printed = ""
        for line in self.servers[-1].stdout or ():
            printed += line
            if "Stop: Ctrl-C" in line:
                break
        return printed

    def _interrupt(self) -> str:
        server = self.servers.pop()
        server.send_signal(signal.SIGINT)
        printed, _ = server.communicate(timeout=DEADLINE_S)
        assert server.returncode == 0
        return printed

    def close(self) -> None:
        """End the shell and the servers that are left."""
        for process in (self.shell, *self.servers):
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=DEADLINE_S)


def free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


@pytest.fixture
def terminal(request: pytest.FixtureRequest, shell: Shell) -> Iterator[Terminal]:
    """A terminal in the folder of a README."""
    readme: Path = request.param
    copy = shell.directory / "examples"
    shutil.copytree(EXAMPLES, copy, ignore=shutil.ignore_patterns(".compozy", ".env", "__pycache__"))
    reached = {}
    if readme.parent.name == "distributed-mode":
        services: Services = request.getfixturevalue("services")
        reached = services.settings()
    opened = Terminal(shell.directory, copy / readme.parent.relative_to(EXAMPLES), environment(shell.runtime, reached))
    yield opened
    opened.close()


@pytest.mark.parametrize(("terminal", "readme"), READMES, indirect=["terminal"])
def test_readme_of_example_shows_real_output_of_its_commands(terminal: Terminal, readme: Path) -> None:
    ports = {port: free_port() for port in ("8090", "8091")}
    for command, output in steps(readme.read_text(encoding="utf-8")):
        for port, free in ports.items():
            command = command.replace(port, free)
        if not command.startswith("docker "):
            check(terminal, command, output)


def check(terminal: Terminal, command: str, shown: str) -> None:
    """Compare what a command prints with what is shown, which may end in `...`; what changes by itself is polled."""
    expected, cut, _ = shown.partition("...\n")
    printed = ""

    def agrees() -> bool:
        nonlocal printed
        printed = terminal.run(command).replace(str(terminal.home), HOME)
        got, wanted = shape(printed), shape(expected)
        return got.startswith(wanted) if cut else got == wanted

    if command.startswith("compozy workflow show"):
        eventually(agrees, f"the output of {command}")
    else:
        assert agrees(), f"$ {command}\n{printed}\n--- shown\n{shown}"


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("path", [pytest.param(path, id=path.parent.name) for path in EXAMPLES.rglob("compozy.yaml")])
def test_configuration_of_example_follows_its_schema(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The schema in the repository, or the one that knows the rule pack of the example."""
    configuration = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "rules" in configuration:
        assert run(["config", "schema", "--config", str(path)]) == 0
        text = capsys.readouterr().out
    else:
        text = (EXAMPLES.parent / "schemas" / "config.json").read_text(encoding="utf-8")
    schema = Draft202012Validator(json.loads(text))
    assert list(schema.iter_errors(configuration)) == []
    assert not schema.is_valid({**configuration, "mode": "standalone"})


@pytest.mark.parametrize("name", ["compozy.yaml", "compose.yaml"])
def test_distributed_example_equals_output_of_init(name: str) -> None:
    files = project_files("distributed-mode", "distributed")
    assert (EXAMPLES / "distributed-mode" / name).read_text(encoding="utf-8") == files[name]
    assert lines_of(EXAMPLES / "distributed-mode" / ".env.example") == files[".env.example"].splitlines()[1:]


def test_compose_file_follows_the_compose_specification() -> None:
    """Each variable of it has a line in `.env.example`."""
    text = (EXAMPLES / "distributed-mode" / "compose.yaml").read_text(encoding="utf-8")
    vendored = EXAMPLES.parent / "tests" / "vendor" / "compose-spec.json"
    schema = Draft202012Validator(json.loads(vendored.read_text(encoding="utf-8")))
    assert list(schema.iter_errors(yaml.safe_load(text))) == []
    assert not schema.is_valid(yaml.safe_load(text.replace("healthcheck:", "healthchek:")))
    variables = {line.rstrip("=") for line in lines_of(EXAMPLES / "distributed-mode" / ".env.example")}
    assert set(re.findall(r"\$\{(\w+)", text)) <= variables


def test_every_example_is_in_the_index() -> None:
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    pages = [str(page.relative_to(EXAMPLES)) for page in EXAMPLES.glob("*/README.md")]
    assert [
        name for name in (*pages, *(file.name for file in EXAMPLES.glob("*.yaml"))) if f"({name})" not in index
    ] == []
    assert sorted(page.parent for page in EXAMPLES.glob("*/README.md")) == sorted(
        filter(Path.is_dir, EXAMPLES.iterdir())
    )
