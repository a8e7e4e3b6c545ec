"""`compozy start` as a user types it: ready line, status, a workflow, and nothing left behind."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.polling import DEADLINE_S, eventually

from compozy.drivers.ports import free_port, listening

from .conftest import Server, Shell

HELLO = str(Path(__file__).parent.parent.parent / "examples" / "hello-world.yaml")
UNKNOWN_MODE = 'invalid mode "invalid". Valid modes: memory, persistent, distributed'
pytestmark = pytest.mark.e2e


def ports_of(ready: dict[str, object]) -> list[int]:
    components = ready["components"]
    assert isinstance(components, dict)
    addresses = [str(part["address"]) for part in components.values()] + [str(ready["url"])]
    return [int(address.rpartition(":")[2]) for address in addresses if address.rpartition(":")[2].isdigit()]


def own_ports() -> list[str]:
    """Return flags for ports that no other server of this machine moves into, as one may into a default."""
    ports = {"server.port": free_port(), "temporal.standalone.frontend_port": free_port()}
    ports["temporal.standalone.ui_port"] = free_port()
    return [part for key, port in ports.items() for part in ("--set", f"{key}={port}")]


def test_start_run_and_stop_leave_nothing(shell: Shell) -> None:
    """hello-world runs on the server; after SIGTERM no process, port or file is left and the exit code is 0."""
    server = shell.start(*own_ports())
    assert server.ready["event"] == "ready"
    assert server.ready["mode"] == "memory"
    assert server.ready["pid"] == server.pid

    status = shell.json("status")
    assert (status["state"], status["mode"], status["ready"]) == ("provisioned", "memory", True)
    assert {name: part["driver"] for name, part in status["components"].items()} == {
        "database": "sqlite", "temporal": "temporal-embedded", "redis": "valkey",
    }  # fmt: skip

    run = shell.json("workflow", "run", HELLO, "--param", "name=Ada")
    assert (run["status"], run["output"]) == ("completed", {"greeting": "Hello, Ada!"})
    listed = shell.json("workflow", "list")
    assert [(row["id"], row["status"]) for row in listed["executions"]] == [(run["execution_id"], "completed")]

    ports = ports_of(server.ready)
    assert server.stop() == 0
    assert server.has_ended()
    assert [port for port in ports if listening("127.0.0.1", port)] == []
    assert list(shell.directory.iterdir()) == []
    assert [path.name for path in (shell.runtime / "compozy").iterdir()] == []


def test_kill_minus_nine_leaves_no_process(shell: Shell) -> None:
    """The children end with their parent, even after SIGKILL, and the server is no longer found."""
    server = shell.start()
    server.kill()
    eventually(server.has_ended, "the end of every child")
    result = shell.run("status")
    assert (result.returncode, "no server of the project" in result.stderr) == (4, True)


def test_a_second_signal_ends_at_once(shell: Shell) -> None:
    """Two SIGINTs in a row end the process without waiting, and no child stays."""
    server = shell.start()
    server.remember()
    server.process.send_signal(signal.SIGINT)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(DEADLINE_S) in (0, 130)
    eventually(server.has_ended, "the end of every child")


def test_a_signal_while_starting_leaves_nothing(shell: Shell) -> None:
    """SIGTERM before the server is ready undoes what was started."""
    import subprocess

    from .conftest import COMPOZY, environment

    process = subprocess.Popen(
        [COMPOZY, "start"], cwd=shell.directory, env=environment(shell.runtime), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    eventually(lambda: bool(psutil.Process(process.pid).children()), "the first child")
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 130
    eventually(lambda: not any(child.is_running() for child in children), "the end of every child")
    assert list(shell.directory.iterdir()) == []


def test_a_workflow_runs_without_a_server(shell: Shell) -> None:
    """Without a server the stack is started for this one run, and a notice reports it."""
    result = shell.run("workflow", "run", HELLO)
    assert (result.returncode, result.stdout) == (0, "greeting: Hello, World!\n")
    assert "no server of this project is running" in result.stderr
    assert list(shell.directory.iterdir()) == []


def hold(busy: socket.socket, port: int, patience_s: float = 10.0) -> None:
    """Listen on `port`; return without a listener if the owner does not release it in time."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            busy.bind(("127.0.0.1", port))
            busy.listen()
            return
        time.sleep(0.02)


def start_beside(shell: Shell, busy: socket.socket, port: int, tries: int = 3) -> Server:
    """Start a server while `port` is busy; retry if another test released it at that moment."""
    hold(busy, port)
    server = shell.start()
    if tries > 1 and str(server.ready["url"]).endswith(f":{port}"):
        server.stop()
        return start_beside(shell, busy, port, tries - 1)
    return server


def test_busy_default_port_is_replaced_with_a_notice(shell: Shell) -> None:
    """8080 was not chosen explicitly, so another port serves."""
    with socket.socket() as busy:
        busy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server = start_beside(shell, busy, 8080)
        assert not str(server.ready["url"]).endswith(":8080")
        assert server.stop() == 0
        assert "8080" in server.errors.read_text()


