"""What columns see of one setting together: its value, and each view of it.

What comes in: the registry, and what tables derive. What goes out: for a setting, every combination that some
configuration can show, and no other as far as it is known without one. It must not look at the machine: what
depends on files is taken to be either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from compozy.document import Scalar
from compozy.rulebook.domains import normalised, setting_domain
from compozy.settings.registry import CONTAINERS, NUMBERS, Registry, Setting
from compozy.settings.values import KEYWORDS, MEMORY
from compozy.settings.views import VIEWS, Seen, compared_with
from compozy.tables.sight import Assignment, Sight
from compozy.tables.table import Source, Table

# The kind of a source whose value tables or other settings may have filled in before findings look at it.
RESOLVED = "resolved"
# Texts that some view distinguishes; the braces are filled so that no row lists the text.
_TEXTS = (
    "", "{name}", "localhost", "127.0.0.{number}", MEMORY, "{name}/", "../{name}", "{name}\x01",
    "{name}-of-some-length", "localhost:{number}",
)  # fmt: skip
_QUERIES = ("", "?sslmode=disable", "?sslmode=require", "?sslmode=verify-full", "?ssl_cert_reqs=none")
_URLS = tuple(
    f"://{userinfo}{host}/{query}"
    for query, userinfo, host in product(_QUERIES, ("", "user:pw@"), ("{name}", "localhost"))
)
_PATHS = ("", "/{name}", "/{name}/", "/../{name}", "/{name}\x01")
# Zero counts as empty, so every interval around it needs a number beside it, however narrow it is.
_AMOUNTS = (0, 1, -1, 5e-324, -5e-324)
_WRITTEN, _DEFAULT, _RULE = "file", "default", "rule"
# Whoever gives no name has that of the directory.
_NAMED_BY_THE_DIRECTORY = "name"


@dataclass(frozen=True, slots=True)
class _Underlying:
    """A value with the kind of its origin; `plain` are the values that a column without view may see of it."""

    value: Any
    kind: str
    plain: tuple[Scalar, ...]


class SettingViewer:
    """Tells the table engine what the views of a setting show together."""

    def __init__(self, registry: Registry, tables: Iterable[Table]) -> None:
        self.settings = registry.settings
        self.derived: dict[str, list[Scalar]] = {}
        for table in tables:
            for output, path in table.sets.items():
                self.derived.setdefault(path, []).extend(row.then.get(output) for row in table.rows)

    def base(self, source: Source, *, collects: bool) -> Source:
        """Return the setting that a column looks at, as it was said or, for findings, as it was resolved."""
        setting = self.settings.get(source.ref) if source.kind == "setting" else None
        known = source.view is None or source.view in VIEWS or compared_with(source.view) is not None
        if setting is None or not known:
            return source
        changes = collects and (source.ref in self.derived or setting.same_as is not None)
        return Source(RESOLVED if changes else "setting", source.ref)

    def sights(self, base: Source, views: Sequence[str | None], values: Sequence[Scalar]) -> Iterator[Sight]:
        """Yield what the views of a setting can show together; the least to write down comes first."""
        setting = self.settings[base.ref]
        for underlying in self._underlying(setting, values, resolved=base.kind == RESOLVED):
            said = _said(setting, underlying)
            shown = [underlying.plain if view is None else _shown(setting, underlying, view) for view in views]
            yield from (Sight(seen, said) for seen in product(*shown))

    @cached_property
    def fingerprint(self) -> str:
        """A text that changes with every setting and with what is derived."""
        settings = [
            (s.path, s.type, s.default, s.values, s.checked, s.memory, s.same_as) for s in self.settings.values()
        ]
        return repr((settings, self.derived))

    def _underlying(self, setting: Setting, values: Sequence[Scalar], *, resolved: bool) -> Iterator[_Underlying]:
        # Lazily, because a caller that asks for one view has mostly seen everything after two or three.
        if setting.path == _NAMED_BY_THE_DIRECTORY:
            yield from (_Underlying(value, _DEFAULT, (value,)) for value in _values(setting, values))
        else:
            yield _of_rules(setting, setting.default, _DEFAULT, values)
        for value in _values(setting, values):
            yield _Underlying(value, _WRITTEN, _plain(setting, value, values))
        if resolved:
            yield from self._filled_in(setting, values)

    def _filled_in(self, setting: Setting, values: Sequence[Scalar]) -> Iterator[_Underlying]:
        """Yield the values that a table derives or that are taken from another setting."""
        if setting.same_as is not None:
            yield from (_Underlying(value, _DEFAULT, (value,)) for value in _values(setting, values))
        for value in dict.fromkeys(self.derived.get(setting.path, ())):
            if value is not None:
                yield _of_rules(setting, value, _RULE, values)


def _of_rules(setting: Setting, value: Any, kind: str, values: Sequence[Scalar]) -> _Underlying:
    """Return a default or a derived value; a relative path is below a directory that is not known yet."""
    taken = None if value is None else normalised(setting, value)
    if setting.type != "path" or taken in (None, value):
        return _Underlying(taken, kind, (taken,))
    tail = str(taken)
    listed = [path for path in values if isinstance(path, str) and path.endswith(tail)]
    return _Underlying(taken, kind, (*listed, _unlisted("/{name}" + _literal(tail), values)))


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _values(setting: Setting, values: Sequence[Scalar]) -> Iterator[Any]:
    """Yield what somebody may write: the values that rows list, and one for each thing that a view may say."""
    if setting.type in CONTAINERS:
        yield from ((), ("x",))
    elif setting.type == "boolean":
        yield from (False, True)
    else:
        listed = [value for value in values if value is not None]
        yield from listed
        yield from _amounts(setting) if setting.type in NUMBERS else _texts(setting, listed)


def _amounts(setting: Setting) -> Iterator[float]:
    domain = setting_domain(setting)
    yield from (amount for amount in _AMOUNTS if domain is not None and domain.contains(amount))
    if setting.minimum is not None:
        # Rejected numbers, zero among them if it is one: their views stand beside a lower source's value.
        yield from {setting.minimum - 1, setting.minimum - 2, min(0, setting.minimum - 1)}


def _texts(setting: Setting, listed: Sequence[Scalar]) -> Iterator[str]:
    known = [*setting.values, *([MEMORY] if setting.memory else [])]
    yield from known
    for pattern in _PATHS if setting.type == "path" else _TEXTS:
        yield _unlisted(pattern, [*known, *listed])
    if setting.type == "url":
        schemes = [scheme for scheme in setting.schemes if scheme != KEYWORDS] or ["http"]
        yield from (_unlisted(scheme + url, listed) for scheme in schemes for url in _URLS)


def _unlisted(pattern: str, known: Sequence[Scalar]) -> str:
    """Return the first text of a pattern that is not among the known ones."""
    text, number = pattern.format(name="other", number=1), 1
    while "{" in pattern and text in known:
        number += 1
        text = pattern.format(name=f"other-{number}", number=number)
    return text


def _plain(setting: Setting, value: Any, values: Sequence[Scalar]) -> tuple[Scalar, ...]:
    """Return what a column without view may read where `value` is written."""
    if setting.accepts(value):
        return (value,)
    # A rejected value counts as unset, so that a lower source decides.
    lower = [other for other in _values(setting, values) if setting.accepts(other)]
    return (*((setting.default,) if setting.default is None else ()), *lower)


def _shown(setting: Setting, underlying: _Underlying, view: str) -> tuple[Scalar, ...]:
    """Return what a view may show of a value on some machine, and beside some other settings."""
    if compared_with(view) is not None:
        return (False,) if underlying.value is None else (False, True)
    found = VIEWS[view].look(Seen(setting, underlying.value, underlying.kind, "/"))
    depends_on_files = view == "path_kind" and found in ("file", "directory")
    return ("file", "directory") if depends_on_files and not str(underlying.value).endswith("/") else (found,)


def _said(setting: Setting, underlying: _Underlying) -> Assignment:
    if underlying.kind == _WRITTEN and not isinstance(underlying.value, tuple):
        return ((Source("setting", setting.path), underlying.value),)
    if underlying.kind == _RULE:
        return ((Source("derived", setting.path), underlying.value),)
    return ((Source("setting", setting.path), None),)
