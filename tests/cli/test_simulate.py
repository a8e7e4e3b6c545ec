"""`compozy config simulate` resolves and validates every combination of values of some settings."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from compozy.cli.main import run

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `compozy config simulate` in an empty directory; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> tuple[int, str, str]:
        code = run(["config", "simulate", *args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def combinations(answer: tuple[int, str, str]) -> list[dict[str, Any]]:
    code, out, _ = answer
    assert code == 0
    found: list[dict[str, Any]] = json.loads(out)["combinations"]
    return found


def test_simulate_agrees_with_flags(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """Each combination has the components of `config show` with the same flags."""
    for found in combinations(command("--vary", "mode,database.driver", "--format", "json")):
        flags = [word for path, text in found["varied"].items() if text != "-" for word in ("--set", f"{path}={text}")]
        run(["config", "show", "--format", "json", *flags])
        shown = json.loads(capsys.readouterr().out)
        assert (found["mode"], found["components"]) == (shown["mode"], shown["components"])
        assert [f["id"] for f in found["findings"]] == [f["id"] for f in shown["findings"]]


def test_simulate_varies_every_listed_value_and_the_configured_one(command: Command) -> None:
    found = combinations(command("--vary", "mode,database.driver", "--format", "json"))
    assert len(found) == 4 * 3
    assert {(c["varied"]["mode"], c["varied"]["database.driver"]) for c in found} == {
        (mode, driver)
        for mode in ("-", "memory", "persistent", "distributed")
        for driver in ("-", "sqlite", "postgres")
    }


def test_simulate_leaves_other_settings_as_configured(command: Command, tmp_path: Path) -> None:
    (tmp_path / "compozy.yaml").write_text("mode: persistent\ntemporal: {mode: memory}\n")
    found = combinations(command("--vary", "mode", "--format", "json"))
    assert found[0]["mode"] == "persistent"
    assert {combination["components"]["temporal"]["mode"] for combination in found} == {"memory"}


def test_simulate_as_csv_has_a_row_for_each_combination(command: Command) -> None:
    code, out, _ = command("--vary", "server.port=80|70000", "--format", "csv")
    rows = list(csv.DictReader(StringIO(out)))
    assert code == 0
    assert [(row["server.port"], row["result"]) for row in rows] == [("80", "ok"), ("70000", "error")]


def test_simulate_as_text_counts_the_results(command: Command) -> None:
    _, out, _ = command("--vary", "server.port=80|70000")
    assert out.splitlines()[-1] == "1 ok, 0 warning, 1 error"


def test_simulate_as_svg_colours_a_cell_for_each_combination(command: Command) -> None:
    _, out, _ = command("--vary", "mode,database.driver", "--format", "svg")
    cells = ElementTree.fromstring(out).findall("{http://www.w3.org/2000/svg}g")
    assert len(cells) == 12


@pytest.mark.parametrize(
    ("vary", "text"),
    [
        pytest.param("moed", "unknown setting moed", id="unknown"),
        pytest.param("server.port", "server.port (type integer) has no listed values", id="no-values"),
        pytest.param(
            f"mode,server.port={'|'.join(map(str, range(3000)))}",
            "12000 combinations are more than 10000",
            id="too-many",
        ),
    ],
)
def test_simulate_refuses_unsupported_settings(command: Command, vary: str, text: str) -> None:
    code, _, err = command("--vary", vary)
    assert code == 2
    assert text in err


@pytest.mark.parametrize("form", ["text", "json", "csv", "svg"])
def test_simulate_redacts_and_numbers_secret_values(command: Command, form: str) -> None:
    varied = "redis.password=-|first-secret|second-secret,redis.url=redis://u:third-secret@h"
    code, out, err = command("--vary", varied, "--format", form)
    assert (code, "-secret" in out + err) == (0, False)
    assert {"[REDACTED] 2" in out, "[REDACTED] 3" in out, "redis://[REDACTED]@h" in out} == {True}


@pytest.mark.parametrize(
    ("varied", "reason"),
    [("mode,mode", "mode is repeated"), ("mode,", "the name of a setting is missing"), ("", "is missing")],
)
def test_simulate_refuses_repeated_and_missing_names(command: Command, varied: str, reason: str) -> None:
    code, _, err = command("--vary", varied)
    assert (code, reason in err) == (2, True)


def test_simulate_takes_a_repeated_value_once(command: Command) -> None:
    assert len(combinations(command("--vary", "mode=memory|memory", "--format", "json"))) == 1
