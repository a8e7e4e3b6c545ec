"""Driver rows: the forms of addresses and options, and the reports about invalid ones."""

from __future__ import annotations

import pytest

from compozy.base.findings import Finding
from compozy.rulebook import check_rules
from compozy.rulebook.drivers import DriverRow
from compozy.rulebook.files import shipped_texts

ROW = """
settings:
  - {path: vault.file, type: path, secret: true, help: x}
drivers:
  - id: sqlite
    replaces: sqlite
    component: database
    driver: sqlite
    factory: compozy.drivers.sqlite:SqliteDriver
    COLUMN
"""


def reports(column: str) -> tuple[Finding, ...]:
    return check_rules({**shipped_texts(), "/pack/drivers.yaml": ROW.replace("COLUMN", column)}).findings


def row_of(column: str) -> DriverRow:
    rulebook = check_rules({**shipped_texts(), "/pack/drivers.yaml": ROW.replace("COLUMN", column)}).rulebook
    assert rulebook is not None
    return rulebook.drivers["database", "sqlite"]


@pytest.mark.parametrize(
    "column",
    [
        pytest.param("addresses: ['{database.host}', ['{database.url}', '{database.host}:1']]", id="addresses"),
        pytest.param("addresses: [{address: ['{database.url}', x], when: {database.port: 1}}]", id="address-when"),
        pytest.param("options: {path: {each: 'knowledge.vector_dbs[].provider'}}", id="each"),
    ],
)
def test_valid_row_has_nothing_to_report(column: str) -> None:
    """Every form there is."""
    assert reports(column) == ()


def test_an_entry_without_a_condition_may_be_its_value_alone() -> None:
    """Both spellings are the same."""
    short, long = "addresses: [a, [b, c]]", "addresses: [{address: a}, {address: [b, c]}]"
    assert row_of(short).addresses == row_of(long).addresses


@pytest.mark.parametrize(
    ("column", "kind", "reason"),
    [
        pytest.param("addresses: [{adress: x}]", "malformed", 'unknown key "adress"', id="address-misspelled"),
        pytest.param("addresses: [7]", "malformed", "an address must be text", id="address-number"),
        pytest.param("addresses: [[]]", "malformed", "an address must be text", id="address-empty"),
        pytest.param("addresses: [{address: x, when: {a.b: 1}}]", "bad-driver",
                     "address x: unknown setting a.b", id="address-condition"),
        pytest.param("options: {path: {item: path}}", "bad-driver", "database has no `for_each`", id="no-element"),
        pytest.param("addresses: ['{knowledge.vector_dbs[].host}']", "bad-driver",
                     "unknown setting knowledge.vector_dbs[].host", id="address-of-no-element"),
        pytest.param("options: {path: {each: 'knowledge.vector_dbs[].providr'}}", "bad-driver",
                     "knowledge.vector_dbs has no field providr; did you mean", id="each-field"),
        pytest.param("options: {path: {each: knowledge.vectors}}", "bad-driver",
                     "unknown setting knowledge.vectors", id="each-list"),
        pytest.param("addresses: [{address: x, when: {database.auto_migrate: maybe}}]", "bad-driver",
                     "database.auto_migrate is never maybe", id="condition-word"),
        pytest.param("addresses: [{address: x, when: {database.driver: SQLite}}]", "bad-driver",
                     "database.driver is never SQLite", id="condition-spelling"),
        pytest.param("addresses: [{address: x, when: {database.connect_timeout: 5s}}]", "bad-driver",
                     "database.connect_timeout is never 5s", id="condition-duration"),
        pytest.param("addresses: [{address: x, when: {models: []}}]", "bad-driver", "is never", id="condition-list"),
        pytest.param("addresses: [{address: x, when: {server.port: true}}]", "bad-driver",
                     "server.port is never true", id="condition-type"),
    ],
)  # fmt: skip
def test_invalid_row_is_named(column: str, kind: str, reason: str) -> None:
    """With kind and place, at loading and not only in doctor."""
    report, *_ = reports(column)
    assert (report.id, report.places[0].file) == (kind, "/pack/drivers.yaml")
    assert reason in report.message
