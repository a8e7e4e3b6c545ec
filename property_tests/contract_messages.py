"""Requirements on the text of every finding: the fault, correct numbers, and a fix that concerns it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from property_tests.choices import cone
from property_tests.oracle import PROMISES

from compozy.rulebook import load_rulebook
from compozy.tables.table import Row, Table

# What is left of a text when a value in it is lost.
_UNTIDY = re.compile(r"""^[^\w"$]|  |\s$|""|''|\(\)|=[,)]|\s[.,;:](?:\s|$)""")
_NUMBER = re.compile(r"(?<![\w.-])\d+(?![\w.])")
_RANGE = re.compile(r"between (\d+) and (\d+)")
# Placeholders that a text must contain although it reads well without.
_REQUIRED = {"settings.excluded": ("{settings}", "{reason}")}
# Characters of a key for clients, bytes of one that encrypts, and the usual ports of Qdrant and Ollama.
_FURTHER = {16, 32, 6333, 11434}


def message_faults(table: Table, row: Row) -> Iterator[str]:
    """Yield the faults of the key, the text and the hint of a finding."""
    text, hint = str(row.body.get("text", "")), str(row.body.get("hint", ""))
    if row.id in PROMISES and row.body.get("key") != PROMISES[row.id].key:
        yield "the key"
    if not text or not hint or any(field not in text for field in _REQUIRED.get(row.id, ())):
        yield "what is wrong, or the fix, is missing"
    for words in (text, hint):
        filled = re.sub(r"\{\w[^}]*\}", "x", words)
        if any(_UNTIDY.search(line.removeprefix("  - ")) for line in filled.splitlines()):
            yield f"untidy: {words}"
        if not {int(number) for number in _NUMBER.findall(words)} <= numbers_of(table.id):
            yield f"a number: {words}"
        if not named(words) <= bearing_on(table.id) | {str(row.body.get("key"))}:
            yield f"a setting on which nothing depends: {words}"
    for low, high in _RANGE.findall(text):
        numbers = (int(low) - 1, int(low), int(high), int(high) + 1)
        accepted = [not any(cell.matches(number) for cell in row.when.values()) for number in numbers]
        if accepted != [False, True, True, False]:
            yield f"a range: {text}"


def named(words: str) -> set[str]:
    """Return the settings that a text names."""
    known = load_rulebook().registry.settings
    return {word for word in re.findall(r"[a-z_]+(?:\.[a-z_]+)+", words) if word in known}


@cache
def bearing_on(table_id: str) -> frozenset[str]:
    """Return the settings on which a table depends, and those that another spelling or a URL states."""
    rulebook = load_rulebook()
    table, settings = rulebook.ruleset.tables[table_id], rulebook.registry.settings
    sets = {path: other for other in rulebook.ruleset.tables.values() for path in other.sets.values()}
    read = {column.source.ref for column in table.columns} | {column.source.each or "" for column in table.columns}
    feeding = cone(rulebook, [table, *(sets[path] for path in read if path in sets)])
    found = {column.source.ref for one in feeding for column in one.columns}
    found |= {part for path in found & {*settings} for part in settings[path].parts.values()}
    found |= {(column.source.view or "").rpartition(" ")[2] for column in table.columns}
    return frozenset(found | read)


@cache
def numbers_of(table_id: str) -> frozenset[float]:
    """Return the numbers that a finding of a table may contain: bounds of its conditions, defaults, lengths of keys."""
    rulebook = load_rulebook()
    cells = [cell for row in rulebook.ruleset.tables[table_id].rows for cell in row.when.values()]
    bounds = {bound for cell in cells for i in cell.intervals for bound in (i.low, i.high) if bound is not None}
    bounds |= {value for cell in cells for value in cell.values if isinstance(value, int)}
    defaults = {one.default for one in rulebook.registry.settings.values() if isinstance(one.default, int)}
    return frozenset(bounds | defaults | _FURTHER)
