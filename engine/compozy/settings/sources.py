"""The sources of settings, highest first: flags, environment, `.env`, the file, defaults.

Each source is read into one `Layer`. A new source is a class with `read` and a place in `SOURCES`.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from dataclasses import field, replace
from functools import lru_cache
from typing import Protocol

from compozy.base.document import Duplicate, read_leniently
from compozy.base.ownership import TRUST_VARIABLE
from compozy.base.place import DEFAULT, Origin, Place
from compozy.base.record import dataclass
from compozy.base.source_file import SourceFiles, UnreadableError
from compozy.base.suggest import closest
from compozy.errors import SyntaxProblem, UsageError
from compozy.settings.contents import Contents, DocumentReader, spread_address
from compozy.settings.dotenv import DotenvLine, Variables, dotenv_lines, dotenv_text
from compozy.settings.identity_key import ById
from compozy.settings.locate import find_file, ignored_files
from compozy.settings.mask import found_masked, sounds_secret, without_secrets
from compozy.settings.origin import Candidate, Problem
from compozy.settings.registry import Registry, Setting, environment_name
from compozy.settings.values import from_text, from_yaml, is_unset

DOTENV_NAME = ".env"
_LONGEST_NAME = 200
_OURS = "COMPOZY_"
_FOR_TESTS = "COMPOZY_TEST_"
COVERAGE_VARIABLE = "COMPOZY_RULES_COVERAGE"
_OF_THE_PROCESS = (TRUST_VARIABLE, COVERAGE_VARIABLE)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a configuration; nothing else is read.

    `flags` maps setting paths to texts; `flag_names` maps them to the flags as written. `directory` is absolute and
    anchors relative paths; `file` is the configuration file or None. `dotenv` are the files of variables in
    `directory`, the strongest first; `files` reads each file once. Texts may be secrets and do not show in `repr`.
    """

    directory: str
    file: str | None
    flags: Mapping[str, str] = field(default_factory=dict, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    flag_names: Mapping[str, str] = field(default_factory=dict)
    dotenv: tuple[str, ...] = (DOTENV_NAME,)
    files: SourceFiles = field(default_factory=SourceFiles, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Layer:
    """The contents of one source: candidates by setting path and problems; `texts` are the files read."""

    kind: str
    entries: Mapping[str, Candidate]
    problems: tuple[Problem, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)


class Source(Protocol):
    """Something that gives values to settings."""

    def read(self, inputs: Inputs, registry: Registry) -> Layer:
        """Return the contents of this source; faults are problems, not exceptions."""


class FlagSource:
    """The command line."""

    def read(self, inputs: Inputs, registry: Registry) -> Layer:
        """Return the flags; an unknown path is a problem."""
        contents = Contents()
        for spelled, text in inputs.flags.items():
            name = inputs.flag_names.get(spelled, f"--set {spelled}")
            path = registry.spelled.get(spelled)
            if path is None:
                suggestion = registry.suggest(spelled) or ""
                contents.problems.append(
                    Problem("unknown-key", spelled, Origin("flag", name=name), {"suggestion": suggestion})
                )
            else:
                take_text(contents, registry, registry.settings[path], text, Origin("flag", name=name), inputs)
        return Layer("flag", _shared(contents, registry), tuple(contents.problems))


class EnvironmentSource:
    """The process's environment."""

    def read(self, inputs: Inputs, registry: Registry) -> Layer:
        """Return the variables that name a setting; an unknown `COMPOZY_*` is a problem."""
        contents = Contents()
        for name, text in inputs.environment.items():
            take_variable(contents, registry, name, text, Origin("env", name=name), inputs)
        return Layer("env", _shared(contents, registry), tuple(contents.problems))


class DotenvSource:
    """The file `.env` beside the configuration file."""

    def read(self, inputs: Inputs, registry: Registry) -> Layer:
        """Return the variables of `.env` that name a setting."""
        contents, texts = Contents(), dict[str, str]()
        # The strongest last, because a later line replaces an earlier one.
        for name in reversed(inputs.dotenv):
            file = os.path.join(inputs.directory, name)
            try:
                texts[name] = dotenv_text(inputs, name)
                self.take(contents, registry, name, inputs, texts[name])
            except UnreadableError as error:
                if os.path.lexists(file) and not os.path.isdir(file):
                    contents.problems.append(_unreadable(name, "dotenv", error))
        return Layer("dotenv", _shared(contents, registry), tuple(contents.problems), texts)

    def take(self, contents: Contents, registry: Registry, file: str, inputs: Inputs, text: str) -> None:
        """Read the lines of one file."""
        for line in dotenv_lines(text):
            origin = _origin(file, line)
            if line.name is None or line.value is None:
                contents.problems.append(Problem("dotenv-line", "", origin))
                continue
            take_variable(contents, registry, line.name, line.value, origin, inputs)
            if line.reference and line.name in registry.by_env:
                contents.problems.append(_not_expanded(line, origin))


class FileSource:
    """The configuration file."""

    def read(self, inputs: Inputs, registry: Registry) -> Layer:
        """Return the contents of the file; a file that is not YAML is one problem."""
        ignored = [_ignored(name) for name in ignored_files(inputs.directory, inputs.file)]
        if inputs.file is None:
            return Layer("file", {}, tuple(ignored))
        shown = os.path.relpath(inputs.file, inputs.directory)
        try:
            text = inputs.files.text(inputs.file)
        except UnreadableError as error:
            return Layer("file", {}, (_unreadable(shown, "file", error), *ignored))
        try:
            root, duplicates = read_leniently(text, shown)
        except SyntaxProblem as error:
            facts = {"reason": error.reason, "fix": error.hint or ""}
            return Layer("file", {}, (Problem("syntax", "", Origin("file", error.place), facts),), {shown: text})
        variables = Variables(inputs)
        contents = DocumentReader(registry, variables.get, inputs.directory).read(root)
        contents.problems += [_twice(one, Origin("file", one.place)) for one in duplicates]
        contents.problems += [
            _not_expanded(line, _origin(file, line))
            for file, line in variables.used.values()
            # Those that name a setting are problems of `.env` itself.
            if line.reference and line.name not in registry.by_env
        ]
        return Layer("file", _shared(contents, registry), (*contents.problems, *ignored), {shown: text})


class DefaultSource:
    """The defaults of the registry."""

    def read(self, inputs: Inputs, registry: Registry) -> Layer:
        """Return the default of every setting that has one."""
        return _defaults(ById(registry), inputs.directory)


SOURCES: tuple[Source, ...] = (FlagSource(), EnvironmentSource(), DotenvSource(), FileSource(), DefaultSource())


@lru_cache(maxsize=8)
def _defaults(key: ById[Registry], directory: str) -> Layer:
    entries = {
        path: Candidate(_default(setting, directory), DEFAULT)
        for path, setting in key.record.settings.items()
        if setting.default is not None
    }
    if "name" in key.record.settings:
        # The name of a directory may hold bytes that are not UTF-8.
        name = os.fsencode(os.path.basename(directory)).decode("utf-8", "replace")
        entries["name"] = Candidate(name or "compozy", DEFAULT)
    return Layer("default", entries)


def _default(setting: Setting, directory: str) -> object:
    if setting.type in ("list", "map"):
        return setting.default
    return from_yaml(setting, setting.default, str(setting.default), directory)


def _shared(contents: Contents, registry: Registry) -> Mapping[str, Candidate]:
    """Return the entries of a source; an entry for one of two settings that share a value counts for both."""
    entries = contents.entries
    for path, other in _sharing(ById(registry)):
        # Within one source, so that a value at either place takes precedence over lower sources at both.
        given = entries.get(path) or entries.get(other)
        if given is not None:
            entries = {path: given, other: given, **entries}
    return entries


@lru_cache(maxsize=8)
def _sharing(key: ById[Registry]) -> tuple[tuple[str, str], ...]:
    settings = key.record.settings.values()
    return tuple((setting.path, setting.same_as) for setting in settings if setting.shares and setting.same_as)


def _unreadable(name: str, kind: str, error: UnreadableError) -> Problem:
    return Problem("unreadable", "", Origin(kind, Place(name, 1, 1)), {"file": name, "reason": str(error)})


def _origin(file: str, line: DotenvLine) -> Origin:
    """Return the origin of an entry of a `.env` file."""
    place = Place(file, line.number, 1, len(line.name or "") or 1)
    return Origin("dotenv", place, name=line.name if line.name and len(line.name) <= _LONGEST_NAME else None)


def _not_expanded(line: DotenvLine, origin: Origin) -> Problem:
    return Problem("not-expanded", line.name or "", origin, {"reference": line.reference})


def _ignored(name: str) -> Problem:
    return Problem("ignored", "", Origin("file", Place(name, 1, 1)), {"file": name})


def _twice(found: Duplicate, origin: Origin) -> Problem:
    """Return the problem with a key that is written twice; below a secret, even the key may be one."""
    key = "a key" if any(map(sounds_secret, found.above)) else f'key "{without_secrets(found.key)}"'
    return Problem("duplicate-key", "", origin, {"reason": f"{key} is written twice", "fix": found.hint})


def take_variable(contents: Contents, registry: Registry, name: str, text: str, origin: Origin, inputs: Inputs) -> None:
    """Read one environment variable as a setting or a problem, or ignore it."""
    path = registry.by_env.get(name)
    if path is not None and not text:
        contents.problems.append(_empty(path, origin))
    elif path is not None:
        take_text(contents, registry, registry.settings[path], text, origin, inputs)
    elif name in _OF_THE_PROCESS and origin.kind == "env":
        # Trusted owners of files, and the coverage record: a file cannot set them for itself.
        return
    # Variables are case-sensitive; the same name in lower case is a mistake unless the right one is set as well.
    elif name.upper() in registry.by_env and name.upper() not in inputs.environment:
        contents.problems.append(Problem("unknown-variable", name, origin, {"suggestion": name.upper()}))
    elif name.startswith(_OURS) and not name.startswith(_FOR_TESTS):
        facts = {"suggestion": _variable_meant(registry, name)}
        contents.problems.append(Problem("unknown-variable", name, origin, facts))


def _empty(path: str, origin: Origin) -> Problem:
    """Return the problem with an empty text that does not set `path`."""
    name = origin.name or path
    what = name if origin.kind == "flag" else f"the variable {name}"
    return Problem("empty-variable", name, origin, {"path": path, "what": what})


def _variable_meant(registry: Registry, name: str) -> str:
    """Return the variable most like `name`, or empty, also by another spelling of its setting.

    What all names have in common does not make two of them alike.
    """
    words = {**registry.near, **registry.spelled}
    meant = {environment_name(word): registry.settings[path].env for word, path in words.items()}
    known = {one.removeprefix(_OURS): one for one in {**dict.fromkeys(registry.by_env), **meant}}
    found = known.get(closest(name.removeprefix(_OURS), known) or "", "")
    return meant.get(found, found)


def take_text(
    contents: Contents, registry: Registry, setting: Setting, text: str, origin: Origin, inputs: Inputs
) -> None:
    """Parse `text` for `setting` and note the candidate or the problem; lists and maps are YAML."""
    if is_unset(setting, text):
        contents.problems.append(_empty(setting.path, origin))
        return
    try:
        if setting.type in ("list", "map"):
            candidate = _structured(contents, registry, setting, text, origin, inputs)
        else:
            candidate = Candidate(from_text(setting, text, inputs.directory), origin)
    except ValueError as error:
        found = "" if setting.secret or setting.type in ("list", "map") else found_masked(text)
        contents.problems.append(Problem("type", setting.path, origin, {"expected": str(error), "found": found}))
        return
    if candidate is None:
        return
    before = contents.entries.get(setting.path)
    if before is not None and before.value != candidate.value and before.origin.name != origin.name:
        facts = {"path": before.origin.name or setting.path, "other": str(before.origin)}
        contents.problems.append(Problem("two-spellings", origin.name or setting.path, origin, facts))
    contents.entries[setting.path] = candidate
    for path, part in spread_address(setting, text):
        take_text(contents, registry, registry.settings[path], part, origin, inputs)


def _structured(
    contents: Contents, registry: Registry, setting: Setting, text: str, origin: Origin, inputs: Inputs
) -> Candidate | None:
    try:
        node, duplicates = read_leniently(text, origin.name or origin.kind)
    except SyntaxProblem as error:
        raise ValueError(f"expected a {setting.type} in YAML ({error.reason})") from error
    reader = DocumentReader(registry, None, inputs.directory)
    reader.leaf(setting.path, setting, node)
    contents.problems += [Problem(item.kind, item.key, origin, item.facts) for item in reader.contents.problems]
    contents.problems += [_twice(one, origin) for one in duplicates]
    found = reader.contents.entries.get(setting.path)
    return Candidate(found.value, origin) if found else None


def make_inputs(
    environment: Mapping[str, str],
    *,
    directory: str | None = None,
    file: str | None = None,
    flags: Mapping[str, str] | None = None,
    flag_names: Mapping[str, str] | None = None,
    variables: str | None = None,
    files: SourceFiles | None = None,
) -> Inputs:
    """Find the configuration file and the anchor of relative paths.

    `file` is used as given; else `compozy.yaml` or `compozy.yml` is looked for from `directory` (the process's when
    None) upwards.
    `variables` is a file like `.env`, as seen from the process; what it sets goes before the environment.

    Raises:
        UsageError: `file` or `directory` does not exist.
    """
    start = os.path.abspath(directory or os.getcwd())
    if not os.path.isdir(start):
        raise UsageError(f"directory {directory} does not exist", hint="create it, or name another one with --cwd")
    found = find_file(start) if file is None else _named_file(start, file)
    anchor = os.path.dirname(found) if found else start
    inputs = Inputs(
        anchor, found, dict(flags or {}), dict(environment), dict(flag_names or {}), files=files or SourceFiles()
    )
    return _with_variables(inputs, variables) if variables else inputs


def _named_file(start: str, file: str) -> str:
    found = os.path.abspath(os.path.join(start, file))
    if os.path.isdir(found):
        hint = "name the file, or use --cwd for a directory"
        raise UsageError(f"configuration file {file} is a directory", hint=hint)
    if not os.path.exists(found):
        raise UsageError(f"configuration file {file} does not exist", hint="check the path, or leave --config away")
    return found


def _with_variables(inputs: Inputs, file: str) -> Inputs:
    shown = os.path.relpath(file, inputs.directory)
    try:
        set_there = {line.name for line in dotenv_lines(dotenv_text(inputs, shown))}
    except UnreadableError:
        set_there = set()
    # Left out of the environment, so that each layer keeps its place and origins name the file.
    environment = {name: text for name, text in inputs.environment.items() if name not in set_there}
    return replace(inputs, environment=environment, dotenv=(shown, *inputs.dotenv))
