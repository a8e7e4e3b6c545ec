"""What a driver row may say of addresses, files and checks, and how what makes no sense in it is named."""

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
    options: {path: database.path}
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
        pytest.param("files: [database.path]", id="file"),
        pytest.param("files: [{file: database.path, when: {database.driver: sqlite}}]", id="file-when"),
        pytest.param("addresses: ['{database.host}', ['{database.url}', '{database.host}:1']]", id="addresses"),
        pytest.param("addresses: [{address: ['{database.url}', x], when: {database.port: 1}}]", id="address-when"),
        pytest.param("checks: [{binary: valkey}, {reach: true}, {writable: database.path}]", id="checks"),
        pytest.param("checks: [{port: database.port, host: server.host}]", id="port"),
        pytest.param("checks: [{port: database.port, host: {value: '::1'}}]", id="port-constant"),
        pytest.param("checks: [{extension: vector, provider: pgvector, when: {database.name: a}}]", id="extension"),
    ],
)
def test_a_row_that_makes_sense_has_nothing_to_report(column: str) -> None:
    """Every form there is."""
    assert reports(column) == ()


def test_an_entry_without_a_condition_may_be_its_value_alone() -> None:
    """Both spellings are the same."""
    short, long = "files: [database.path]", "files: [{file: database.path}]"
    assert row_of(short).files == row_of(long).files
    short, long = "addresses: [a, [b, c]]", "addresses: [{address: a}, {address: [b, c]}]"
    assert row_of(short).addresses == row_of(long).addresses


@pytest.mark.parametrize(
    ("column", "kind", "reason"),
    [
        pytest.param("files: database.path", "malformed", "must be a list", id="file-no-list"),
        pytest.param("files: [[database.path]]", "malformed", "must be text", id="file-list"),
        pytest.param("files: [{when: {}}]", "malformed", "needs `file`", id="file-missing"),
        pytest.param("files: [database.pth]", "bad-driver",
                     "file database.pth: there is no setting database.pth; did you mean", id="file-unknown"),
        pytest.param("files: [database.host]", "bad-driver", "is no setting of a path", id="file-text"),
        pytest.param("files: [vault.file]", "bad-driver", "vault.file is a secret", id="file-secret"),
        pytest.param("addresses: [{adress: x}]", "malformed", 'unknown key "adress"', id="address-misspelled"),
        pytest.param("addresses: [7]", "malformed", "an address must be text", id="address-number"),
        pytest.param("addresses: [[]]", "malformed", "an address must be text", id="address-empty"),
        pytest.param("addresses: [{address: x, when: {a.b: 1}}]", "bad-driver",
                     "address x: there is no setting a.b", id="address-condition"),
        pytest.param("checks: [{}]", "malformed", "a check names exactly one of binary, port", id="check-empty"),
        pytest.param("checks: [{reach: true, binary: valkey}]", "malformed", "exactly one", id="check-two"),
        pytest.param("checks: [reach]", "malformed", "must be a mapping", id="check-text"),
        pytest.param("checks: [{reech: true}]", "malformed",
                     'unknown key "reech" in a check; did you mean', id="check-misspelled"),
        pytest.param("checks: [{reach: false}]", "bad-driver", "must be true", id="reach-false"),
        pytest.param("checks: [{schema: database.path}]", "bad-driver", "of a boolean", id="schema-path"),
        pytest.param("checks: [{reach: 'true'}]", "malformed", "must be true or false", id="reach-text"),
        pytest.param("checks: [{binary: mysqld}]", "bad-driver", "there is no binary mysqld", id="binary"),
        pytest.param("checks: [{port: no.such.setting, host: database.host}]", "bad-driver",
                     "check port: there is no setting no.such.setting", id="port-unknown"),
        pytest.param("checks: [{port: database.host, host: database.host}]", "bad-driver",
                     "is no setting of a whole number", id="port-text"),
        pytest.param("checks: [{port: database.port}]", "bad-driver", "needs `host`", id="port-without-host"),
        pytest.param("checks: [{port: database.port, host: {value: 1}}]", "bad-driver", "needs `host`", id="host-one"),
        pytest.param("checks: [{port: database.port, host: database.port}]", "bad-driver",
                     "is no setting of an address to listen on", id="host-number"),
        pytest.param("checks: [{port: database.port, host: database.host}]", "bad-driver",
                     "is no setting of an address to listen on", id="host-text"),
        pytest.param("checks: [{port: database.port, host: {value: 0.0.0.0}}]", "bad-driver",
                     "reachable from other machines", id="host-open"),
        pytest.param("checks: [{writable: database.url}]", "bad-driver", "of a path", id="writable-url"),
        pytest.param("checks: [{disk: database.pth}]", "bad-driver", "there is no setting", id="disk-unknown"),
        pytest.param("checks: [{reach: true, host: database.host}]", "bad-driver",
                     "`host` belongs to the check port", id="host-of-another"),
        pytest.param("checks: [{reach: true, provider: pgvector}]", "bad-driver",
                     "`provider` belongs to the check extension", id="provider-of-another"),
        pytest.param("checks: [{extension: vector, provider: pgvectr}]", "bad-driver",
                     "no vector store has the provider pgvectr; did you mean", id="provider-unknown"),
        pytest.param("checks: [{reach: true, when: {database.auto_migrate: maybe}}]", "bad-driver",
                     "database.auto_migrate is never maybe", id="condition-word"),
        pytest.param("checks: [{reach: true, when: {database.driver: SQLite}}]", "bad-driver",
                     "database.driver is never SQLite", id="condition-spelling"),
        pytest.param("checks: [{reach: true, when: {database.connect_timeout: 5s}}]", "bad-driver",
                     "database.connect_timeout is never 5s", id="condition-duration"),
        pytest.param("checks: [{reach: true, when: {models: []}}]", "bad-driver", "is never", id="condition-list"),
        pytest.param("checks: [{reach: true, when: {server.port: true}}]", "bad-driver",
                     "server.port is never true", id="condition-type"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(column: str, kind: str, reason: str) -> None:
    """With kind and place, before anybody asks doctor."""
    report, *_ = reports(column)
    assert (report.id, report.places[0].file) == (kind, "/pack/drivers.yaml")
    assert reason in report.message
