"""Check rules beyond verification: import what they name, run their examples, find the pages that they reference.

Drivers are imported, and none is started.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from compozy.base.findings import ERROR, Collector, Evidence, Finding
from compozy.base.place import Place
from compozy.base.suggest import did_you_mean
from compozy.errors import RuleTableError
from compozy.resolution.rewrite import rewrite
from compozy.rulebook.constraints import EXCLUDED
from compozy.rulebook.rows import DriverRow, Rulebook
from compozy.settings.reference import load_reference
from compozy.tables.subject import UNPROVEN
from compozy.tables.table import Table, TableExample
from compozy.tables.witness import witness_flags
from compozy.trial.examples import CONFIG_NAME, Example, examples_of, run_example, run_table_example


def trial_findings(rulebook: Rulebook, docs: Path | None = None) -> list[Finding]:
    """Return what does not work when it is tried; with `docs`, a folder, also the pages that do not exist."""
    faults = Collector()
    for driver in rulebook.drivers.values():
        _try_factory(driver, faults)
    for fact in [fact for fact in rulebook.registry.facts.values() if fact.probe]:
        _loaded(f"machine fact {fact.name}", fact.probe, fact.place, faults)
    with TemporaryDirectory(prefix="compozy-rules-") as directory:
        findings = [found for example in examples_of(rulebook) for found in try_example(rulebook, example, directory)]
        findings += table_findings(rulebook, directory)
        findings += migration_findings(rulebook, directory)
    return [*faults.findings, *findings, *(_missing_pages(rulebook, docs) if docs else ())]


def confirmed_findings(rulebook: Rulebook, findings: Iterable[Finding]) -> list[Finding]:
    """Return findings, where a gap or conflict that could not be proven is proven if its witness shows it."""
    with TemporaryDirectory(prefix="compozy-rules-") as directory:
        return [_confirmed(rulebook, finding, directory) for finding in findings]


def _confirmed(rulebook: Rulebook, finding: Finding, directory: str) -> Finding:
    witness = finding.witness
    if finding.severity == ERROR or witness is None or finding.id not in ("gap", "conflict"):
        return finding
    given = {**(yaml.safe_load(witness) or {}), "$flags": witness_flags(witness)}
    try:
        run_example(rulebook, Example(finding.key, "witness", given, finding.places[0]), directory)
    except RuleTableError as error:
        if f'table "{finding.key}"' in error.message:
            return replace(finding, message=finding.message.removesuffix(UNPROVEN), severity=ERROR)
    return finding


def _try_factory(driver: DriverRow, faults: Collector) -> None:
    factory = _loaded(f"driver {driver.id}", driver.factory, driver.place, faults)
    if factory is None:
        return
    try:
        inspect.signature(factory).bind(**dict.fromkeys(driver.options))
    except (TypeError, ValueError) as error:
        message = f"driver {driver.id}: {driver.factory} does not take its options: {error}"
        faults.add("unloadable", message, driver.place)


def _loaded(what: str, reference: str, place: Place, faults: Collector) -> Callable[..., object] | None:
    try:
        found: object = load_reference(reference)
    except RuleTableError as error:
        faults.add("unloadable", f"{what}: {error.message}", place)
        return None
    faults.require(callable(found), "unloadable", f"{what}: {reference} cannot be called", place)
    return found if callable(found) else None


def try_example(rulebook: Rulebook, example: Example, directory: str) -> Iterator[Finding]:
    """Yield a finding if an example does not show what it should.

    One that a constraint excludes shows nothing about its finding, and is right where the constraint is not in force.
    """
    try:
        found = sorted({finding.id for finding in run_example(rulebook, example, directory)})
    except RuleTableError as error:
        fault = f"cannot be resolved: {error.findings[0]}"
    else:
        excluded = EXCLUDED in found and example.given_as("$never") is None
        if excluded or (example.id in found) == (example.kind == "bad"):
            return
        shown = "does not show it" if example.kind == "bad" else "shows it"
        fault = f"{shown}; it gives {', '.join(found) or 'no finding'}"
    message = f'finding "{example.id}": its {example.kind} example {fault}'
    yield _bad_example(message, example.place, text=example.text)


def _bad_example(message: str, place: Place, table: str = "", text: str = "") -> Finding:
    finding = Finding.at("bad-example", message, place, key=table)
    return replace(finding, evidence=Evidence(text.rstrip())) if text.rstrip() else finding


def table_findings(rulebook: Rulebook, directory: str) -> Iterator[Finding]:
    """Yield a finding for each example of a table that other rows decide; it runs in an empty directory."""
    for table in rulebook.ruleset.tables.values():
        for example in table.examples:
            yield from _tried_table(rulebook, table, example, directory)


def _tried_table(rulebook: Rulebook, table: Table, example: TableExample, directory: str) -> Iterator[Finding]:
    try:
        decisions = run_table_example(rulebook, table, example, directory)
    except RuleTableError as error:
        message = f'an example of table "{table.id}" cannot be resolved: {error.findings[0]}'
        yield _bad_example(message, example.place, table.id)
        return
    decided = {row.id for decision in decisions for row in decision.rows}
    given = Example(table.id, "table", example.given, example.place)
    if decided != set(example.rows) and EXCLUDED not in {f.id for f in run_example(rulebook, given, directory)}:
        rows = [", ".join(sorted(names)) or "no row" for names in (set(example.rows), decided)]
        message = f'an example of table "{table.id}" names {rows[0]}; it is decided by {rows[1]}'
        yield _bad_example(message, example.place, table.id)


def migration_findings(rulebook: Rulebook, directory: str) -> Iterator[Finding]:
    """Yield a finding for each migration whose example it does not rewrite as it should, or not alone."""
    file = str(Path(directory, CONFIG_NAME))
    for row in rulebook.migrations:
        example = row.example
        found = rewrite(rulebook, example.before, file, to=example.to, unsafe=example.unsafe)
        if found.text != example.after or [change.row.id for change in found.changes] != [row.id]:
            message = f'migration "{row.id}": its example is rewritten in another way'
            yield _bad_example(message, row.place, text=found.text)


def _missing_pages(rulebook: Rulebook, docs: Path) -> Iterator[Finding]:
    rows = [row for table in rulebook.ruleset.tables.values() for row in table.rows if row.body.get("docs")]
    for row in rows:
        page, _, heading = str(row.body["docs"]).partition("#")
        file = docs / page
        if not file.is_file():
            yield Finding.at("no-page", f'finding "{row.id}": page docs/{page} does not exist', row.place)
        elif heading and heading not in (known := headings(file.read_text(encoding="utf-8"))):
            message = f'finding "{row.id}": docs/{page} has no heading #{heading}{did_you_mean(heading, known)}'
            yield Finding.at("no-page", message, row.place)


def headings(text: str) -> list[str]:
    """Return the anchors of a Markdown page, as GitHub makes them.

    >>> headings("# Modes and more\\n## `memory`, the default\\n")
    ['modes-and-more', 'memory-the-default']
    """
    titles = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
