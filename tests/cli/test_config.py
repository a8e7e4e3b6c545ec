"""`compozy config`: what it prints in each form, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.project import write

from compozy.cli.main import run

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def config(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `compozy config` in an empty project and return exit code, stdout and stderr."""
    for name in ("DB_DRIVER", "DB_PATH", "DB_URL", "REDIS_URL", "REDIS_MODE", "TEMPORAL_MODE", "COMPOZY_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> tuple[int, str, str]:
        code = run(["config", *args])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_show_prints_values_with_units_and_places(config: Run, tmp_path: Path) -> None:
    """Durations as they are written, origins with file, line and column."""
    write(tmp_path, "server:\n  port: 8081\n")
    code, out, err = config("show")
    rows = {line.split()[0]: line.split(None, 1)[1] for line in out.splitlines() if line.strip()}
    assert (code, err) == (0, "")
    assert rows["redis.standalone.persistence.snapshot_interval"].split() == ["5m", "default"]
    assert rows["server.port"].split() == ["8081", "file", "compozy.yaml:2:9"]
    assert rows["database.path"].split() == [":memory:", "rule", "database.path/memory"]


def test_show_as_json_keeps_numbers_and_adds_text(config: Run) -> None:
    """Programs get seconds, people units."""
    code, out, _ = config("show", "--format", "json", "--mode", "persistent")
    shown = json.loads(out)
    interval = shown["settings"]["redis.standalone.persistence.snapshot_interval"]
    assert (code, shown["format_version"], shown["state"], shown["mode"]) == (0, 1, "resolved", "persistent")
    assert (interval["value"], interval["text"]) == (300.0, "5m")
    assert shown["components"]["temporal"] == {"mode": "persistent", "driver": "temporal-embedded"}
    assert shown["settings"]["mode"]["origin"] == {"kind": "flag", "name": "--mode"}


def test_show_names_every_shadowed_value(config: Run, tmp_path: Path) -> None:
    """With its origin."""
    write(tmp_path, "mode: persistent\n")
    _, out, _ = config("show", "--format", "json", "--mode", "memory")
    shadowed = json.loads(out)["settings"]["mode"]["shadowed"]
    assert shadowed[0] == {
        "value": "persistent",
        "origin": {"kind": "file", "file": "compozy.yaml", "line": 1, "column": 7},
    }


def test_show_prints_warnings_on_stderr(config: Run) -> None:
    """The table stays clean."""
    code, out, err = config("show", "--set", "worker.max_concurrent_workflows=50")
    assert (code, "warning[" in out) == (0, False)
    assert err.lstrip().startswith("warning[worker.concurrency.sqlite]: SQLite has concurrency limitations")


def test_valid_configuration_is_reported_as_valid(config: Run) -> None:
    """On stdout, exit code 0."""
    assert config("validate") == (0, "valid\n", "")


def test_the_first_line_of_a_finding_has_severity_and_id(config: Run) -> None:
    """Then place, source line, hint, rule and page."""
    code, out, _ = config("validate", "--mode", "foo")
    lines = out.splitlines()
    assert code == 2
    assert lines[:2] == [
        'error[mode.unknown]: invalid mode "foo". Valid modes: memory, persistent, distributed',
        "  --> flag --mode",
    ]
    assert lines[-1] == "not valid: 1 finding, which stops"


def test_validate_as_json(config: Run, tmp_path: Path) -> None:
    """The shape of the contract."""
    write(tmp_path, "mode: foo\n")
    code, out, err = config("validate", "--format", "json")
    found = json.loads(out)
    (finding,) = found.pop("findings")
    assert (code, err, found) == (2, "", {"format_version": 1, "valid": False})
    assert {name: finding[name] for name in ("id", "severity", "message", "key", "where")} == {
        "id": "mode.unknown",
        "severity": "error",
        "message": 'invalid mode "foo". Valid modes: memory, persistent, distributed',
        "key": "mode",
        "where": {"kind": "file", "file": "compozy.yaml", "line": 1, "column": 7},
    }


def test_strict_makes_warnings_stop(config: Run) -> None:
    """They are shown as errors."""
    args = ("validate", "--set", "worker.max_concurrent_workflows=50")
    assert config(*args)[0] == 0
    code, out, _ = config(*args, "--strict")
    assert (code, out.splitlines()[0].startswith("error[worker.concurrency.sqlite]")) == (2, True)


def test_a_failure_as_json_has_error_and_findings_on_stdout(config: Run, tmp_path: Path) -> None:
    """And the text on stderr."""
    write(tmp_path, "mode: [\n")
    code, out, err = config("diff", "memory", "persistent", "--format", "json")
    found = json.loads(out)
    assert (code, found["error"]["id"], found["error"]["exit_code"]) == (2, "configuration.invalid", 2)
    assert [one["id"] for one in found["findings"]] == ["file.syntax"]
    assert err.startswith("error[file.syntax]: not valid YAML")


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(["explain"], id="no-key"),
        pytest.param(["explain", "mode", "--finding", "mode.unknown"], id="key-and-finding"),
        pytest.param(["explain", "nothing.of.the.kind"], id="unknown-key"),
        pytest.param(["explain", "--finding", "nothing"], id="unknown-finding"),
        pytest.param(["diff", "memory"], id="one-side"),
        pytest.param(["diff", "memory", "nothing.yaml"], id="no-such-file"),
        pytest.param(["show", "--config", "nothing.yaml"], id="no-such-configuration"),
        pytest.param(["show", "--set", "mode"], id="no-value"),
        pytest.param(["show", "--nothing"], id="unknown-flag"),
        pytest.param(["validate", "--format", "xml"], id="unknown-format"),
        pytest.param(["nothing"], id="unknown-command"),
    ],
)
def test_a_usage_error_ends_with_2_and_a_text(args: list[str], config: Run) -> None:
    """Never with 1, which means different or a bug."""
    code, out, err = config(*args)
    assert (code, out) == (2, "")
    assert err.startswith(("error[usage]: ", "error[not-found]: "))


