"""A catalogue of a few settings, and short ways to read and link tables in tests."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.rule_sets import compile_tables

from compozy.base.findings import Finding
from compozy.tables.decide import RuleSet, compile_leniently
from compozy.tables.read import read_tables
from compozy.tables.table import ColumnSource, Domain, Table
from compozy.tables.verify import Verification, verify

DOMAINS: Mapping[str, Domain] = {
    "mode": Domain.text(optional=True),
    "redis.mode": Domain.text(optional=True),
    "redis.engine": Domain.finite(["auto", "valkey", "fakeredis"]),
    "redis.persistence.enabled": Domain.boolean(optional=True),
    "server.port": Domain.number(integer=True, minimum=0, maximum=65535),
    "load": Domain.number(optional=True),
    "provider": Domain.text(optional=True),
    "binary": Domain.finite(["found", "missing"]),
}


class FakeCatalogue:
    """Knows `DOMAINS`, and one view of the port."""

    def domain(self, source: ColumnSource) -> Domain | None:
        if source.view is not None:
            return Domain.finite(["default", "file"]) if source.view == "origin" else None
        return DOMAINS.get(source.ref)


def read(text: str, name: str = "rules.yaml") -> tuple[Table, ...]:
    return read_tables([(name, text)])


def compiled(*texts: str) -> RuleSet:
    return compile_tables(read_tables(named(*texts)), FakeCatalogue())


def named(*texts: str) -> list[tuple[str, str]]:
    """Name the texts a.yaml, b.yaml and so on."""
    return [(f"{chr(ord('a') + number)}.yaml", text) for number, text in enumerate(texts)]


def verified(*texts: str, limit: int = 100) -> Verification:
    return verify(compile_leniently(read_tables(named(*texts)), FakeCatalogue()), limit=limit)


def reports(*texts: str, kind: str, limit: int = 100) -> list[Finding]:
    return [report for report in verified(*texts, limit=limit).findings if report.id == kind]


def table(rows: str, inputs: str = "mode: {setting: mode}", hit: str = "unique", outputs: str = "[a, b]") -> str:
    """Write a table `t` with one output `out`; each row is a line of YAML without its dash."""
    lines = "".join(f"  - {row.strip()}\n" for row in rows.strip().splitlines())
    return f"table: t\nhit: {hit}\ninputs: {{{inputs}}}\noutputs: {{out: {outputs}}}\nrows:\n{lines}"


def row(row_id: str, when: str, out: str = "a") -> str:
    return f"{{id: {row_id}, when: {{{when}}}, then: {{out: {out}}}, because: why}}"


def rows(*lines: str) -> str:
    return "\n".join(lines)
