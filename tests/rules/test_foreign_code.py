"""Python of a rule pack that fails: each verb and each kind of fault ends in an error that names component and row."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.support.provisioning import PATIENCE_S, SHOP_TABLES, no_threads_left

from compozy.drivers import foreign_driver
from compozy.drivers.protocol import LoopThread, StartContext
from compozy.errors import DriverError, ProvisionError, RuleTableError
from compozy.provisioning import doctor, runtime
from compozy.provisioning import provision as provisioning
from compozy.provisioning.doctor import Check, examine_step
from compozy.provisioning.lifecycle import Lifecycle
from compozy.provisioning.plan import Plan, make_plan
from compozy.provisioning.provision import provision
from compozy.resolution.configuration import load_configuration
from compozy.resolution.resolve import Resolved
from compozy.settings import machine
from compozy.settings.machine import probe_facts
from compozy.settings.reference import project_code

COMPOZY = str(Path(sys.executable).parent / "compozy")
LIMIT_S = 0.3
RULES = """
settings:
  - {path: shop.file, type: path, help: x}
machine:
  - {fact: shop.ready, values: [ready, unknown], probe: "./shop.py:ready", help: x}
components:
  - {id: shop, mode: shop.mode, driver: shop.driver, about: x}
drivers:
  - {id: shop-row, component: shop, driver: shop, factory: "./shop.py:Shop", timeout: 300ms}
"""
# `{verb}` is a statement of the test, `{async_verb}` makes the function `async def`.
PYTHON = """
import os, sys, time
from compozy.drivers.preflight import check_reach
from compozy.drivers.protocol import Description
FOLDER = os.path.dirname(__file__)

def note(text):
    with open(os.path.join(FOLDER, "events"), "a") as file:
        file.write(text + chr(10))

def hang():
    while not os.path.exists(os.path.join(FOLDER, "released")):
        time.sleep(0.01)

{code}
class Shop:
    def __init__(self):
        {constructor}
    handle = property(lambda self: self)
    {async_start}def start(self, context):
        note("started")
        {start}
    {async_ping}def ping(self):
        {ping}
    {async_stop}def stop(self, grace_s):
        note("stopped")
        {stop}
    {async_describe}def describe(self):
        {describe}
        return Description()
    {async_preflight}def preflight(self, context):
        {preflight}
        return [*check_reach(self, context)]
    {async_storage}def storage(self):
        {storage}
        return []
    {async_holding}def holding(self):
        {holding}

{async_probe}def ready():
    {probe}
    return "ready"
