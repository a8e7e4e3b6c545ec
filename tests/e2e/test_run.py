"""`compozy workflow run` while something comes between: Ctrl-C, the end of the server, a second cancel."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from tests.support.polling import DEADLINE_S, eventually

from .conftest import COMPOZY, Server, Shell, environment, interruptible

pytestmark = pytest.mark.e2e
HELLO = Path(__file__).parents[2] / "examples" / "hello-world.yaml"
NAP = "id: nap\ntasks:\n  - {id: a, type: aggregate, sleep: 1h, output: 1}\n"


@pytest.fixture
def server(shell: Shell) -> Server:
    (shell.directory / "nap.yaml").write_text(NAP)
    return shell.start()


@contextlib.contextmanager
def waiting(shell: Shell, server: Server) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a command that waits for a long execution; give it, and the id of the execution."""
    process = subprocess.Popen(
        [COMPOZY, "workflow", "run", "nap.yaml"], cwd=shell.directory, env=environment(shell.runtime),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible,
    )  # fmt: skip
    try:
        eventually(lambda: executions(server), "the start of the execution")
        yield process, executions(server)[0]["id"]
    finally:
        process.kill()
        process.communicate()


def executions(server: Server) -> list[dict[str, str]]:
    return list(server.request("GET", "/api/v0/executions")[1]["executions"])


def test_interrupted_wait_reports_the_running_execution(shell: Shell, server: Server) -> None:
    """Ctrl-C ends the command alone; the command that it prints cancels the execution, once."""
    with waiting(shell, server) as (process, name):
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, f"{name} continues on the server" in errors) == (130, True)
    assert shell.run("workflow", "cancel", name).stdout == f"{name} was asked to end\n"
    eventually(lambda: executions(server)[0]["status"] == "canceled", "the end of the execution")
    assert shell.run("workflow", "cancel", name).stdout == f"{name} had already ended: canceled\n"


def test_the_end_of_the_server_names_the_execution(shell: Shell, server: Server) -> None:
    """A waiting client can query it when the server runs again."""
    with waiting(shell, server) as (process, name):
        server.kill()
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, f"compozy workflow show {name}" in errors) == (4, True), errors


def test_runs_of_one_project_without_a_server_take_turns(shell: Shell) -> None:
    """Each needs the data for itself; none is refused."""
    command = ("workflow", "run", str(HELLO), "--mode", "persistent", "--timeout", "80s")
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda name: shell.run(*command, "--param", f"name={name}"), ("Ada", "Grace")))
    assert [(done.returncode, done.stdout) for done in results] == [
        (0, f"greeting: Hello, {name}!\n") for name in ("Ada", "Grace")
    ], [done.stderr for done in results]


def test_second_server_of_a_project_is_reported_and_chosen_by_its_port(shell: Shell, server: Server) -> None:
    """A notice identifies the one that answers; of two the newer one does, unless a port is named."""
    second = shell.start()
    assert f"process {server.pid}, mode memory" in second.errors.read_text()
    ports = [str(one.ready["url"]).rpartition(":")[2] for one in (server, second)]
    assert [shell.json("status", "--port", port)["pid"] for port in ports] == [server.pid, second.pid]
    assert shell.run("status", "--port", "1").returncode == 4
    assert shell.json("status")["pid"] == second.pid
    assert second.stop() == 0
    assert shell.json("status")["pid"] == server.pid
    assert server.stop() == 0


def test_invalid_workflow_file_is_reported_by_start_and_list(shell: Shell) -> None:
    """By the start, and by each list, also as JSON; the others can be run."""
    (shell.directory / "workflows").mkdir()
    (shell.directory / "workflows" / "nap.yaml").write_text(NAP)
    (shell.directory / "workflows" / "broken.yaml").write_text("id: broken\ntasks: [\n")
    server = shell.start()
    listed = shell.run("workflow", "list")
    assert (listed.returncode, "nap" in listed.stdout, "broken.yaml" in listed.stderr) == (2, True, True)
    printed = json.loads(shell.run("workflow", "list", "--format", "json").stdout)
    assert ["broken.yaml" in problem["message"] for problem in printed["problems"]] == [True]
    assert server.stop() == 0
    assert "broken.yaml" in server.errors.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_of_its_own_ends_at_once(shell: Shell, number: signal.Signals) -> None:
    """A run without a server does not wait for a tool whose result is lost; it leaves nothing and reports the end."""
    (shell.directory / "slow.py").write_text("import time, pathlib\ndef work():\n    pathlib.Path('began').touch()\n"
                                             "    time.sleep(60)\n")  # fmt: skip
    (shell.directory / "slow.yaml").write_text("id: slow\ntasks:\n  - {id: a, type: basic, tool: 'slow:work'}\n")
    process = subprocess.Popen(
        [COMPOZY, "workflow", "run", "slow.yaml", "--log-level", "info"], cwd=shell.directory,
        env=environment(shell.runtime), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=interruptible,
    )  # fmt: skip
    eventually((shell.directory / "began").exists, "the start of the tool")
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    try:
        _, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, "has ended with this command" in errors, "Traceback" in errors) == (130, True, False)
    assert "workflows.closing grace_s=0.0\n" in errors
    eventually(lambda: not any(child.is_running() for child in children), "the end of every child")


