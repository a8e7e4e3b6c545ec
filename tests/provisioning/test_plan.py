"""The plan of a start: files, addresses and the state directory, without secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compozy.cli.main import run
from compozy.provisioning.plan import Plan, make_plan
from compozy.resolution.configuration import load_configuration
from compozy.resolution.resolve import resolve
from compozy.rulebook import load_rulebook

FOUND = {"valkey.binary": "found"}
SECRET = "/hunter2hunter2"
REGISTRY = load_rulebook().registry


def plan_of(directory: Path, **flags: str) -> Plan:
    return make_plan(resolve(load_configuration(directory=str(directory), flags=flags, environment={}), FOUND))


def files_of(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {step.component: step.files for step in plan.steps}


def addresses_of(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {step.component: step.addresses for step in plan.steps}


@pytest.mark.parametrize("path", [setting.path for setting in REGISTRY.settings.values() if setting.secret])
@pytest.mark.parametrize("format_", ["text", "json"])
def test_secret_similar_to_a_path_is_not_printed(
    path: str, format_: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may begin with a slash."""
    words = ["--mode", "distributed", "--set", f"{path}={SECRET}", "--cwd", str(tmp_path), "--format", format_]
    malformed = path in ("temporal.encryption_key", "secrets")
    assert run(["plan", *words, "--set", "temporal.encryption_key_file=keys.txt"]) == (2 if malformed else 0)
    printed = capsys.readouterr()
    assert SECRET not in printed.out + printed.err


def test_a_socket_is_no_file_of_data(tmp_path: Path) -> None:
    """PostgreSQL's directory of sockets is reached, and nothing is kept in it."""
    plan = plan_of(tmp_path, **{"database.driver": "postgres", "database.host": str(tmp_path / ".compozy" / "run")})
    assert (files_of(plan)["database"], plan.state_dir) == ((), None)


def test_files_are_the_data_files_of_all_components(tmp_path: Path) -> None:
    """Of all three components in persistent mode."""
    state = tmp_path / ".compozy"
    assert files_of(plan_of(tmp_path, mode="persistent")) == {
        "database": (str(state / "compozy.db"),),
        "redis": (str(state / "redis"),),
        "temporal": (str(state / "temporal.db"), str(state / "key")),
    }


def test_unused_directory_is_not_listed(tmp_path: Path) -> None:
    """The place of Redis' data is known, but persistence is off."""
    plan = plan_of(tmp_path, **{"redis.standalone.persistence.data_dir": "./.compozy/redis"})
    assert (files_of(plan)["redis"], plan.state_dir) == ((), None)


def test_data_elsewhere_makes_no_state_directory(tmp_path: Path) -> None:
    """The file is listed all the same."""
    plan = plan_of(tmp_path, **{"database.path": str(tmp_path / "shop.db")})
    assert (files_of(plan)["database"], plan.state_dir) == ((str(tmp_path / "shop.db"),), None)


@pytest.mark.parametrize(
    ("enabled", "addresses"),
    [
        pytest.param("true", ("127.0.0.1:7233", "http://127.0.0.1:8233"), id="on"),
        pytest.param("false", ("127.0.0.1:7233",), id="off"),
    ],
)
def test_the_web_page_has_an_address_while_it_is_served(
    enabled: str, addresses: tuple[str, ...], tmp_path: Path
) -> None:
    """Without it, the server runs headless."""
    assert addresses_of(plan_of(tmp_path, **{"temporal.standalone.enable_ui": enabled}))["temporal"] == addresses


def test_an_ipv6_address_stands_in_brackets(tmp_path: Path) -> None:
    """Without them the start of the port would be ambiguous."""
    flags = {
        "temporal.standalone.bind_ip": "::1", "temporal.standalone.enable_ui": "true", "redis.mode": "distributed",
        "redis.host": "fe80::1",
    }  # fmt: skip
    found = addresses_of(plan_of(tmp_path, **flags))
    assert found["temporal"] == ("[::1]:7233", "http://[::1]:8233")
    assert found["redis"] == ("[fe80::1]:6379/0",)


def test_the_server_s_ipv6_address_stands_in_brackets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `start` prints it."""
    assert run(["plan", "--host", "::1", "--cwd", str(tmp_path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["server"] == "http://[::1]:8080"


def test_plan_shows_port_zero_as_a_free_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No client can connect to port 0."""
    assert run(["plan", "--cwd", str(tmp_path), "--port", "0"]) == 0
    assert "http://127.0.0.1, a free port" in capsys.readouterr().out
    assert run(["plan", "--cwd", str(tmp_path), "--port", "81"]) == 0
    assert "http://127.0.0.1:81 " in capsys.readouterr().out
