"""Whole configurations across all sources, drawn from what registry and rules distinguish, with what must win.

A statement is what one source writes for one setting, in one of its spellings. The expected choice is worked out
from the statements alone, by the order of the sources that the contract states.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from property_tests.choices import Choice, Variable, variables
from property_tests.oracle import stated

from compozy.resolution.configuration import Configuration, read_sources
from compozy.rulebook import load_rulebook
from compozy.settings.sources import Inputs

RULEBOOK = load_rulebook()
SETTINGS = RULEBOOK.registry.settings
ORDER = ("flag", "env", "dotenv", "file")
SPACE = variables(RULEBOOK)
FACTS = [variable for variable in SPACE if variable.source.kind == "machine"]
STATED = [variable for variable in SPACE if variable.source.kind != "machine"]
# From weak to strong: a URL does not weaken what is written.
SSL = SETTINGS["database.ssl_mode"].values
# Words that are trimmed and case-folded wherever they are written.
FOLDED = ("mode", "database.driver", "temporal.mode", "redis.mode")
# What no type can read; a text can be anything.
UNREADABLE = {"integer": "eighty", "boolean": "perhaps", "duration": "soon", "list": "{a: b}"}


@dataclass(frozen=True)
class Statement:
    """The entry of a source for a setting: `text` is the value without disguise, None is null in the file."""

    source: str
    path: str
    spelled: str
    text: str | None
    disguised: str
    readable: bool = True

    @property
    def reported_as(self) -> str:
        """The key of a finding about the statement: as the file spells it, otherwise the setting."""
        return self.spelled if self.source == "file" else self.path

    @property
    def sets(self) -> bool:
        """True if the source sets a value: null and empty variables do not, nor does an unreadable text."""
        emptied = self.text == "" and self.source in ("env", "dotenv")
        return self.text is not None and self.readable and not emptied


@dataclass(frozen=True)
class World:
    """Statements, at most one for each source and setting, and facts about the machine."""

    statements: tuple[Statement, ...]
    facts: Mapping[str, str] = field(default_factory=dict)

    def read(self, folder: str) -> Configuration:
        """Write the sources into a folder and read them."""
        file = Path(folder, "compozy.yaml")
        file.write_text(json.dumps(self._document()), encoding="utf-8")
        lines = [f"{SETTINGS[one.path].env}='{one.disguised}'\n" for one in self._of("dotenv")]
        Path(folder, ".env").write_text("".join(lines), encoding="utf-8")
        environment = {SETTINGS[one.path].env: one.disguised for one in self._of("env")}
        flags = {one.spelled: one.disguised for one in self._of("flag")}
        return read_sources(Inputs(folder, str(file), flags, environment), RULEBOOK)

    def _of(self, source: str) -> Iterator[Statement]:
        return (one for one in self.statements if one.source == source)

    def _document(self) -> dict[str, Any]:
        root: dict[str, Any] = {}
        for one in self._of("file"):
            *groups, key = one.spelled.split(".")
            here = root
            for group in groups:
                here = here.setdefault(group, {})
            here[key] = None if one.text is None else _in_yaml(one)
        return root

    def stating(self, path: str) -> list[Statement]:
        """Return the statements of a setting, highest first, with those of a setting that shares its value."""
        setting = SETTINGS[path]
        shared = [setting.same_as] if setting.shares else []
        shared += [other.path for other in SETTINGS.values() if other.shares and other.same_as == path]
        found: dict[str, Statement] = {}
        for name in (path, *shared):
            for one in self.statements:
                if one.path == name and one.sets:
                    found.setdefault(one.source, one)
        return self._with_part(path, sorted(found.values(), key=_rank))

    def _with_part(self, path: str, own: list[Statement]) -> list[Statement]:
        """Return the statements of a setting with that of the URL which states it as well, if one does."""
        component = path.partition(".")[0]
        address = f"{component}.url"
        if path == address or component not in ("database", "redis"):
            return own
        url = next(iter(self.stating(address)), None)
        text = stated(component, url.text or "").get(path) if url else None
        if url is None or text is None:
            return own
        above = [one for one in own if _rank(one) <= _rank(url) and one.text]
        below = [one for one in own if one not in above]
        if path == "database.ssl_mode" and any(SSL.index(text) < SSL.index(one.text or "") for one in below):
            return own
        return [*above, Statement(url.source, address, address, text, text), *below]

    def choice(self) -> Choice:
        """Return the text of the highest source for each setting; what a URL states is in the text of the URL."""
        found = {path: statements[0] for path in SETTINGS if (statements := self.stating(path))}
        own = {path: one.text for path, one in found.items() if one.path == path or not one.path.endswith(".url")}
        return Choice({path: text for path, text in own.items() if text is not None}, self.facts)


def _rank(one: Statement) -> int:
    return ORDER.index(one.source)


def _in_yaml(one: Statement) -> Any:
    """Return a text as a file writes it: numbers, switches and lists plainly."""
    plain = SETTINGS[one.path].type in ("integer", "boolean", "list") and one.disguised
    return yaml.safe_load(one.disguised) if plain else one.disguised


@st.composite
def statements(draw: st.DrawFn, variable: Variable, source: str) -> Statement:
    """The entry of a source for a setting; one in eight sets no value."""
    path = variable.source.ref
    setting = SETTINGS[path]
    spellings = [spelled for spelled, known in RULEBOOK.registry.spelled.items() if known == path]
    spelled = draw(st.sampled_from(spellings)) if source in ("file", "flag") else path
    unusual = draw(st.integers(0, 15))
    if unusual == 0 and source == "file":
        return Statement(source, path, spelled, None, "")
    if unusual == 1 and setting.type in UNREADABLE:
        return Statement(source, path, spelled, "", UNREADABLE[setting.type], readable=False)
    text = draw(st.sampled_from([text or "" for text in variable.options if _usable(path, text, source)]))
    disguised = text
    if path in FOLDED:
        word = draw(st.sampled_from([text, text.upper(), text.title()]))
        disguised = draw(st.sampled_from(["{}", " {}", "{}\t"])).format(word)
    if source == "file" and setting.type != "list" and draw(st.integers(0, 3)) == 0:
        disguised = f"${{NOT_SET:-{disguised}}}"
    return Statement(source, path, spelled, text, disguised)


def _usable(path: str, text: str | None, source: str) -> bool:
    """Return True for a text that its setting accepts and that the source can write."""
    setting = SETTINGS[path]
    if text is None or (source == "dotenv" and not text.isprintable()):
        return False
    if text == "" and (setting.ignores_empty or setting.type == "integer"):
        return False
    return setting.type != "integer" or setting.minimum is None or int(text) >= setting.minimum


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Up to eight settings, each in one to four sources."""
    found: list[Statement] = []
    for variable in draw(st.lists(st.sampled_from(STATED), unique_by=lambda one: one.source.ref, max_size=8)):
        for source in draw(st.lists(st.sampled_from(ORDER), unique=True, min_size=1, max_size=4)):
            found.append(draw(statements(variable, source)))
    facts = {variable.source.ref: draw(st.sampled_from(variable.options)) for variable in FACTS}
    return World(tuple(found), {name: word for name, word in facts.items() if word is not None})