def test_a_closed_output_and_a_lost_directory_are_no_bugs(shell: Shell) -> None:
    """Exit code 2 and one line, or the work as usual."""
    command = f"exec {COMPOZY} config show >&-"
    closed = subprocess.run(
        ["/bin/sh", "-c", command], cwd=shell.directory, capture_output=True, text=True, check=False
    )
    assert (closed.returncode, closed.stderr) == (0, "")
    script = f"mkdir removed && cd removed && rmdir ../removed && exec {COMPOZY} config show"
    lost = subprocess.run(["/bin/sh", "-c", script], cwd=shell.directory, capture_output=True, text=True, check=False)
    assert (lost.returncode, "does not exist any more" in lost.stderr) == (2, True)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        pytest.param(["--param", "name=a", "--param", "name=b"], "--param name is given twice", id="parameter"),
        pytest.param(
            ["--input", '{"name": "a", "name": "b"}'],
            '--input is not JSON: an object has the key "name" twice',
            id="key",
        ),
    ],
)
def test_duplicate_input_is_refused(shell: Shell, args: list[str], expected: str) -> None:
    """The intended value is ambiguous."""
    result = shell.run("workflow", "run", str(HELLO), *args)
    assert (result.returncode, expected in result.stderr) == (2, True)


def test_an_input_may_come_from_stdin(shell: Shell) -> None:
    """As with other tools, - is the standard input."""
    result = shell.run("workflow", "run", str(HELLO), "--input", "@-", stdin='{"name": "Ada"}')
    assert result.stdout == "greeting: Hello, Ada!\n"


def test_project_directory_need_not_be_utf8(shell: Shell) -> None:
    """Its bytes reach the database, Temporal, Valkey and the record of the server as they are."""
    shell.directory = shell.directory / os.fsdecode(b"shop\xff")
    (shell.directory / "workflows").mkdir(parents=True)
    shutil.copy(HELLO, shell.directory / "workflows")
    result = shell.run("workflow", "run", "hello-world", "--mode", "persistent")
    assert (result.returncode, result.stdout) == (0, "greeting: Hello, World!\n"), result.stderr
    assert shell.json("config", "show")["settings"]["name"]["value"] == "shop\ufffd"
    assert shell.run("status").returncode == 4


def test_running_server_is_found_from_another_environment(
    shell: Shell, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A persistent server, without the runtime directory of its environment; backup and doctor use its mode."""
    server = shell.start("--mode", "persistent")
    elsewhere = {"XDG_RUNTIME_DIR": str(tmp_path_factory.mktemp("elsewhere"))}

    assert shell.json("status", env=elsewhere)["pid"] == server.pid
    refused = shell.run("start", "--mode", "persistent", env=elsewhere)
    assert (refused.returncode, f"runs at {server.ready['url']} (process {server.pid})" in refused.stderr) == (4, True)
    assert shell.json("backup", "--output", "kept.tar.gz", env=elsewhere)["files"].keys() >= {"database.path"}
    port = str(server.ready["url"]).rpartition(":")[2]
    checks = shell.json("doctor", "--port", port, env=elsewhere)["checks"]
    assert [check for check in checks if check["status"] == "fail"] == []
    used = {check["id"] for check in checks if "in use by the running server" in check["message"]}
    assert {"state-directory", "server.port"} <= used
    own = {check["id"]: check for check in shell.json("doctor", "--mode", "persistent")["checks"]}["state-directory"]
    assert (own["status"], str(server.pid) in own["message"]) == ("pass", True)
    assert server.stop() == 0


def test_server_on_another_machine_is_named_by_its_url(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> None:
    """From a directory without a server, by flag and by variable, with its key; a wrong key is named by its setting."""
    key = "a-key-of-sixteen-characters"
    server = shell.start("--port", "0", "--set", f"server.api_key={key}")
    other = Shell(tmp_path_factory.mktemp("other"), tmp_path_factory.mktemp("other-runtime"))
    url = str(server.ready["url"])

    assert not url.endswith(":0")
    assert other.json("status", "--server", url, "--set", f"server.api_key={key}")["pid"] == server.pid
    variables = {"COMPOZY_SERVER_URL": url, "COMPOZY_SERVER__API_KEY": key}
    assert other.json("status", env=variables)["pid"] == server.pid
    assert other.run("status", "--server", url).returncode == 2
    wrong = shell.run("workflow", "list", "--set", "server.api_key=wrong")
    assert (wrong.returncode, "COMPOZY_SERVER__API_KEY" in wrong.stderr) == (2, True)
    (other.directory / "nap.yaml").write_text(NAP)
    name = other.run("workflow", "run", "nap.yaml", "--detach", "--quiet", env=variables).stdout.strip()
    assert other.json("workflow", "list", env=variables)["executions"][0]["id"] == name
    late = other.run("workflow", "run", "nap.yaml", "--timeout", "100ms", env=variables)
    assert (late.returncode, "continues on the server" in late.stderr) == (5, True)
    assert "follow it with compozy workflow show nap-" in late.stderr
    assert server.stop() == 0
    failed = other.run("status", env=variables)
    assert (failed.returncode, f"the server at {url} does not answer" in failed.stderr) == (4, True)
