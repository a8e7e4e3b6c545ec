"""Every finding's bad example shows it and its good example does not; factories and pages exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from compozy.base.findings import Collector
from compozy.rulebook import Rulebook, load_rulebook
from compozy.rulebook.files import shipped_texts
from compozy.rulebook.rows import read_rules
from compozy.tables.subject import UNPROVEN
from compozy.tables.verify import verify
from compozy.trial.examples import Example, examples_of, run_example
from compozy.trial.rules import confirmed_findings, trial_findings

ROOT = Path(__file__).parent.parent.parent
PACK = str(ROOT / "examples" / "rule-pack" / "pack")
SHIPPED = list(examples_of(load_rulebook()))
OF_THE_PACK = [example for example in examples_of(load_rulebook((PACK,))) if example.place.file.startswith(PACK)]


def params(examples: list[Example]) -> list[object]:
    return [pytest.param(example, id=f"{example.id}-{example.kind}") for example in examples]


def ids(rulebook: Rulebook, example: Example, directory: Path) -> set[str]:
    return {finding.id for finding in run_example(rulebook, example, str(directory))}


@pytest.mark.parametrize("example", params(SHIPPED))
def test_example_shows_its_finding(example: Example, tmp_path: Path) -> None:
    """A bad example gives the finding; a good one does not."""
    assert (example.id in ids(load_rulebook(), example, tmp_path)) == (example.kind == "bad")


@pytest.mark.parametrize("example", params(OF_THE_PACK))
def test_example_of_a_pack_shows_its_finding(example: Example, tmp_path: Path) -> None:
    """The examples of the example pack as well."""
    assert (example.id in ids(load_rulebook((PACK,)), example, tmp_path)) == (example.kind == "bad")


@pytest.mark.parametrize("example", params([example for example in SHIPPED if example.kind == "good"]))
def test_a_good_example_has_no_error_at_all(example: Example, tmp_path: Path) -> None:
    """Users may copy it."""
    found = run_example(load_rulebook(), example, str(tmp_path))
    assert [finding.message for finding in found if finding.severity == "error"] == []


def test_an_example_leaves_nothing_behind(tmp_path: Path) -> None:
    """The files of an example are removed after its run."""
    for example in SHIPPED[:6]:
        run_example(load_rulebook(), example, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_every_example_has_a_text_to_show() -> None:
    """The documentation prints a file, a `.env` or other inputs of each."""
    inputs = ("$environment", "$dotenv", "$flags", "$machine", "$bytes", "$files", "$never")
    empty = [e.id for e in SHIPPED if not e.text and all(e.given_as(name) is None for name in inputs)]
    assert empty == []


def test_factories_probes_and_pages_exist() -> None:
    """Every shipped driver can be imported and takes its options; every finding has its page."""
    assert [report.message for report in trial_findings(load_rulebook(), ROOT / "docs")] == []


RULES = """
settings:
  - {path: mode, type: choice, values: [memory, persistent], help: m}
  - {path: ports, type: integer, minimum: 1, help: p}
"""
TABLES = """
tables:
  - {table: mode, stage: resolve, hit: first, about: m, inputs: {own: {setting: mode}}, outputs: {mode: [memory]},
     rows: [{id: m, when: {own: MODES}, then: {mode: memory}, because: x}]}
  - {table: ports, stage: resolve, hit: first, about: p,
     inputs: {mode: {decision: mode}, n: {setting: ports}, f: {setting: ports, view: filled}}, outputs: {out: [1]},
     rows: [{id: n, when: {n: unset}, then: {out: 1}, because: x},
            {id: f, when: {f: FILLED}, then: {out: 1}, because: x}]}
  - {table: found, stage: validate, hit: collect, about: f, inputs: {own: {setting: mode}}, rows: [
     {id: f, when: {own: memory}, finding: {severity: warning, key: mode, text: x, good: {}, bad: {mode: memory}}}]}
"""


def rules(modes: str, filled: str) -> Rulebook:
    """Read a few rules without verifying them: the modes that have a row, and the ports of which one has a row."""
    tables = TABLES.replace("MODES", modes).replace("FILLED", filled)
    texts = {"rules.yaml": RULES, "tables.yaml": tables, "l.yaml": shipped_texts()["rules/lifecycle.yaml"]}
    rulebook = read_rules(texts, Collector())
    assert rulebook is not None
    return rulebook


def test_unresolvable_example_is_reported() -> None:
    """Verification may leave a gap unproven, which is a warning."""
    (report,) = trial_findings(rules("memory", "any"))
    assert report.id == "bad-example"
    assert 'its good example cannot be resolved: tables.yaml:3:13: no row of table "mode" matches' in report.message


@pytest.mark.parametrize(
    ("filled", "expected"),
    [pytest.param("false", "error", id="shown"), pytest.param("true", "warning", id="contradicts-itself")],
)
def test_an_unproven_gap_is_an_error_if_its_witness_shows_it(filled: str, expected: str) -> None:
    rulebook = rules("any", filled)
    found = verify(rulebook.ruleset, most=0).findings
    (gap,) = [report for report in found if report.id == "gap"]
    assert (gap.severity, UNPROVEN in gap.message) == ("warning", True)
    (confirmed,) = [report for report in confirmed_findings(rulebook, found) if report.id == "gap"]
    assert (confirmed.severity, UNPROVEN in confirmed.message) == (expected, expected == "warning")
