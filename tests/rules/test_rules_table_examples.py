"""Examples of tables: `rules check` runs them, `rules cover` counts them."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from compozy.rulebook import Rulebook, check_rules
from compozy.rulebook.files import shipped_texts
from compozy.trial.row_coverage import rows_in_examples
from compozy.trial.rules import table_findings

DRIVER = {"mode": "memory", "redis": {"standalone": {"engine": "auto"}}}


def checked(table: str, *examples: Any) -> tuple[Rulebook | None, list[str]]:
    """Return the rules with examples of a shipped table, and what verification and a trial of them report."""
    pack = yaml.safe_dump({"extends": table, "examples": examples})
    found = check_rules({**shipped_texts(), "pack.yaml": pack})
    with TemporaryDirectory() as directory:
        tried = list(table_findings(found.rulebook, directory)) if found.rulebook and found.valid else []
    return found.rulebook, [report.message for report in (*found.findings, *tried)]


def test_an_example_decided_by_its_row_is_right() -> None:
    rulebook, reports = checked(
        "redis.driver", {"given": {**DRIVER, "$machine": {"valkey.binary": "missing"}}, "rows": "memory-imitation"}
    )
    assert reports == []
    assert rulebook is not None
    assert ("redis.driver", "memory-imitation") in {key[:2] for key in rows_in_examples(rulebook)}


def test_an_example_decided_by_another_row_is_reported() -> None:
    _, reports = checked("redis.driver", {"given": {"mode": "persistent"}, "rows": "external"})
    assert reports == ['an example of table "redis.driver" names external; it is decided by persistent']


def test_an_example_of_findings_names_all_of_them() -> None:
    given = {"server": {"port": 70000}, "temporal": {"standalone": {"ui_port": 0}}}
    _, (report,) = checked("validate.ports", {"given": given, "rows": []})
    assert report.startswith('an example of table "validate.ports" names no row; it is decided by ')
    named = report.rpartition(" by ")[2].split(", ")
    assert checked("validate.ports", {"given": given, "rows": named})[1] == []


@pytest.mark.parametrize(
    ("example", "text"),
    [
        pytest.param({"given": {}}, "an example needs `rows`", id="no-rows"),
        pytest.param({"rows": "external"}, "an example needs `given`", id="no-given"),
        pytest.param({"given": {}, "rows": [1]}, "`rows` of an example must be the id of a row", id="rows-not-text"),
        pytest.param({"given": {}, "rows": "external", "row": 1}, 'unknown key "row"', id="unknown-key"),
        pytest.param({"given": 7, "rows": "external"}, "an example is a configuration", id="given-not-a-mapping"),
        pytest.param({"given": {"$x": 1}, "rows": "external"}, 'unknown input "$x"', id="unknown-input"),
    ],
)
def test_a_malformed_example_is_reported(example: Any, text: str) -> None:
    assert any(text in report for report in checked("redis.driver", example)[1])
