"""The rows of `drivers`: how a component is built, and where it will be.

Reading reports faults of the form; whether the settings, fields and groups that a row names exist is checked by
`driver_faults`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from compozy.base.document import Node, Scalar
from compozy.base.findings import Collector
from compozy.base.place import Place
from compozy.base.record import dataclass
from compozy.base.shapes import ANY, MAPPING, TEXT, mays, needs, plain_shape
from compozy.settings.reference import anchored_reference, is_reference
from compozy.settings.row_lists import TEXTS, listed_rows, put

Condition: TypeAlias = Mapping[str, Scalar]
_DRIVER = plain_shape(
    "a driver",
    {
        **needs(TEXT, "id", "component", "driver", "factory"),
        **mays(TEXT, "replaces"),
        **mays(TEXTS, "needs"),
        **mays(ANY, "timeout", "addresses"),
        **mays(MAPPING, "options"),
    },
)
_ADDRESS = plain_shape("an address", {**needs(ANY, "address"), **mays(MAPPING, "when")})


@dataclass(frozen=True, slots=True)
class AddressRow:
    """Texts with settings or fields (`list[].field`) in braces, the first complete one counts, while `when` holds."""

    texts: tuple[str, ...]
    when: Condition


@dataclass(frozen=True, slots=True)
class DriverRow:
    """The construction of a driver: `factory` is a reference, `options` maps its arguments to values.

    `addresses` are where it will be. The settings of a condition must all have the values that it gives.
    """

    id: str
    component: str
    driver: str
    factory: str
    needs: tuple[str, ...]
    timeout: object
    options: Mapping[str, object]
    addresses: tuple[AddressRow, ...]
    place: Place

    def settings(self) -> set[str]:
        """Return the settings that the driver's arguments are read from one by one."""
        sources = (one.get("port") if isinstance(one, Mapping) else one for one in self.options.values())
        return {source for source in sources if isinstance(source, str)}


def read_drivers(documents: Iterable[Node], faults: Collector) -> dict[tuple[str, str], DriverRow]:
    """Read the rows of `drivers`, by component and driver; every fault is noted."""
    by_id: dict[str, DriverRow] = {}
    for row in [row for document in documents for row in listed_rows(document, "drivers", faults)]:
        plain = _DRIVER.decode(row, faults)
        if plain is not None:
            put(by_id, plain["id"], _driver(plain, row, faults), plain.get("replaces"), "driver", faults)
    found: dict[tuple[str, str], DriverRow] = {}
    for driver in by_id.values():
        first = found.setdefault((driver.component, driver.driver), driver)
        message = f"component {driver.component} has a row for driver {driver.driver} already at {first.place}"
        faults.require(first is driver, "collision", message, driver.place, first.place)
    return found


def _driver(plain: Mapping[str, Any], row: Node, faults: Collector) -> DriverRow:
    factory = anchored_reference(plain["factory"], row.place.file)
    message = "`factory` must be module:Class, or ./file.py:Class of the rule pack"
    faults.require(is_reference(factory), "malformed", message, row.place)
    return DriverRow(
        id=plain["id"],
        component=plain["component"],
        driver=plain["driver"],
        factory=factory,
        needs=plain.get("needs", ()),
        timeout=plain.get("timeout"),
        options=plain.get("options") or {},
        addresses=tuple(filter(None, (_address(node, faults) for node in _entries(row, "addresses", faults)))),
        place=row.place,
    )


def _entries(row: Node, column: str, faults: Collector) -> list[Node]:
    node = row.value.get(column)
    if node is None:
        return []
    listed = isinstance(node.value, list)
    faults.require(listed, "malformed", f"`{column}` of a driver must be a list", node.place)
    return list(node.value) if listed else []


def _spelled_out(node: Node, name: str) -> Node:
    """Return an entry as a mapping; one without a condition may be written as its value alone."""
    return node if isinstance(node.value, dict) else Node({name: node}, node.place, {name: node.place})


def _address(node: Node, faults: Collector) -> AddressRow | None:
    plain = _ADDRESS.decode(_spelled_out(node, "address"), faults)
    if plain is None:
        return None
    given = plain["address"]
    texts = given if isinstance(given, list) else [given]
    fits = texts and all(isinstance(text, str) and text for text in texts)
    faults.require(fits, "malformed", "an address must be text, or a list of texts", node.place)
    return AddressRow(tuple(texts), plain.get("when") or {}) if fits else None