@pytest.mark.parametrize(
    ("text", "args", "expected"),
    [
        pytest.param("", ["--mode", "standalone"], 'invalid mode "standalone"', id="standalone"),
        pytest.param("", ["--mode", "invalid"], UNKNOWN_MODE, id="unknown-mode"),
        pytest.param("mode: [memory\n", [], "compozy.yaml:2:1", id="syntax"),
        pytest.param("mode: memory\nmode: memory\n", [], "compozy.yaml:2:1", id="duplicate-key"),
        pytest.param("moode: memory\n", [], 'did you mean "mode"?', id="unknown-key"),
    ],
)  # fmt: skip
def test_a_bad_configuration_does_not_start(shell: Shell, text: str, args: list[str], expected: str) -> None:
    """Exit code 2, the place and the reason, no traceback."""
    if text:
        (shell.directory / "compozy.yaml").write_text(text)
    result = shell.run("start", *args)
    assert (result.returncode, result.stdout) == (2, "")
    assert expected in result.stderr
    assert "Traceback" not in result.stderr


def test_projects_started_at_once_share_nothing(shell: Shell, tmp_path: Path) -> None:
    """All ask for the same default ports at the same moment; each gets a Temporal and an address of its own."""
    from concurrent.futures import ThreadPoolExecutor

    shells = [Shell(tmp_path / name, shell.runtime / name) for name in ("a", "b")]
    for one in shells:
        one.directory.mkdir()
        one.runtime.mkdir(mode=0o700)
    try:
        with ThreadPoolExecutor(len(shells)) as pool:
            servers = list(pool.map(lambda one: one.start(), shells))
        used = [port for server in servers for port in ports_of(server.ready)]
        assert len(used) == len(set(used))
        assert [server.stop() for server in servers] == [0, 0]
    finally:
        for one in shells:
            one.close()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shell, Server]]:
    """A server for tests that leave it as it is, with the shell of its project."""
    shell = Shell(tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("runtime"))
    yield shell, shell.start("--temporal-mode", "persistent")
    shell.close()


def test_the_server_explains_its_configuration(standing: tuple[Shell, Server]) -> None:
    """The same explanation as the command line's, and a problem document for an unknown key."""
    shell, server = standing
    status, answer = server.request("GET", "/api/v0/config/temporal.mode")
    assert (status, answer["key"]) == (200, "temporal.mode")
    assert answer == shell.json("config", "explain", "temporal.mode", "--temporal-mode", "persistent")
    status, problem = server.request("GET", "/api/v0/config/temporal.mood")
    assert (status, problem["id"]) == (404, "not-found")


def test_a_command_of_another_mode_does_not_use_the_running_server(standing: tuple[Shell, Server]) -> None:
    """A command in persistent mode is not served by a memory-mode server."""
    shell, server = standing
    result = shell.run("workflow", "run", HELLO, "--mode", "persistent")
    assert (result.returncode, f"process {server.pid}" in result.stderr) == (2, True)
    assert not (shell.directory / ".compozy" / "compozy.db").exists()


def test_a_server_does_not_excuse_a_wrong_configuration(standing: tuple[Shell, Server]) -> None:
    """Flags and files are checked by commands that only ask a server, too."""
    shell, _ = standing
    unknown = shell.run("status", "--set", "server.prot=1")
    assert (unknown.returncode, 'did you mean "server.port"?' in unknown.stderr) == (2, True)
    file = shell.directory / "compozy.yaml"
    file.write_text("mode: [memory")
    broken = shell.run("workflow", "list")
    file.unlink()
    assert (broken.returncode, "compozy.yaml:" in broken.stderr) == (2, True)


def test_run_beyond_its_timeout_fails(shell: Shell) -> None:
    """Exit code 5, with and without a server."""
    slow = str(Path(HELLO).with_name("sleep-between.yaml"))
    result = shell.run("workflow", "run", slow, "--timeout", "300ms")
    assert (result.returncode, "did not end within --timeout" in result.stderr) == (5, True)


def test_import_in_memory_mode_without_server_is_refused(shell: Shell) -> None:
    """Memory mode without a server keeps nothing."""
    (shell.directory / "w.json").write_text('{"workflows": []}')
    result = shell.run("workflow", "import", "w.json")
    assert (result.returncode, "--mode persistent" in result.stderr) == (2, True)


def test_a_backup_into_nowhere_is_a_clear_error(shell: Shell) -> None:
    """A directory that does not exist is named; exit code 2."""
    result = shell.run("backup", "--mode", "persistent", "--output", str(shell.directory / "no" / "b.tar.gz"))
    assert (result.returncode, "its directory does not exist" in result.stderr) == (2, True)


def test_start_without_schema_is_refused_before_ready(shell: Shell) -> None:
    """With automatic migration switched off an empty database stops the start; the setting that helps is named."""
    result = shell.run("start", "--format", "json", "--set", "database.auto_migrate=false")
    assert result.returncode == 4
    assert '"ready"' not in result.stdout
    assert "the database lacks migration" in result.stderr
    assert "database.auto_migrate: true" in result.stderr
    assert "compozy migrate schema" not in result.stderr  # it has no effect on a database in memory
