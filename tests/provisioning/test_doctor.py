"""The report of doctor agrees with the start, for the shipped drivers and for those of a pack."""

from __future__ import annotations

import socket
import sqlite3
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from tests.store.test_refusal import limited as as_limited_user
from tests.support.provisioning import SHOP_TABLES

from compozy.drivers.postgres import clock_check
from compozy.provisioning.doctor import Check, examine
from compozy.provisioning.lifecycle import Lifecycle
from compozy.provisioning.plan import make_plan
from compozy.resolution.configuration import load_configuration
from compozy.resolution.resolve import resolve
from compozy.settings.reference import project_code
from compozy.state.data_files import LONGEST_BYTES
from compozy.testing.postgres_server import PostgresServer

FACTS = {"valkey.binary": "found"}
PACK = """
settings:
  - {path: shop.host, type: listen_address, default: 127.0.0.2, help: x}
  - {path: shop.port, type: integer, default: 0, help: x}
  - {path: shop.binary, type: path, help: x}
components:
  - {id: shop, mode: shop.mode, driver: shop.driver, about: x}
drivers:
  - {id: shop, component: shop, driver: shop, factory: "./shop.py:Shop",
     options: {port: {port: shop.port}, host: shop.host, binary: shop.binary}}
"""
# A driver with a binary, a port and a file of its own.
SHOP = """
import os
from compozy.drivers.preflight import check_binary, check_port, check_writable
from compozy.drivers.protocol import Description, Storage

FOLDER = os.path.dirname(__file__)


class Shop:
    handle = property(lambda self: self)

    def __init__(self, port, host, binary):
        self.port, self.host, self.binary = port, host, binary

    def start(self, context): ...
    def ping(self): ...
    def stop(self, grace_s): ...
    def describe(self): return Description()

    def preflight(self, context):
        print("the driver prints")
        yield check_binary("shopd", self.binary, "install shopd")
        yield check_port(self.port, self.host)
        yield check_writable(os.path.join(FOLDER, "shop.db"), "shop.file")

    def storage(self):
        return [Storage("file", os.path.join(FOLDER, "shop.db"))]
"""


def checked(directory: Path, *packs: str, **flags: str) -> dict[str, Check]:
    configuration = load_configuration(directory=str(directory), packs=packs, flags=flags, environment={})
    return {check.id: check for check in examine(Lifecycle(configuration, facts=FACTS))}


def shop_pack(directory: Path) -> str:
    pack = directory / "pack"
    pack.mkdir()
    (pack / "shop.yaml").write_text(PACK)
    (pack / "tables.yaml").write_text(SHOP_TABLES)
    (pack / "shop.py").write_text(textwrap.dedent(SHOP))
    return str(pack)


def shop_checks(directory: Path, **flags: str) -> dict[str, Check]:
    """Return the checks of a driver that a pack adds."""
    found = checked(directory, shop_pack(directory), **flags)
    return {name: check for name, check in found.items() if name.startswith("shop.")}


@contextmanager
def busy(host: str) -> Iterator[str]:
    """Return a port with a listener."""
    with socket.socket() as taken:
        taken.bind((host, 0))
        taken.listen()
        yield str(taken.getsockname()[1])


def test_broken_binary_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is run with the environment of children, as a start does; what it prints last names the reason."""
    monkeypatch.setenv("SETTING_OF_THE_USER", "broken")
    script = tmp_path / "valkey-server"
    script.write_text('#!/bin/sh\necho "cannot run here $SETTING_OF_THE_USER" >&2\nexit 1\n')
    script.chmod(0o755)
    monkeypatch.setattr("compozy.drivers.redis_embedded.find_valkey", lambda: str(script))
    found = checked(tmp_path)["redis.binary"]
    assert (found.status, found.message) == ("fail", f"{script} does not run: cannot run here")


@pytest.mark.parametrize(
    ("enabled", "status"), [pytest.param("true", "fail", id="on"), pytest.param("false", None, id="off")]
)
def test_the_port_of_the_web_page_matters_while_it_is_served(enabled: str, status: str | None, tmp_path: Path) -> None:
    """A headless server does not listen on it."""
    with busy("127.0.0.1") as port:
        flags = {"temporal.standalone.enable_ui": enabled, "temporal.standalone.ui_port": port}
        found = checked(tmp_path, **flags).get("temporal.ui_port")
    assert (found.status if found else None) == status


BASE = """
models: [{id: words, provider: wordllama}]
knowledge:
  vector_dbs: [{id: near, provider: filesystem}, {id: far, provider: qdrant, url: "http://127.0.0.1:1"}]
  bases: [{id: docs, store: near, EMBEDDER sources: []}]