def test_an_unknown_flag_gets_a_suggestion(config: Run) -> None:
    """Like keys and variables do."""
    assert "--mode" in config("show", "--mod", "memory")[2]


def test_explain_prints_the_chain_of_rows(config: Run, tmp_path: Path) -> None:
    """From the value back to the file."""
    write(tmp_path, "mode: memory\ntemporal:\n  mode: persistent\n")
    code, out, _ = config("explain", "temporal.embedded.database_file")
    lines = out.splitlines()
    assert (code, lines[0]) == (0, f"temporal.standalone.database_file = {tmp_path}/.compozy/temporal.db")
    order = [
        out.index(word) for word in ("database_file/file", "mode/own-persistent", "yaml:3:9", "mode/memory", "near")
    ]
    assert order == sorted(order)


def test_explain_as_json_nests_the_decisions(config: Run) -> None:
    """The record of Python, as JSON."""
    _, out, _ = config("explain", "database.path", "--format", "json", "--mode", "persistent")
    found = json.loads(out)
    below = found["step"]["inputs"][0]["step"]
    assert (found["format_version"], found["derived"], found["step"]["row"]) == (1, True, "file")
    assert (below["table"], below["row"]) == ("database.mode", "inherits-persistent")


def test_explain_a_finding(config: Run) -> None:
    """State, reason and both examples are printed."""
    code, out, _ = config("explain", "--finding", "mode.unknown", "--mode", "foo")
    assert code == 0
    parts = ("error[mode.unknown]", "reported when", "in this configuration it shows", "mode: foo", "mode: persistent")
    assert [part for part in parts if part not in out] == []


def test_diff_of_two_modes(config: Run) -> None:
    """Exit code 1, both values, and the row behind each."""
    code, out, _ = config("diff", "memory", "persistent")
    assert code == 1
    block = out[out.index("\ndatabase.path\n") :].splitlines()[1:4]
    assert block[1].startswith("  - :memory:  from rule database.path/memory (rules/resolve/database.yaml:")
    assert ".compozy/compozy.db  from rule database.path/file (" in block[2]


