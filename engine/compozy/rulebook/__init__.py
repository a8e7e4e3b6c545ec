"""The rulebook: registry, tables, components, drivers and lifecycle, read and verified together.

It is read from the shipped files of `compozy.rules` and from rule packs, and does not depend on a configuration.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import lru_cache

from compozy.base.findings import ERROR, Collector, Finding, raise_errors
from compozy.base.record import dataclass
from compozy.errors import RuleTableError
from compozy.rulebook.files import installed_packs, pack_directories, pack_files, rule_texts, shipped_files
from compozy.rulebook.recording import watched
from compozy.rulebook.rule_records import ComponentRow, DriverRow, Rulebook, digest_of
from compozy.rulebook.verified import keep_verified, verified_rules

__all__ = [
    "ComponentRow", "DriverRow", "RuleCheck", "Rulebook", "build_rulebook",
    "check_rules", "installed_packs", "load_rulebook", "pack_directories", "pack_files", "shipped_files",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """The result of verification: all `findings`, and how much was verified.

    `rulebook` is None when a file or a row could not be read. `took_s` are the seconds that verifying took,
    reading aside.
    """

    findings: tuple[Finding, ...]
    rulebook: Rulebook | None
    took_s: float

    @property
    def valid(self) -> bool:
        """True if the rules can be used; warnings do not count."""
        return all(finding.severity != ERROR for finding in self.findings)

    @property
    def tables(self) -> int:
        """The number of tables."""
        return len(self.rulebook.ruleset.tables) if self.rulebook else 0

    @property
    def rows(self) -> int:
        """The number of rows in all tables."""
        return sum(len(table.rows) for table in self.rulebook.ruleset.tables.values()) if self.rulebook else 0


def load_rulebook(packs: tuple[str, ...] = ()) -> Rulebook:
    """Read and verify the shipped rules and those of `packs`, absolute directories in the order given.

    The same content is read once a process and verified once a machine.

    Raises:
        RuleTableError: a file cannot be read, or verification refuses the rules; it holds every fault with
            place and witness.
    """
    if not packs:
        return watched(_shipped())
    texts = rule_texts(packs)
    return watched(_loaded(_Texts(texts, digest_of(texts))))


@lru_cache(maxsize=1)
def _shipped() -> Rulebook:
    texts = rule_texts(())
    return _loaded(_Texts(texts, digest_of(texts)))


class _Texts:
    """Lets texts be a cache key by their digest."""

    def __init__(self, texts: Mapping[str, str], digest: str) -> None:
        self.texts = texts
        self.digest = digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Texts) and self.digest == other.digest


@lru_cache(maxsize=8)
def _loaded(key: _Texts) -> Rulebook:
    kept = verified_rules(key.digest)
    if kept is not None:
        return kept
    check = check_rules(key.texts)
    rulebook = _usable(check.rulebook, check.findings)
    keep_verified(rulebook)
    return rulebook


def build_rulebook(texts: Mapping[str, str]) -> Rulebook:
    """Build the rules from file names and texts, the shipped ones first, without verifying them.

    Raises:
        RuleTableError: a row is malformed, two rows collide, or a table names what does not exist.
    """
    from compozy.rulebook.rows import read_rules

    found = Collector()
    rulebook = read_rules(texts, found)
    links = (*rulebook.ruleset.faults, *rulebook.never.faults) if rulebook else ()
    return _usable(rulebook, [*found.findings, *links])


def _usable(rulebook: Rulebook | None, findings: Iterable[Finding]) -> Rulebook:
    raise_errors(findings, RuleTableError)
    if rulebook is None:
        raise RuleTableError.of("the rules cannot be read")
    return rulebook


def check_rules(texts: Mapping[str, str]) -> RuleCheck:
    """Verify rules from file names and texts; return all findings."""
    # Rules that were found valid before are used without loading what verifies.
    from compozy.rulebook.rows import read_rules
    from compozy.rulebook.verification import rule_findings

    found = Collector()
    rulebook = read_rules(texts, found)
    began = time.perf_counter()
    findings = (*found.findings, *(rule_findings(rulebook) if rulebook else ()))
    return RuleCheck(findings, rulebook, time.perf_counter() - began)