"""


@pytest.mark.parametrize(
    ("embedder", "installed", "status"),
    [
        pytest.param("embedder: words,", True, "pass", id="installed"),
        pytest.param("embedder: words,", False, "warn", id="missing"),
        pytest.param("", False, None, id="not-used"),
    ],
)
def test_extra_of_a_used_embedder_is_checked(
    embedder: str, installed: bool, status: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "compozy.yaml").write_text(BASE.replace("EMBEDDER", embedder))
    if not installed:
        monkeypatch.setitem(sys.modules, "wordllama", None)
    found = checked(tmp_path).get("knowledge.embedder")
    assert (found.status if found else None) == status
    assert found is None or (found.fix == "pip install 'compozy[embeddings]'") == (status == "warn")


def test_missing_client_of_a_qdrant_server_fails_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "compozy.yaml").write_text(BASE.replace("EMBEDDER", ""))
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    found = checked(tmp_path)["vector_store[far].reach"]
    assert (found.status, found.fix) == ("fail", "run: pip install 'compozy[qdrant]'")


@pytest.mark.parametrize("dangling", [pytest.param(True, id="dangling"), pytest.param(False, id="file")])
def test_invalid_state_directory_fails_the_check(dangling: bool, tmp_path: Path) -> None:
    """It cannot be created where something else has its name; the components' files have no place either."""
    state = tmp_path / ".compozy"
    if dangling:
        state.symlink_to(tmp_path / "missing")
    else:
        state.write_text("")
    found = checked(tmp_path, mode="persistent")
    names = ("state-directory", "database.files", "redis.files", "temporal.files")
    assert {name: found[name].status for name in names} == dict.fromkeys(names, "fail")
    assert all(str(state) in found[name].message and found[name].fix for name in names)
    assert "database.disk" not in found


def test_a_linked_state_directory_passes(tmp_path: Path) -> None:
    """On another disk, for instance."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".compozy").symlink_to(tmp_path / "elsewhere")
    found = checked(tmp_path, mode="persistent")
    assert [check for check in found.values() if check.status == "fail"] == []


def test_missing_state_directory_passes(tmp_path: Path) -> None:
    """The check creates no file."""
    assert checked(tmp_path, mode="persistent")["state-directory"].status == "pass"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("host", "status"), [pytest.param("127.0.0.2", "fail", id="busy"), pytest.param("127.0.0.1", "pass", id="other")]
)
def test_driver_of_a_pack_brings_its_own_checks(host: str, status: str, tmp_path: Path) -> None:
    """The port on the address that the driver listens on, its file, and the binary of its server."""
    binary = tmp_path / "shopd"
    binary.write_text("#!/bin/sh\necho shopd 1.2\n")
    binary.chmod(0o755)
    with busy("127.0.0.2") as port:
        found = shop_checks(tmp_path, **{"shop.port": port, "shop.host": host, "shop.binary": str(binary)})
    assert {name: check.status for name, check in found.items()} == {
        "shop.code": "pass", "shop.binary": "pass", "shop.port": status, "shop.files": "pass",
    }  # fmt: skip
    assert found["shop.binary"].message == f"{binary}, shopd 1.2"


def test_missing_binary_of_a_pack_fails_with_its_fix(tmp_path: Path) -> None:
    found = shop_checks(tmp_path)["shop.binary"]
    assert (found.status, found.message, found.fix) == ("fail", "no shopd binary was found", "install shopd")


@pytest.mark.parametrize("trusted", [pytest.param(True, id="trusted"), pytest.param(False, id="not-trusted")])
def test_looking_command_runs_the_checks_of_a_trusted_pack_only(
    trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`plan` and `backup` learn from the same driver where it keeps data."""
    pack = shop_pack(tmp_path)
    monkeypatch.setenv("COMPOZY_TRUST", pack if trusted else "")
    configuration = load_configuration(directory=str(tmp_path), packs=[pack], environment={})
    with project_code(allowed=False):
        found = {check.id: check for check in examine(Lifecycle(configuration, facts=FACTS))}
        storage = {step.component: step.storage for step in make_plan(resolve(configuration, FACTS)).steps}["shop"]
    if trusted:
        assert (found["shop.code"].status, found["shop.binary"].status) == ("pass", "fail")
        assert [kept.name for kept in storage or ()] == ["file"]
    else:
        assert (found["shop.code"].status, found["shop.preflight"].status, storage) == ("skip", "skip", None)
        assert found["shop.preflight"].fix == f"compozy trust {pack} lets doctor run it"


def test_wrong_clock_of_the_database_server_is_a_warning() -> None:
    assert [clock_check(time.time() - skew_s).status for skew_s in (0, 60)] == ["pass", "warn"]


