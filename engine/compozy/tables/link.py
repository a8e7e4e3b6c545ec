"""Link tables with each other and with the sources of the caller's catalogue.

Linking finds the domain of every column, the order of evaluation, and unresolved references. Combinations of cells are
left to verification.
"""

from __future__ import annotations

from collections.abc import Mapping

from compozy.base.findings import Collector, Finding
from compozy.base.record import dataclass
from compozy.base.suggest import did_you_mean
from compozy.tables.cells import condition_words, scalar_words
from compozy.tables.table import Column, ColumnSource, Condition, Domain, Row, Scalar, SourceCatalogue, Table


@dataclass(frozen=True, slots=True)
class Links:
    """Domains by table and column, table ids in order of evaluation, and the faults found."""

    domains: Mapping[str, Mapping[str, Domain]]
    order: tuple[str, ...]
    faults: tuple[Finding, ...]


def link_tables(tables: Mapping[str, Table], catalogue: SourceCatalogue) -> Links:
    """Find each column's domain and the order of the tables; findings are collected."""
    found = Collector()
    domains: dict[str, dict[str, Domain]] = {}
    for table in tables.values():
        domains[table.id] = {c.name: _domain(table, c, tables, catalogue, found) for c in table.columns}
        _check_targets(table, catalogue, found)
        for row in table.rows:
            _check_cells(table, row, domains[table.id], found)
    order = _order(tables, found)
    return Links(domains, order, tuple(found.findings))


def feeders(table: Table) -> tuple[str, ...]:
    """Return the ids of the tables whose decisions a table reads, in order of its columns."""
    return tuple(dict.fromkeys(c.source.ref for c in table.columns if c.source.kind == "decision"))


# domains


def _domain(
    table: Table, column: Column, tables: Mapping[str, Table], catalogue: SourceCatalogue, found: Collector
) -> Domain:
    if column.source.kind == "decision":
        reason, domain = _decision_domain(table, column.source, tables)
        kind = "unknown-decision"
    else:
        domain = catalogue.domain(column.source)
        kind, reason = "unknown-input", f'unknown {column.source}, which input "{column.name}" reads'
    if domain is None:
        found.add(kind, reason, column.place, key=table.id)
        return _guessed_domain(table, column)
    return domain


def _decision_domain(table: Table, source: ColumnSource, tables: Mapping[str, Table]) -> tuple[str, Domain | None]:
    feeder = tables.get(source.ref)
    if feeder is None:
        return f'unknown table "{source.ref}"{did_you_mean(source.ref, tables)}', None
    if feeder.hit == "collect":
        return f'table "{source.ref}" collects rows and has no single decision to read', None
    if feeder.for_each is not None and feeder.for_each != table.for_each:
        return f'table "{source.ref}" decides for each of {feeder.for_each}; this table does not', None
    name = decision_output(source, feeder)
    if name not in feeder.outputs:
        known = ", ".join(feeder.outputs)
        asked = f'has no output "{name}"' if name else "has several outputs; choose one with `output`"
        return f'table "{source.ref}" {asked} (outputs: {known})', None
    return "", produced_domain(feeder, name)


def decision_output(source: ColumnSource, feeder: Table) -> str:
    """Return the output that a decision input reads, empty when it must be named and is not."""
    if source.output is not None:
        return source.output
    return next(iter(feeder.outputs)) if len(feeder.outputs) == 1 else ""


def produced_domain(feeder: Table, output: str) -> Domain:
    """Return what a reader of an output may see."""
    domain = feeder.outputs[output]
    if domain.kind == "finite":
        return domain
    # Rows hold constants, so what text or numbers a table decides is a short list as well.
    return Domain.finite(row.then[output] for row in feeder.rows if output in row.then)


def _guessed_domain(table: Table, column: Column) -> Domain:
    conditions = [row.condition(column.name) for row in table.rows]
    if any(condition.intervals for condition in conditions):
        return Domain.number(optional=True)
    values = [value for condition in conditions for value in condition.values]
    if all(isinstance(value, str) for value in values):
        return Domain.text(optional=True)
    return Domain.finite([*values, None])


# cells and targets


def _check_cells(table: Table, row: Row, domains: Mapping[str, Domain], found: Collector) -> None:
    for name, condition in row.when.items():
        domain = domains[name]
        place = row.cells.get(name, row.place)
        for value in _outside(condition, domain):
            legal = _legal(value, domain)
            reason = f'row "{row.id}": {scalar_words(value)} is not a value of input "{name}"{legal}'
            found.add("unknown-value", reason, place, key=table.id)
        if condition.intervals and not _has_numbers(domain):
            words = condition_words(Condition.of(intervals=condition.intervals))
            reason = f'row "{row.id}": input "{name}" is not a number, so the range {words} never holds'
            found.add("unknown-value", reason, place, key=table.id)


def _outside(condition: Condition, domain: Domain) -> list[Scalar]:
    # `unset` on a value that is always set is left alone: `not: [a, unset]` is a sensible habit.
    return [value for value in condition.values if not domain.contains(value)]


def _has_numbers(domain: Domain) -> bool:
    numbers = (isinstance(value, int | float) and not isinstance(value, bool) for value in domain.values)
    return domain.kind == "number" or any(numbers)


def _legal(value: Scalar, domain: Domain) -> str:
    if domain.kind == "finite":
        return did_you_mean(value, [scalar_words(legal) for legal in domain.values])
    return f" (a {domain.kind})"


def _check_targets(table: Table, catalogue: SourceCatalogue, found: Collector) -> None:
    if table.for_each is not None:
        return
    for output, target in table.sets.items():
        if catalogue.domain(ColumnSource("setting", target)) is None:
            reason = f'unknown setting {target}, which output "{output}" sets'
            found.add("unknown-input", reason, table.place, key=table.id)


# order


def _order(tables: Mapping[str, Table], found: Collector) -> tuple[str, ...]:
    waiting = {name: {ref for ref in feeders(table) if ref in tables} for name, table in tables.items()}
    order: list[str] = []
    while waiting:
        ready = [name for name, needs in waiting.items() if not needs]
        if not ready:
            _report_cycles(waiting, tables, found)
            break
        order += ready
        waiting = {name: needs - set(ready) for name, needs in waiting.items() if name not in ready}
    return tuple(order)


def _report_cycles(waiting: Mapping[str, set[str]], tables: Mapping[str, Table], found: Collector) -> None:
    seen: set[str] = set()
    for start in waiting:
        path = _cycle_from(start, waiting)
        if seen.isdisjoint(path):
            places = tuple(tables[name].place for name in path)
            reason = "tables decide in a circle: " + " <- ".join([*path, path[0]])
            found.add("cycle", reason, *places, key=path[0])
        seen.update(path)


def _cycle_from(start: str, waiting: Mapping[str, set[str]]) -> list[str]:
    # Every waiting table needs a waiting one, so walking on must come round.
    path = [start]
    while True:
        following = min(name for name in waiting[path[-1]] if name in waiting)
        if following in path:
            return path[path.index(following) :]
        path.append(following)
