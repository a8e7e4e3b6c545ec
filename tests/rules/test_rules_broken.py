"""Every way to break a rule pack is named, with the place and, where there is one, a witness.

Each folder of `broken` is a pack with one fault. The line of the fault ends in `# <- kind`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from compozy.base.findings import Finding
from compozy.errors import RuleTableError
from compozy.rulebook import check_rules, load_rulebook
from compozy.rulebook.files import rule_texts
from compozy.rulebook.verification import KINDS
from compozy.trial.rules import trial_findings

BROKEN = Path(__file__).parent / "broken"
MARK = re.compile(r"# <- ([\w-]+)$")
# A table without a place of its own to mark: the report is at the shipped table.
AT_THE_SHIPPED_TABLE = {"unproduced": "unproduced"}
WITNESSED = {"gap", "conflict", "overlap", "duplicate", "subsumed", "masked"}
FOUND_BY_TRYING = {"unloadable", "bad-example"}
PACKS = sorted(folder for folder in BROKEN.iterdir() if folder.is_dir())


def marks(pack: Path) -> Iterator[tuple[str, str, int]]:
    """Yield kind, file and line of each mark."""
    for file in sorted(pack.glob("*.yaml")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            found = MARK.search(line)
            if found is not None:
                yield found[1], str(file), number


def reports(pack: Path) -> list[Finding]:
    result = check_rules(rule_texts((str(pack),)))
    tried = trial_findings(result.rulebook) if result.rulebook and result.valid else []
    return [report for report in (*result.findings, *tried) if not _is_shipped(report)]


def _is_shipped(report: Finding) -> bool:
    """Return True if a report is about the shipped rules alone."""
    return report.id in FOUND_BY_TRYING and all(place.file.startswith("rules/") for place in report.places)


@pytest.mark.parametrize("pack", [pytest.param(folder, id=folder.name) for folder in PACKS])
def test_the_fault_is_named_with_its_place(pack: Path) -> None:
    """The kind, the file and the line, a witness where combinations matter, and nothing else."""
    reported = reports(pack)
    found = {(report.id, place.file, place.line) for report in reported for place in report.places[:2]}
    expected = set(marks(pack))
    assert expected <= found
    assert {kind for kind, _, _ in found} == ({kind for kind, _, _ in expected} or {AT_THE_SHIPPED_TABLE[pack.name]})
    assert [report.message for report in reported if report.id in WITNESSED and not report.witness] == []


def test_a_broken_pack_is_refused_with_every_fault_at_once() -> None:
    """The error holds each message with its place and its witness."""
    folders = tuple(str(BROKEN / name) for name in ("gap", "conflict", "no-driver"))
    with pytest.raises(RuleTableError) as caught:
        load_rulebook(folders)
    text = str(caught.value)
    assert caught.value.exit_code == 3
    for folder in folders:
        for kind, file, line in marks(Path(folder)):
            assert f"{file}:{line}:" in text
            assert f" {kind}: " in text
    assert "for example:\n        redis:\n          mode: persistent" in text


def test_a_warning_alone_does_not_keep_a_pack_from_being_used() -> None:
    """A value that no row produces is a warning of `rules check` and does not reject the pack."""
    assert load_rulebook((str(BROKEN / "unproduced"),)).ruleset.tables["worker.concurrency"]


def test_a_conflict_between_packs_names_both_files(tmp_path: Path) -> None:
    """Two packs that decide the same case differently."""
    for name, limit in (("one", 10), ("two", 200)):
        (tmp_path / name).mkdir()
        row = f"{{id: {name}, when: {{driver: sqlite}}, then: {{limit: {limit}}}, because: x}}"
        replaces = ", replaces: one-writer" if name == "one" else ""
        row = row.replace(", when", f"{replaces}, when")
        (tmp_path / name / "rules.yaml").write_text(f"extends: worker.concurrency\nrows:\n  - {row}\n")
    result = check_rules(rule_texts((str(tmp_path / "one"), str(tmp_path / "two"))))
    conflict = next(report for report in result.findings if report.id == "conflict")
    assert {Path(place.file).parent.name for place in conflict.places} == {"one", "two"}


def test_there_are_at_least_twenty_kinds_of_fault() -> None:
    """Every kind has a broken pack, save those that the shipped rules rule out."""
    shown = {kind for pack in PACKS for kind, _, _ in marks(pack)} | set(AT_THE_SHIPPED_TABLE)
    # "unproven" needs hundreds of rows: see tests/tables/test_tables_budget.py.
    assert set(KINDS) - shown == {"no-lifecycle", "no-page", "unproven"}
    assert len(shown) >= 20