def test_diff_of_the_same_is_0(config: Run) -> None:
    """Equal configurations have no difference."""
    assert config("diff", "memory", "memory") == (0, "memory and memory are the same\n", "")


def test_diff_of_two_files(config: Run, tmp_path: Path) -> None:
    """Origins name file and line of each."""
    (tmp_path / "a.yaml").write_text("server: {port: 1000}\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("mode: memory\nserver: {port: 2000}\n", encoding="utf-8")
    code, out, _ = config("diff", "a.yaml", "b.yaml", "--format", "json")
    found = json.loads(out)
    assert (code, found["same"], [one["key"] for one in found["differences"]]) == (1, False, ["server.port"])
    right = found["differences"][0]["right"]
    assert (right["value"], right["origin"]) == (2000, {"kind": "file", "file": "b.yaml", "line": 2, "column": 16})


def test_diff_of_two_environments(config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of variables goes before the process's environment and before `.env`."""
    write(tmp_path, "name: ${WHO:-unnamed}\n", "REDIS_MODE=memory\n")
    (tmp_path / "staging.env").write_text("REDIS_MODE=persistent\nWHO=staging\n", encoding="utf-8")
    (tmp_path / ".env.production").write_text("REDIS_MODE=distributed\n", encoding="utf-8")
    monkeypatch.setenv("REDIS_MODE", "memory")
    code, out, _ = config("diff", "staging.env", ".env.production", "--format", "json")
    found = {(one["kind"], one["key"]): (one["left"], one["right"]) for one in json.loads(out)["differences"]}
    left, right = found["setting", "redis.mode"]
    assert code == 1
    assert (left["value"], left["origin"]["file"]) == ("persistent", "staging.env")
    assert (right["value"], right["origin"]["file"]) == ("distributed", ".env.production")
    assert [side["value"] for side in found["setting", "name"]] == ["staging", "unnamed"]


def test_diff_of_two_directories(config: Run, tmp_path: Path) -> None:
    """Each with its own configuration file."""
    for name, mode in (("one", "memory"), ("two", "persistent")):
        (tmp_path / name).mkdir()
        write(tmp_path / name, f"mode: {mode}\n")
    code, out, _ = config("diff", "one", "two")
    assert (code, "\nmode\n" in out) == (1, True)


def test_diagnostics_are_complete(config: Run, tmp_path: Path) -> None:
    """Versions, file, sources, rules, machine, components, what was given, findings."""
    write(tmp_path, "server: {port: 8081}\nmode: foo\n")
    code, out, _ = config("diagnostics")
    assert code == 0
    for part in (
        "compozy: 0.1.0", f"directory: {tmp_path}", f"file: {tmp_path}/compozy.yaml",
        "source file (compozy.yaml): 2 settings, 0 problems", "rule packs: none", "machine valkey.binary: ",
        "component redis: memory, ", "given server.port: 8081 (file compozy.yaml:1:16)", "findings: 1",
        "error[mode.unknown]",
    ):  # fmt: skip
        assert part in out


def test_unencodable_text_is_escaped(config: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path may hold bytes that are no text."""
    monkeypatch.setenv("DB_PATH", "/a\udc80b")
    assert config("show")[0] == 0
    code, out, _ = config("show", "--format", "json")
    assert (code, json.loads(out)["settings"]["database.path"]["value"]) == (0, "/a\udc80b")


def test_show_of_an_invalid_configuration_exits_2(config: Run) -> None:
    code, out, err = config("show", "--mode", "persistnt")
    assert (code, out.splitlines()[0]) == (2, "not valid: 1 finding, which stops. This is what the rest would give:")
    assert 'invalid mode "persistnt"' in err
    assert config("show", "--mode", "persistnt", "--format", "json")[0] == 2


def test_directory_is_rejected_as_configuration_file(config: Run) -> None:
    code, _, err = config("show", "--config", ".")
    assert (code, "configuration file . is a directory" in err) == (2, True)
