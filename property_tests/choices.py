"""The texts of a configuration that the rules distinguish, derived from the rulebook: a new row needs no new test.

A choice maps settings to texts, as flags give them, and machine facts to words. Every other setting is unset.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any

from compozy.base.document import Scalar
from compozy.resolution.configuration import Configuration, read_sources
from compozy.resolution.resolve import ListElement, Resolved, cell, instance_key, named_elements, resolve
from compozy.rulebook import Rulebook
from compozy.settings.identity_key import ById
from compozy.settings.origin import PROBLEMS
from compozy.settings.registry import Setting
from compozy.settings.sources import Inputs
from compozy.settings.stated import with_stated_parts
from compozy.settings.views import compared_with
from compozy.tables.table import Column, ColumnSource, Condition, Row, Table

DIRECTORY = "/project"
UNKNOWN = "unknown-word"
FILE, HOST, URL = "data/kept.db", "elsewhere", "http://elsewhere/x"
PATHS = (":memory:", FILE, "/", "../out.db", "in/../in.db", "with\ttab.db", "with\x85break.db", "/dev/null")
KEY = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="  # 32 bytes
HOSTS = (HOST, "127.0.0.1", "localhost", "::1", "0.0.0.0", "")
API_KEYS = ("a-short-key", "a-key-of-sixteen-characters", "")
# What follows the scheme of a URL: with and without a password, to this machine and another one, protected or not.
URLS = (
    "elsewhere/x", "localhost/x", "me:pw@elsewhere/x", "me:pw@localhost/x", "me:pw@elsewhere/x?sslmode=disable",
    "elsewhere/x?sslmode=disable", "me:pw@elsewhere/x?sslmode=require", "me:pw@elsewhere/x?sslmode=verify-full",
    "elsewhere/x?ssl_cert_reqs=none", "me:pw@elsewhere/x?ssl_cert_reqs=none",
)  # fmt: skip
KEYS = (KEY, "short", "")
_WORD = re.compile(r"[\w.-]+")
MOST_TOGETHER = 200  # combinations of fields of one element; of more, those that differ in one field from a match

Text = str | None
Asked = tuple[Condition, Column]


@dataclass(frozen=True)
class Choice:
    """Texts of settings and words of facts."""

    settings: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)

    def get(self, path: str) -> str | None:
        """Return the text of a setting; None when it is not set."""
        return self.settings.get(path)


@dataclass(frozen=True)
class Variable:
    """A setting or a machine fact, and what it may be; None is unset."""

    source: ColumnSource
    options: tuple[Text, ...]


def variables(rulebook: Rulebook) -> tuple[Variable, ...]:
    """Return every setting and machine fact that some table reads, with its options."""
    return _variables(ById(rulebook))


@cache
def _variables(key: ById[Rulebook]) -> tuple[Variable, ...]:
    rulebook = key.record
    columns: dict[ColumnSource, list[tuple[Table, Column]]] = {}
    for table in rulebook.ruleset.tables.values():
        for column in table.columns:
            source = column.source
            if source.kind != "decision" and source.each != PROBLEMS:
                asked = ColumnSource("setting", source.each) if source.each else ColumnSource(source.kind, source.ref)
                columns.setdefault(asked, []).append((table, column))
                compared = compared_with(source.view)
                if compared is not None:
                    columns.setdefault(ColumnSource("setting", compared), [])
    return tuple(Variable(source, _options(rulebook, source, read)) for source, read in columns.items())


def cone(rulebook: Rulebook, tables: Iterable[Table]) -> list[Table]:
    """Return the tables of decisions and all that feed them."""
    known = rulebook.ruleset.tables
    found: dict[str, Table] = {}
    border = list(tables)
    while border:
        table = border.pop()
        found[table.id] = table
        feeding = [known[column.source.ref] for column in table.columns if column.source.kind == "decision"]
        border += [feeder for feeder in feeding if feeder.id not in found]
    return list(found.values())


def _options(rulebook: Rulebook, source: ColumnSource, read: Sequence[tuple[Table, Column]]) -> tuple[Text, ...]:
    if source.kind == "machine":
        return rulebook.registry.facts[source.ref].values
    setting = rulebook.registry.settings[source.ref]
    if setting.type == "list":
        return tuple(dict.fromkeys(_lists(rulebook, setting, read)))
    texts = dict.fromkeys((*_values(setting, read), *_equals(rulebook, setting, read)))
    return (None, *(text for text in texts if text or not setting.ignores_empty))


def _values(setting: Setting, read: Sequence[tuple[Table, Column]]) -> Iterator[str]:
    views = {column.source.view for _, column in read}
    yield from setting.values
    if setting.checked == "rules":
        yield UNKNOWN
        yield from setting.also
    if setting.checked == "rules" or setting.type == "text":
        yield from (value for value in _listed(read) if isinstance(value, str))
    if setting.type == "boolean":
        yield from ("false", "true")
    if setting.type in ("integer", "number", "duration", "size"):
        yield from _numbers(setting, read)
    if setting.type == "path":
        yield from PATHS
    if setting.type in ("text", "url", "host", "listen_address"):
        yield from _texts(setting, views)


def _texts(setting: Setting, views: Iterable[str | None]) -> tuple[str, ...]:
    if "key_length" in views:
        return API_KEYS
    if "keyring" in views:
        return KEYS
    if "host_kind" in views:
        return (f"{HOST}:1", "localhost:1", "") if setting.host_port else HOSTS
    if "url_tls" in views:
        schemes = [scheme for scheme in setting.schemes if scheme not in ("unix", "=", "postgres")]
        # An address of an unknown scheme is an error of its own, and the tables are evaluated all the same.
        unknown = (f"other://{rest}" for rest in ("elsewhere/x", "me:pw@elsewhere/x"))
        return ("", *(f"{scheme}://{rest}" for scheme in schemes for rest in URLS), *unknown)
    return (_address(setting), "")


def _address(setting: Setting) -> str:
    if setting.host_port:
        return f"{HOST}:1"
    return URL.replace("http", setting.schemes[0] if setting.schemes else "http") if setting.type == "url" else HOST


def _listed(read: Iterable[tuple[Table, Column]]) -> Iterator[Any]:
    for table, column in read:
        for row in table.rows:
            yield from row.condition(column.name).values


def _numbers(setting: Setting, read: Iterable[tuple[Table, Column]]) -> Iterator[str]:
    """Yield the points at which conditions change, with their neighbours."""
    intervals = [
        interval for table, column in read for row in table.rows for interval in row.condition(column.name).intervals
    ]
    bounds = {bound for interval in intervals for bound in (interval.low, interval.high) if bound is not None}
    bounds |= {value for value in _listed(read) if isinstance(value, int | float)}
    points = sorted({int(bound) + step for bound in bounds for step in (-1, 0, 1)})
    unit = "s" if setting.type == "duration" else ""
    lowest = 0 if unit else -1
    yield from (f"{point}{unit}" for point in points if point >= lowest)


def _equals(rulebook: Rulebook, setting: Setting, read: Iterable[tuple[Table, Column]]) -> Iterator[str]:
    """Yield the defaults of the settings that this one is compared with, in either direction."""
    settings = rulebook.registry.settings
    compared = {
        frozenset((column.source.ref, path))
        for table in rulebook.ruleset.tables.values()
        for column in table.columns
        if (path := compared_with(column.source.view)) is not None
    }
    for pair in compared:
        if setting.path in pair:
            yield from (str(settings[path].default) for path in sorted(pair) if settings[path].default is not None)


def _lists(rulebook: Rulebook, setting: Setting, read: Sequence[tuple[Table, Column]]) -> Iterator[Text]:
    yield "[]"
    yield "[{id: one}]"
    fields = {column.source.ref for _, column in read if column.source.kind == "item"}
    values: dict[str, list[str]] = {}
    for name in sorted(fields):
        asked = [(table, column) for table, column in read if column.source.ref == name]
        values[name] = list(_values(setting.items[name], asked)) or [str(setting.items[name].minimum or 1)]
        yield from (_listed_element({name: value}) for value in values[name])
    for row, columns in _asked_together(read):
        names = tuple(dict.fromkeys(column.source.ref for column in columns))
        options = {name: _distinguished(columns, name, values[name]) for name in names}
        if math.prod(map(len, options.values())) <= MOST_TOGETHER:
            yield from (_listed_element(dict(zip(names, given, strict=True))) for given in product(*options.values()))
        else:
            own = [(row.when[column.name], column) for column in columns]
            fitting = {name: next(_fitting(rulebook, setting, own, name, options[name])) for name in names}
            yield from (_listed_element({**fitting, name: text}) for name in names for text in options[name])
    for across in _asked_across(rulebook, read):
        names = tuple(dict.fromkeys(column.source.ref for _, column in across))
        found = {name: [*_fitting(rulebook, setting, across, name, (None, *values[name]))] for name in names}
        if all(found.values()):
            yield _listed_element({name: texts[0] for name, texts in found.items()})


def _distinguished(columns: Iterable[Column], name: str, values: Sequence[str]) -> tuple[Text, ...]:
    """Return the texts of a field that columns distinguish: no text, and one where all of them ask for presence."""
    asked = {column.source.view for column in columns if column.source.ref == name}
    return (None, *([next(filter(None, values))] if asked == {"filled"} else values))


def _fitting(
    rulebook: Rulebook, setting: Setting, asked: Sequence[Asked], name: str, options: Sequence[Text]
) -> Iterator[Text]:
    """Yield the texts of a field with which an element meets the conditions about that field."""

    def fits(text: Text) -> bool:
        listed = read_flag(rulebook, setting.path, _listed_element({name: text})).candidates[setting.path][0].value
        (element,) = named_elements(setting, listed)
        return all(
            condition.matches(cell(column, {}, rulebook.registry.settings, {}, {}, DIRECTORY, element))
            for condition, column in asked
            if column.source.ref == name
        )

    return (text for text in options if fits(text))


def _listed_element(fields: Mapping[str, Text]) -> str:
    """Return a list with one element; texts that are not plain words are quoted."""
    written = (
        f"{name}: {text if _WORD.fullmatch(text) else json.dumps(text)}"
        for name, text in {"id": "one", **fields}.items()
        if text is not None
    )
    return f"[{{{', '.join(written)}}}]"


def _asked_together(read: Sequence[tuple[Table, Column]]) -> Iterator[tuple[Row, Sequence[Column]]]:
    """Yield the rows that have conditions about several fields of an element, with their columns of fields."""
    for table in {table.id: table for table, _ in read}.values():
        items = [column for column in table.columns if column.source.kind == "item"]
        for row in table.rows:
            columns = [column for column in items if column.name in row.when]
            if len({column.source.ref for column in columns}) > 1:
                yield row, columns


def _asked_across(rulebook: Rulebook, read: Sequence[tuple[Table, Column]]) -> Iterator[list[Asked]]:
    """Yield the conditions about fields of each row together with those of each row of a decision that it reads."""
    tables = rulebook.ruleset.tables
    for table in {table.id: table for table, _ in read}.values():
        feeding = [tables[column.source.ref] for column in table.columns if column.source.kind == "decision"]
        others = [(fed, row) for fed in feeding if fed.for_each == table.for_each for row in fed.rows]
        yield from (
            [*_about_fields(table, row), *_about_fields(fed, other)] for row in table.rows for fed, other in others
        )


def _about_fields(table: Table, row: Row) -> Iterator[Asked]:
    items = [column for column in table.columns if column.source.kind == "item"]
    return ((row.when[column.name], column) for column in items if column.name in row.when)


def choice_of(variables: Iterable[Variable], texts: Mapping[str, Text]) -> Choice:
    """Return the choice of a text for each variable; None is unset."""
    given = [(one.source, text) for one in variables if (text := texts.get(one.source.ref)) is not None]
    return Choice(
        {source.ref: text for source, text in given if source.kind != "machine"},
        {source.ref: text for source, text in given if source.kind == "machine"},
    )


def size(variables: Iterable[Variable]) -> int:
    """Return the number of combinations."""
    return math.prod(len(variable.options) for variable in variables)


def configuration_of(rulebook: Rulebook, choice: Choice) -> Configuration:
    """Return the configuration of a choice: what flags would give, read once for each text."""
    defaults = read_flag(rulebook, None, "")
    candidates = dict(defaults.candidates)
    problems = list(defaults.problems)
    for path, text in choice.settings.items():
        read = read_flag(rulebook, path, text)
        for target, given in read.candidates.items():
            own = given[0].origin.kind == "flag" and not given[0].address
            if own and (target == path or target not in choice.settings):
                candidates[target] = (given[0], *candidates.get(target, ()))
        problems += read.problems
    candidates = with_stated_parts(candidates, rulebook.registry.settings)
    return Configuration(defaults.inputs, defaults.layers, candidates, tuple(problems), rulebook)


def resolved_of(rulebook: Rulebook, choice: Choice) -> Resolved:
    """Resolve a choice."""
    facts = {name: fact.values[0] for name, fact in rulebook.registry.facts.items()}
    return resolve(configuration_of(rulebook, choice), {**facts, **choice.facts})


def inputs_of(resolved: Resolved, table: Table) -> list[dict[str, Scalar]]:
    """Return what a table is asked with: once, or once for each element of its list."""
    if table.id in resolved.decisions:
        return [dict(resolved.decisions[table.id].inputs)]
    settings = resolved.rulebook.registry.settings

    def seen(column: Column, element: ListElement | None = None) -> Scalar:
        places = (resolved.decisions, resolved.facts, resolved.directory)
        return cell(column, resolved.values, settings, *places, element)

    if not table.for_each:
        return [{column.name: seen(column) for column in table.columns}]
    elements = named_elements(settings[table.for_each], resolved.get(table.for_each))
    return [{column.name: seen(column, element) for column in table.columns} for element in elements]


def outputs_of(resolved: Resolved, name: str) -> Mapping[str, Any]:
    """Return what a table decides; of one for each element of a list what it decides about the first one."""
    path = resolved.rulebook.ruleset.tables[name].for_each
    if not path:
        return resolved.decision(name).outputs
    elements = named_elements(resolved.rulebook.registry.settings[path], resolved.get(path))
    return resolved.decision(instance_key(name, elements[0].name)).outputs if elements else {}


def read_flag(rulebook: Rulebook, path: str | None, text: str) -> Configuration:
    """Return the configuration that one flag gives; without a path, that of the defaults."""
    return _read(ById(rulebook), path, text)


@cache
def _read(key: ById[Rulebook], path: str | None, text: str) -> Configuration:
    return read_sources(Inputs(DIRECTORY, None, {path: text} if path else {}), key.record)


def as_text(setting: Setting, value: Any) -> str:
    """Write an effective value so that a flag would give it back."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if setting.type == "list":
        return json.dumps(value)
    return f"{value}s" if setting.type == "duration" else str(value)