def test_full_disk_fails_as_start_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a first start writes is a failure, not a warning."""
    monkeypatch.setattr("compozy.drivers.preflight.NEEDED_DISK_BYTES", 1 << 62)
    monkeypatch.setattr("compozy.drivers.preflight.LOW_DISK_BYTES", 1 << 62)
    found = checked(tmp_path, mode="persistent")
    assert {found[f"{name}.disk"].status for name in ("database", "temporal", "redis")} == {"fail"}


@pytest.mark.parametrize(
    ("limited", "migrates", "status", "text"),
    [
        pytest.param(False, "true", "pass", "a start can apply 0001_executions", id="can-migrate"),
        pytest.param(True, "true", "fail", "the user lacks a privilege", id="no-privilege"),
        pytest.param(False, "false", "fail", "the database lacks migration", id="no-schema"),
    ],
)
def test_schema_is_checked_as_start_does(
    postgres_server: PostgresServer, tmp_path: Path, limited: bool, migrates: str, status: str, text: str
) -> None:
    """The migrations run and are rolled back, or are required; a start would end in the same way."""
    with postgres_server.database() as url:
        seen = as_limited_user(url) if limited else url
        flags = {"database.driver": "postgres", "database.url": seen, "database.auto_migrate": migrates}
        found = checked(tmp_path, **flags)["database.schema"]
        assert (found.status, text in found.message) == (status, True)
        assert checked(tmp_path, **flags)["database.schema"] == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("mode: memory", ("only this user", "every user of this machine", "a random key"), id="memory"),
        pytest.param(
            "mode: persistent\nserver: {api_key: a-key-of-sixteen-characters}",
            ("every user and program of this machine", "every user of this machine", ".compozy/key"),
            id="persistent",
        ),
        pytest.param(
            "server: {host: 0.0.0.0, api_key: a-key-of-sixteen-characters}\ntemporal: {mode: remote, "
            "encryption_key_file: keys.txt}",
            ("other machines as well", "every client that reaches the cluster", "temporal.encryption_key_file"),
            id="open",
        ),
    ],
)
def test_doctor_names_access_to_each_interface(text: str, expected: tuple[str, str, str], tmp_path: Path) -> None:
    """HTTP, Temporal and the payloads, in the words of the rules."""
    (tmp_path / "compozy.yaml").write_text(text)
    lifecycle = Lifecycle(load_configuration(directory=str(tmp_path), environment={}), facts=FACTS)
    found = {check.id: check.message for check in examine(lifecycle) if check.id.startswith("access.")}
    assert list(found) == ["access.http", "access.temporal", "access.payloads"]
    assert all(word in message for word, message in zip(expected, found.values(), strict=True))


@pytest.mark.parametrize("mode", ["memory", "persistent"])
@pytest.mark.parametrize(("migrates", "status"), [("true", "pass"), ("false", "fail")])
def test_schema_of_sqlite_is_checked_without_a_file(tmp_path: Path, mode: str, migrates: str, status: str) -> None:
    """A first start creates the tables, or refuses; nothing is created for the question."""
    found = checked(tmp_path, mode=mode, **{"database.auto_migrate": migrates})["database.schema"]
    assert found.status == status
    assert ("compozy migrate schema" in found.fix) == (mode == "persistent" and status == "fail")
    assert ("database.auto_migrate: true" in found.fix) == (status == "fail")
    assert list(tmp_path.iterdir()) == []


def test_path_too_long_for_sqlite_fails_before_a_start(tmp_path: Path) -> None:
    """The longest path that SQLite opens passes; one byte more does not."""
    for more, status in ((0, ""), (1, "fail")):
        folder = tmp_path
        while len(str(folder)) < 400:
            folder = folder / ("d" * 90)
        folder.mkdir(parents=True, exist_ok=True)
        name = "x" * (LONGEST_BYTES + more - len(f"{folder}/"))
        files = {"database.path": str(folder / name), "temporal.standalone.database_file": str(folder / name[::-1])}
        found = checked(tmp_path, mode="persistent", **files)
        for check in ("database.intact", "temporal.intact"):
            assert (found[check].status if check in found else "") == status
            assert not status or f"at most {LONGEST_BYTES}" in found[check].message


def test_longest_path_equals_the_limit_of_sqlite(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 200) / ("e" * 100)
    folder.mkdir(parents=True)
    opened = []
    for size in (LONGEST_BYTES, LONGEST_BYTES + 1):
        path = f"{folder}/{'x' * (size - len(f'{folder}/'))}"
        with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = wal")
            connection.execute("CREATE TABLE t (a)")
            opened.append(size)
    assert opened == [LONGEST_BYTES]
