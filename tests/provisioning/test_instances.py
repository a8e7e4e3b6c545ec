"""A component of a rule pack with an instance for each element of a list, from its resolution to its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.polling import eventually

from compozy.backup.restore import restore
from compozy.backup.take import back_up
from compozy.base.findings import Finding
from compozy.cli.start import print_banner
from compozy.cli.status import print_status
from compozy.client.remote import RemoteClient
from compozy.errors import NotFoundError, ProvisionError, UsageError
from compozy.explain.compare import compare
from compozy.explain.value import explain
from compozy.provisioning.doctor import examine
from compozy.provisioning.lifecycle import Lifecycle
from compozy.provisioning.plan import Plan, make_plan
from compozy.provisioning.provision import Runtime, provision
from compozy.resolution.configuration import load_configuration
from compozy.resolution.resolve import Resolved, resolve
from compozy.resolution.validate import validate
from compozy.rulebook import check_rules, load_rulebook
from compozy.rulebook.files import rule_texts
from compozy.server.stack import Stack
from compozy.settings.reference import project_code
from compozy.trial.rules import trial_findings

PACK = Path(__file__).parents[1] / "packs" / "cache"
FACTS = {"valkey.binary": "found"}
SECRET = "hunter2hunter2"
KEY = "a-key-of-sixteen-characters"
CACHES = f"[{{id: a, limit: 7, password: {SECRET}}}, {{id: b, mode: persistent}}]"


def resolved_of(directory: Path, caches: str = CACHES, **flags: str) -> Resolved:
    given = {"caches": caches, **flags}
    return resolve(load_configuration(directory=str(directory), packs=[str(PACK)], flags=given, environment={}), FACTS)


def plan_of(directory: Path, caches: str = CACHES) -> Plan:
    """Return the plan of the caches alone."""
    plan = make_plan(resolved_of(directory, caches))
    steps = [replace(step, needs=()) for step in plan.steps if step.component.startswith("cache[")]
    return replace(plan, steps=tuple(steps))


def kinds(resolved: Resolved) -> dict[str, tuple[str, str, bool | None]]:
    parts = resolved.components.values()
    return {part.name: (part.mode, part.driver, part.kept) for part in parts if part.id == "cache"}


@pytest.mark.parametrize(
    ("mode", "first"),
    [
        pytest.param("memory", ("memory", "cache-memory", False), id="memory"),
        pytest.param("persistent", ("persistent", "cache-file", True), id="persistent"),
    ],
)
def test_each_element_is_resolved_by_itself(mode: str, first: tuple[str, str, bool], tmp_path: Path) -> None:
    """The first element follows the global mode, the second one has its own."""
    found = kinds(resolved_of(tmp_path, mode=mode))
    assert found == {"cache[a]": first, "cache[b]": ("persistent", "cache-file", True)}


@pytest.mark.parametrize(
    ("caches", "names"),
    [
        pytest.param("[]", [], id="no-element"),
        pytest.param("[{limit: 1}, {id: b}]", ["cache[0]", "cache[b]"], id="without-name"),
        pytest.param("[{id: a}, {id: a}]", ["cache[a]", "cache[a']"], id="repeated"),
        pytest.param("[{id: a, mode: paper}]", ["cache[a]"], id="rejected-mode"),
    ],
)
def test_resolution_is_total(caches: str, names: list[str], tmp_path: Path) -> None:
    """Validation reports the faults; the rest is resolved."""
    resolved = resolved_of(tmp_path, caches)
    assert list(kinds(resolved)) == names
    assert bool(validate(resolved)) == (names != [])


def fields(resolved: Resolved, name: str) -> Mapping[str, Any]:
    return resolved.components[name].fields


def test_written_field_wins_over_derived_and_derived_over_default(tmp_path: Path) -> None:
    caches = "[{id: a, mode: persistent, folder: own}, {id: b, mode: persistent, limit: 0}]"
    resolved = resolved_of(tmp_path, caches)
    assert fields(resolved, "cache[a]")["folder"] == str(tmp_path / "own")
    assert fields(resolved, "cache[b]")["folder"] == str(tmp_path / ".compozy" / "cache")
    assert fields(resolved, "cache[b]")["limit"] == 100, "a rejected value counts as unset"


def test_plan_has_a_step_for_each_instance_with_the_fields_of_its_element(tmp_path: Path) -> None:
    steps = {step.component: step for step in make_plan(resolved_of(tmp_path)).steps}
    assert list(steps)[-2:] == ["cache[a]", "cache[b]"]
    assert steps["cache[a]"].options == {"name": "a", "limit": 7, "password": SECRET}
    assert (steps["cache[b]"].needs, steps["cache[b]"].addresses) == (
        ("database",),
        (str(tmp_path / ".compozy/cache"),),
    )


def test_component_starts_after_all_needed_instances(tmp_path: Path) -> None:
    resolved = resolved_of(tmp_path)
    rows = dict(resolved.rulebook.drivers)
    rows["redis", "valkey"] = replace(rows["redis", "valkey"], needs=("cache",))
    rulebook = replace(resolved.rulebook, drivers=rows)
    plan = make_plan(replace(resolved, configuration=replace(resolved.configuration, rulebook=rulebook)))
    assert plan.steps[-1].needs == ("cache[a]", "cache[b]")


def healthy(runtime: Runtime) -> list[str]:
    return [name for name, health in runtime.health().items() if health.healthy]


def test_instances_start_answer_and_stop(tmp_path: Path) -> None:
    with provision(plan_of(tmp_path)) as runtime:
        assert {name: health.healthy for name, health in runtime.health().items()} == {
            "cache[a]": True,
            "cache[b]": True,
        }
        assert runtime.component("cache[b]").handle.is_file()
        (tmp_path / ".compozy" / "cache" / "b.txt").unlink()
        assert healthy(runtime) == ["cache[a]"]


def test_failing_instance_is_named_and_the_others_are_stopped(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "[{id: a}, {id: broken}, {id: b, mode: persistent}]")
    with pytest.raises(ProvisionError) as caught:
        provision(plan)
    assert (caught.value.component, caught.value.row) == ("cache[broken]", "cache-memory")
    assert list(tmp_path.iterdir()) == [], "what the other instances made is removed"


def test_decision_of_an_instance_is_explained_with_the_place_of_its_element(tmp_path: Path) -> None:
    (tmp_path / "compozy.yaml").write_text("caches:\n  - id: a\n  - id: b\n    mode: persistent\n")
    configuration = load_configuration(directory=str(tmp_path), packs=[str(PACK)], environment={})
    resolved = resolve(configuration, FACTS)
    driver = explain(resolved, "cache[b].driver").step
    assert driver is not None
    mode = driver.inputs[0].step
    assert (driver.table, driver.row) == ("cache[b].driver", "file")
    assert mode is not None
    assert mode.inputs[0].given is not None
    assert str(mode.inputs[0].given.origin).endswith("compozy.yaml:4:11")
    with pytest.raises(NotFoundError, match="did you mean"):
        explain(resolved, "cache[b].drivr")


def test_comparison_names_the_different_instance(tmp_path: Path) -> None:
    left, right = resolved_of(tmp_path), resolved_of(tmp_path, CACHES.replace("persistent", "memory"))
    found = {difference.key for difference in compare(left, right) if difference.kind == "component"}
    assert found == {"cache[b].mode", "cache[b].driver"}


def test_finding_about_an_element_reads_the_decision_about_it(tmp_path: Path) -> None:
    caches = "[{id: a, limit: 5000}, {id: b, mode: persistent, limit: 5000}]"
    found = [finding for finding in validate(resolved_of(tmp_path, caches)) if finding.id == "cache.limit.file"]
    assert [finding.key for finding in found] == ["caches[1].limit"]


def test_plan_lists_the_files_of_each_instance(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "[{id: a}, {id: b, mode: persistent}, {id: c, mode: persistent, folder: elsewhere}]")
    files = {step.component: step.files for step in plan.steps}
    kept = (str(tmp_path / ".compozy" / "cache" / "b.txt"),)
    assert files == {"cache[a]": (), "cache[b]": kept, "cache[c]": (str(tmp_path / "elsewhere" / "c.txt"),)}
    assert plan.state_dir == str(tmp_path / ".compozy")


def test_instances_are_backed_up_and_restored_by_their_names(tmp_path: Path) -> None:
    """Names with any characters."""
    caches = "[{id: a, mode: persistent}, {id: 'b ]/..', mode: persistent, folder: elsewhere}]"
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    with provision(plan_of(source, caches)) as runtime:
        for name in ("cache[a]", "cache[b ]/..]"):
            runtime.component(name).handle.write_text(name)
    archive = tmp_path / "backup.tar.gz"
    manifest = back_up(resolved_of(source, caches), archive)
    assert list(manifest.files) == ["cache[a].file", "cache[b%20]%2F..].file"]
    restored = restore(resolved_of(target, caches), archive, force=False, accept_unsigned=True)
    assert (restored.left_out, restored.missing) == ((), ())
    files = [path for step in plan_of(target, caches).steps for path in step.files]
    assert [Path(path).read_text() for path in files] == ["cache[a]", "cache[b ]/..]"]


def test_backup_is_refused_with_unknown_storage_of_an_instance(tmp_path: Path) -> None:
    """A backup without it would look complete."""
    unknown = r"data of cache\[a\] has an unknown place"
    with project_code(allowed=False), pytest.raises(UsageError, match=unknown) as caught:
        back_up(resolved_of(tmp_path), tmp_path / "backup.tar.gz")
    assert caught.value.hint == f"if you trust it, run: compozy trust {PACK}"


def test_doctor_names_the_instance_of_each_check(tmp_path: Path) -> None:
    configuration = load_configuration(
        directory=str(tmp_path), packs=[str(PACK)], flags={"caches": CACHES}, environment={}
    )
    checks = [check.id for check in examine(Lifecycle(configuration, facts=FACTS)) if check.id.startswith("cache[")]
    files = ["cache[b].binary", "cache[b].files", "cache[b].disk"]
    assert checks == ["cache[a].code", "cache[b].code", *files]


TEXTS = rule_texts((str(PACK),))
TABLES = str(PACK / "tables.yaml")
COMPONENT = str(PACK / "cache.yaml")


def reports(old: str, new: str, file: str = TABLES) -> list[Finding]:
    """Verify the pack with a text replaced."""
    assert old in TEXTS[file]
    return list(check_rules({**TEXTS, file: TEXTS[file].replace(old, new)}).findings)


def test_pack_with_instances_has_nothing_to_report() -> None:
    assert check_rules(TEXTS).findings == ()


def lines(word: str) -> str:
    """Return the row of the tables that contains a word."""
    return next(line for line in TEXTS[TABLES].splitlines(keepends=True) if word in line)


@pytest.mark.parametrize(
    ("old", "new", "kind", "witness"),
    [
        pytest.param(lines("id: own-persistent"), "", "gap", "caches:\n- mode: persistent", id="gap-of-a-field"),
        pytest.param(lines("id: inherits-kept"), "", "gap", "caches:\n- {}\n", id="gap-of-a-decision"),
        pytest.param("when: {own: unset, mode: memory}", "when: {mode: memory}", "conflict", "mode: persistent",
                     id="overlap"),
        pytest.param("{mode: memory}, then: {driver: cache-memory}", "{mode: paper}, then: {driver: cache-memory}",
                     "unknown-value", "", id="value-of-no-decision"),
        pytest.param("own: {item: mode}", "own: {item: mod}", "unknown-input", "", id="unknown-field"),
        pytest.param("sets: {folder: folder}", "sets: {folder: foldr}", "unknown-setting", "", id="sets-unknown-field"),
        pytest.param("sets: {folder: folder}", "sets: {folder: limit}", "bad-output", "", id="sets-other-type"),
    ],
)  # fmt: skip
def test_verification_covers_tables_of_instances(old: str, new: str, kind: str, witness: str) -> None:
    """All combinations of the fields of an element, of decisions about it and of settings."""
    found = [report for report in reports(old, new) if report.id == kind]
    assert found
    assert any(witness in ((report.evidence and report.evidence.witness) or "") for report in found)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        pytest.param("for_each: caches, mode", "for_each: cachs, mode", "unknown setting cachs", id="unknown-list"),
        pytest.param("for_each: caches, mode", "for_each: workflows, mode", "is not a list whose", id="no-names"),
        pytest.param("for_each: caches, mode", "mode", "decides for each of caches; the component does not", id="one"),
        pytest.param("kept: cache.kept", "kept: cache.mode", "must decide true or false", id="kept-no-boolean"),
        pytest.param("{item: limit}", "{item: limt}", "caches has no field limt; did you mean", id="option"),
        pytest.param("{caches[].folder}", "{caches[].foldr}", "caches has no field foldr", id="address"),
    ],
)
def test_component_incompatible_with_its_list_is_reported(old: str, new: str, reason: str) -> None:
    assert any(reason in report.message for report in reports(old, new, COMPONENT))


@pytest.mark.parametrize("mode", [None, "memory", "persistent", "distributed"])
@pytest.mark.parametrize("own", [None, "memory", "persistent", "paper"])
def test_every_mode_with_every_element_decides_as_the_rows_promise(
    mode: str | None, own: str | None, tmp_path: Path
) -> None:
    """Beside a second element, whose decisions do not change."""
    caches = f"[{{id: a{'' if own is None else f', mode: {own}'}}}, {{id: b, mode: memory}}]"
    parts = kinds(resolved_of(tmp_path, caches, **({} if mode is None else {"mode": mode})))
    kept = own == "persistent" or (own in (None, "paper") and mode in ("persistent", "distributed"))
    expected = ("persistent", "cache-file", True) if kept else ("memory", "cache-memory", False)
    assert parts == {"cache[a]": expected, "cache[b]": ("memory", "cache-memory", False)}


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A server with two caches."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    found = {"caches": CACHES, "server.port": "0", "server.api_key": KEY, "redis.standalone.engine": "fakeredis"}
    configuration = load_configuration(directory=str(tmp_path), packs=[str(PACK)], flags=found, environment={})
    lifecycle = Lifecycle(configuration, facts=FACTS)
    lifecycle.validate()
    opened = Stack(lifecycle, notice=lambda line: None)
    try:
        yield opened.open(serve=True)
    finally:
        opened.close(0)


def test_running_instances_are_shown_backed_up_and_stopped_by_their_names(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the banner, in `status`, in the health of the HTTP interface and in a backup beside the server."""
    print_banner(stack, 0.1)
    banner = capsys.readouterr().out
    client = RemoteClient(str(stack.url), KEY)
    health = client.health()
    print_status(health)
    status = capsys.readouterr().out
    for name in ("cache[a]", "cache[b]"):
        assert name in banner
        assert f"{name}   " in status
        assert health.components[name].healthy
    assert (health.components["cache[a]"].kept, health.components["cache[b]"].kept) == (False, True)
    file = stack.runtime.component("cache[b]").handle
    file.write_text("kept")
    assert list(back_up(stack.resolved, tmp_path / "backup.tar.gz").files) == ["cache[b].file"]
    file.unlink()
    eventually(lambda: not client.health().components["cache[b]"].healthy, "the failed health check")
    assert not client.health().ready
    assert client.health().components["cache[a]"].healthy
    stack.close(0)
    assert stack.lifecycle.state == "validated"


def test_examples_of_instance_table_agree_with_resolution() -> None:
    """A field with a rejected value is read as unset there too."""
    rulebook = load_rulebook((str(PACK),))
    assert [report.message for report in trial_findings(rulebook)] == []