"""
KINDS = {
    "error": ("1 / 0", "ZeroDivisionError"),
    "exit": ("sys.exit(0)", "SystemExit"),
    "interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "generator": ("raise GeneratorExit", "GeneratorExit"),
    "hang": ("hang()", "within|in time"),
    "async": ("", "async def"),
}
RAISED = {"error": ZeroDivisionError, "exit": SystemExit, "interrupt": KeyboardInterrupt, "generator": GeneratorExit}
VERBS = ("code", "constructor", "start", "ping", "stop", "describe", "preflight", "storage", "holding", "probe")


@dataclass
class Pack:
    """A generated pack with at most one fault."""

    folder: Path

    def write(self, verb: str = "", kind: str = "") -> Pack:
        """Write the pack so that `verb` has a fault of this kind."""
        slots = dict.fromkeys(VERBS, "pass") | {f"async_{name}": "" for name in VERBS}
        if kind == "async":
            slots[f"async_{verb}"] = "async "
        elif kind:
            slots[verb] = KINDS[kind][0]
        (self.folder / "rules.yaml").write_text(RULES)
        (self.folder / "tables.yaml").write_text(SHOP_TABLES)
        (self.folder / "shop.py").write_text(PYTHON.format(**slots))
        return self

    def lifecycle(self) -> Lifecycle:
        """Return the lifecycle of a project that uses the pack."""
        found = load_configuration(directory=str(self.folder.parent), packs=[str(self.folder)], environment={})
        return Lifecycle(found, facts={"valkey.binary": "found", "shop.ready": "unknown"})

    def plan(self, resolved: Resolved | None = None) -> Plan:
        """Return the plan of the pack's component alone."""
        with project_code(allowed=False):
            plan = make_plan(resolved or self.lifecycle().resolve())
        return replace(plan, steps=tuple(step for step in plan.steps if step.component == "shop"), state_dir=None)

    def events(self) -> list[str]:
        """Return what the driver did."""
        file = self.folder / "events"
        return file.read_text().split() if file.exists() else []


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pack]:
    """A pack, with short limits; code that hangs ends with the test."""
    for module, name in (
        (provisioning, "SETTLE_S"), (provisioning, "SLACK_S"), (runtime, "UNDO_S"), (doctor, "CHECK_S"),
        (foreign_driver, "HOLDING_S"), (foreign_driver, "PREFLIGHT_S"), (machine, "PROBE_S"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, LIMIT_S)
    folder = tmp_path / "pack"
    folder.mkdir()
    with no_threads_left():
        yield Pack(folder)
        (folder / "released").write_text("")


def cases(*verbs: str, without: str = "") -> list[object]:
    """Return every kind of fault for each verb."""
    return [pytest.param(v, k, id=f"{v}-{k}") for v in verbs for k in KINDS if k not in without.split()]


@pytest.mark.parametrize(
    ("verb", "kind"), [*cases("code", "constructor", without="async"), *cases("start", "ping", "describe")]
)
def test_fault_of_a_driver_fails_the_start_with_component_and_row(verb: str, kind: str, pack: Pack) -> None:
    """Exit code 3 where the code cannot be used, else 4; a driver that began to start is stopped."""
    plan = pack.write(verb, kind).plan()
    with pytest.raises((RuleTableError, ProvisionError), match=KINDS[kind][1]) as caught:
        provision(plan, timeout_s=LIMIT_S)
    unusable = verb == "code" or kind == "async"
    assert caught.value.exit_code == (3 if unusable else 4)
    assert "shop" in caught.value.message
    assert "row shop-row" in caught.value.message
    begun = verb in ("start", "ping", "describe") and not unusable
    assert pack.events() == (["started", "stopped"] if begun else [])


@pytest.mark.parametrize(("verb", "kind"), cases("stop", without="async"))
def test_fault_of_stop_fails_the_close_with_component_and_row(verb: str, kind: str, pack: Pack) -> None:
    """In bounded time, for any grace period."""
    found = provision(pack.write(verb, kind).plan(), timeout_s=PATIENCE_S)
    with pytest.raises(DriverError, match=r"shop \(rule row shop-row\) did not stop: .*" + f"({KINDS[kind][1]})"):
        found.close(0)
    assert found.health() == {}


@pytest.mark.parametrize(("verb", "kind"), cases("holding"))
def test_fault_of_holding_fails_the_start(verb: str, kind: str, pack: Pack) -> None:
    """It is asked where a state directory exists."""
    plan = replace(pack.write(verb, kind).plan(), state_dir=str(pack.folder.parent / ".compozy"))
    with pytest.raises((RuleTableError, ProvisionError), match=f"shop.*row shop-row.*({KINDS[kind][1]})"):
        provision(plan, timeout_s=PATIENCE_S)
    assert not (pack.folder.parent / ".compozy").exists()


@pytest.mark.parametrize(("verb", "kind"), cases("ping", "describe", without="async hang"))
def test_fault_of_a_running_driver_is_its_health(verb: str, kind: str, pack: Pack) -> None:
    """The answer to `status` has the reason, and no traceback."""
    plan = pack.write().plan()
    with provision(plan, timeout_s=PATIENCE_S) as found:
        driver = found.component("shop").handle
        setattr(driver, verb, faulty(kind))
        health = found.health()["shop"]
    assert (health.healthy, KINDS[kind][1] in str(health.error)) == (False, True)


def faulty(kind: str) -> object:
    """Return a verb that raises."""

    def fail() -> None:
        raise RAISED[kind]

    return fail


@pytest.mark.parametrize(
    ("verb", "kind"),
    [*cases("code", "constructor", "stop", without="async hang"), *cases("start", "ping", "describe", "preflight")],
)
def test_fault_of_a_driver_fails_the_doctor(verb: str, kind: str, pack: Pack) -> None:
    """The check that met it fails, and no check raises."""
    pack.write(verb, kind)
    failures = [check for check in asked(pack) if check.status == "fail"]
    assert failures
    assert all("row shop-row" in check.message for check in failures)


def asked(pack: Pack) -> list[Check]:
    """Return the answers of the doctor about the component."""
    resolved = pack.lifecycle().resolve()
    plan = pack.plan(resolved)
    loop = LoopThread()
    with closing(loop):
        context = StartContext(loop, lambda line: None, time.monotonic() + PATIENCE_S)
        return list(examine_step(resolved, plan.steps[0], context))


def test_driver_without_fault_passes(pack: Pack) -> None:
    pack.write()
    assert [(check.id, check.status) for check in asked(pack)] == [("shop.code", "pass"), ("shop.reach", "pass")]


@pytest.mark.parametrize(("verb", "kind"), cases("storage"))
def test_fault_of_storage_fails_the_plan(verb: str, kind: str, pack: Pack) -> None:
    """Before anything is locked or started."""
    resolved = pack.write(verb, kind).lifecycle().resolve()
    with pytest.raises((RuleTableError, ProvisionError), match=f"shop.*row shop-row.*({KINDS[kind][1]})"):
        make_plan(resolved, LIMIT_S)


@pytest.mark.parametrize(
    ("verb", "returned"),
    [pytest.param("preflight", "Check", id="preflight"), pytest.param("storage", "Storage", id="storage")],
)
def test_verb_with_another_return_type_is_refused(verb: str, returned: str, pack: Pack) -> None:
    pack.write()
    file = pack.folder / "shop.py"
    file.write_text(file.read_text() + f"Shop.{verb} = lambda self, *context: ['text']\n")
    if verb == "storage":
        with pytest.raises(ProvisionError, match=f"its storage returned str, not a {returned}"):
            make_plan(pack.lifecycle().resolve())
    else:
        assert f"its preflight returned str, not a {returned}" in asked(pack)[-1].message


@pytest.mark.parametrize(
    ("source", "status", "text"),
    [
        pytest.param(None, "fail", "No such file", id="missing"),
        pytest.param("class Shop(:", "fail", "SyntaxError in line 1", id="syntax"),
        pytest.param("class Store: ...", "fail", "does not define Shop", id="name"),
        pytest.param("from elsewhere import *", "skip", "does not import", id="unknown"),
        pytest.param("raise SystemExit\nclass Shop: ...", "skip", "does not import", id="not-run"),
    ],
)
def test_doctor_examines_code_without_import(source: str | None, status: str, text: str, pack: Pack) -> None:
    """Certain failures are reported; the rest is reported as unchecked."""
    pack.write()
    if source is None:
        (pack.folder / "shop.py").unlink()
    else:
        (pack.folder / "shop.py").write_text(source)
    with project_code(allowed=False):
        code = asked(pack)[0]
    assert (code.id, code.status, text in code.message) == ("shop.code", status, True)


@pytest.mark.parametrize(("verb", "kind"), cases("probe"))
def test_fault_of_a_probe_is_a_fault_of_its_row(verb: str, kind: str, pack: Pack) -> None:
    """Exit code 3, with the fact and the place of its row."""
    registry = pack.write(verb, kind).lifecycle().configuration.rulebook.registry
    with pytest.raises(RuleTableError, match=rf"rules.yaml:\d+:\d+: machine fact shop.ready: .*({KINDS[kind][1]})"):
        probe_facts(registry)


def run(pack: Pack, *words: str) -> tuple[int, dict[str, object]]:
    """Return exit code and document of a command; its output must be one JSON document."""
    command = [COMPOZY, *words, "--rules", str(pack.folder), "--format", "json"]
    result = subprocess.run(command, cwd=pack.folder.parent, capture_output=True, text=True, timeout=60, check=False)
    found: dict[str, object] = json.loads(result.stdout)
    assert "Traceback" not in result.stderr
    return result.returncode, found


@pytest.mark.e2e
def test_exit_and_output_of_a_pack_do_not_change_code_and_output(pack: Pack) -> None:
    """A gate in CI sees exit code 3, and one JSON document; the probe imports the file first."""
    text = pack.write("code", "exit").folder / "shop.py"
    text.write_text('print("loading")\n' + text.read_text())
    code, document = run(pack, "start")
    error = document["error"]
    assert isinstance(error, dict)
    assert (code, error["id"], "machine fact shop.ready" in error["message"]) == (3, "rules.invalid", True)
    code, document = run(pack, "rules", "check")
    assert (code, document["valid"]) == (3, False)


@pytest.mark.e2e
def test_doctor_does_not_promise_skipped_checks(pack: Pack) -> None:
    """The verdict names what was left out."""
    pack.write("code", "exit")
    command = [COMPOZY, "doctor", "--rules", str(pack.folder), "--mode", "memory"]
    result = subprocess.run(command, cwd=pack.folder.parent, capture_output=True, text=True, timeout=60, check=False)
    assert "start would succeed" not in result.stdout
