"""Migrations: the rows that bring configurations of earlier versions to the present form.

A row replaces an old value of some settings, or renames a setting or a group of settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product

from compozy.base.document import Node, Scalar
from compozy.base.findings import Collector
from compozy.base.place import Place
from compozy.base.record import dataclass
from compozy.base.shapes import BOOLEAN, MAPPING, TEXT, Shape, mays, needs, plain_shape
from compozy.base.suggest import did_you_mean
from compozy.settings.registry import Registry
from compozy.settings.row_lists import TEXTS, listed_rows, put
from compozy.tables.cells import CellError, parse_condition
from compozy.tables.table import Condition

MIGRATIONS = "migrations"
TARGETS = ("memory", "persistent")  # of `--to`
_DOMAINS: Mapping[str, tuple[Scalar, ...]] = {"kept": (True, False), "to": (None, *TARGETS)}


@dataclass(frozen=True, slots=True)
class MigrationExample:
    """A configuration before and after a migration with these options."""

    before: str
    after: str
    to: str | None = None
    unsafe: bool = False


_EXAMPLE = Shape(
    "an example of a migration",
    {**needs(TEXT, "before", "after"), **mays(TEXT, "to"), **mays(BOOLEAN, "unsafe")},
    MigrationExample,
)
_MIGRATION = plain_shape(
    "a migration",
    {
        **needs(TEXT, "id", "becomes", "because"),
        **needs(TEXTS, "keys"),
        **needs(BOOLEAN, "safe"),
        **needs(_EXAMPLE, "example"),
        **mays(TEXT, "value", "replaces"),
        **mays(MAPPING, "when"),
    },
)


@dataclass(frozen=True, slots=True)
class Migration:
    """A rewrite of `keys`, paths of settings or groups: of their `value`, or of the path itself where it is empty.

    `when` has conditions on `kept`, whether a component keeps data, and `to`, the mode that was asked for. A change
    that is not `safe` changes what survives a restart.
    """

    id: str
    keys: tuple[str, ...]
    value: str
    becomes: str
    when: Mapping[str, Condition]
    safe: bool
    because: str
    example: MigrationExample
    place: Place

    def matches(self, facts: Mapping[str, Scalar]) -> bool:
        """Return True if the conditions hold for `kept` and `to`."""
        return all(condition.matches(facts[name]) for name, condition in self.when.items())


def read_migrations(documents: Iterable[Node], registry: Registry, faults: Collector) -> tuple[Migration, ...]:
    """Read the rows of `migrations`; every fault is noted."""
    found: dict[str, Migration] = {}
    for node in (row for document in documents for row in listed_rows(document, MIGRATIONS, faults)):
        plain = _MIGRATION.decode(node, faults)
        if plain is None:
            continue
        row = Migration(
            plain["id"], plain["keys"], plain.get("value", ""), plain["becomes"],
            _conditions(node.value.get("when"), faults), plain["safe"], plain["because"],
            plain["example"], node.place,
        )  # fmt: skip
        put(found, row.id, row, plain.get("replaces"), "migration", faults)
    for row in found.values():
        for fault in _faults(row, registry):
            faults.add("bad-migration", f"migration {row.id}: {fault}", row.place)
    for fault, place in _undecided(found.values()):
        faults.add("bad-migration", fault, place)
    return tuple(found.values())


def _conditions(node: Node | None, faults: Collector) -> dict[str, Condition]:
    conditions: dict[str, Condition] = {}
    for name, cell in node.value.items() if node else ():
        known = f"`when` of a migration has no {name}{did_you_mean(name, _DOMAINS)}"
        if not faults.require(name in _DOMAINS, "malformed", known, cell.place):
            continue
        try:
            conditions[name] = parse_condition(cell)
        except CellError as error:
            faults.add("malformed", error.reason, error.place)
    return conditions


def _faults(row: Migration, registry: Registry) -> Iterator[str]:
    for key in row.keys:
        meant = registry.spelled.get(key)
        setting = registry.settings.get(key)
        if row.value and (setting is None or row.value in setting.values or row.becomes not in setting.values):
            yield f"{key} must be a setting that may be {row.becomes} and not {row.value}"
        elif not row.value and (setting is not None or (meant is not None and meant != row.becomes)):
            yield f"{key} is in use, and not another name of {row.becomes}"
    if not row.value and row.becomes not in registry.settings and row.becomes not in registry.groups:
        yield f"it becomes {row.becomes}, which does not exist{did_you_mean(row.becomes, registry.settings)}"


def _undecided(rows: Iterable[Migration]) -> Iterator[tuple[str, Place]]:
    """Yield each key and case for which not exactly one row decides."""
    about: dict[tuple[str, str], list[Migration]] = {}
    for row in rows:
        for key in row.keys:
            about.setdefault((key, row.value), []).append(row)
    for (key, _), candidates in about.items():
        for values in product(*_DOMAINS.values()):
            facts = dict(zip(_DOMAINS, values, strict=True))
            matching = [row.id for row in candidates if row.matches(facts)]
            if len(matching) != 1:
                yield f"{key} with {facts}: one migration must match, not {len(matching)}", candidates[0].place
