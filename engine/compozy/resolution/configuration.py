"""Read every source once: the state `unresolved`.

A `Configuration` holds what each source contains: file, `.env`, environment, flags and rule packs. Nothing is decided.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from compozy.base.place import DEFAULT
from compozy.base.record import dataclass
from compozy.base.source_file import SourceFiles
from compozy.rulebook import Rulebook, installed_packs, load_rulebook, pack_directories
from compozy.rulebook.files import shipped_texts
from compozy.settings.dotenv import Variables
from compozy.settings.origin import Candidate, Problem
from compozy.settings.redact import MaskedTexts, Redactor, is_secret_name, may_hold_secrets, secrets_in
from compozy.settings.sources import SOURCES, Inputs, Layer, make_inputs
from compozy.settings.stated import with_stated_parts


@dataclass(frozen=True, slots=True)
class Configuration:
    """The contents of the sources, nothing decided: the state `unresolved`.

    `candidates` maps a setting's path to what the layers give it, highest first.
    """

    inputs: Inputs
    layers: tuple[Layer, ...]
    candidates: Mapping[str, tuple[Candidate, ...]]
    problems: tuple[Problem, ...]
    rulebook: Rulebook

    @property
    def directory(self) -> str:
        """The absolute directory that anchors relative paths."""
        return self.inputs.directory

    @property
    def texts(self) -> Mapping[str, str]:
        """Every file that a finding may point into, by name, rule files too; known secrets are masked."""
        texts = {name: text for layer in self.layers for name, text in layer.texts.items()}
        return MaskedTexts({**self.rulebook.files, **texts}, Redactor(secrets_of(self)), shipped_texts())


def secrets_of(configuration: Configuration) -> set[str]:
    """Return every secret text in every layer, shadowed ones included."""
    settings = configuration.rulebook.registry.settings
    variables = Variables(configuration.inputs)
    found: set[str] = set()
    for path, candidates in configuration.candidates.items():
        for candidate in candidates if may_hold_secrets(settings[path]) else ():
            found.update(secrets_in(settings[path], candidate.value))
        for origin in (origin for candidate in candidates for origin in (candidate.origin, *candidate.parts.values())):
            found.update(variables.get(name) or "" for name in origin.variables if is_secret_name(name))
    return found - {"", *vocabulary(configuration.rulebook)}


def vocabulary(rulebook: Rulebook) -> set[str]:
    """Return the words of the product: a password such as `postgres` is hidden in its place, not wherever it occurs."""
    words = {row.id for row in rulebook.components}
    for setting in rulebook.registry.settings.values():
        words.update((setting.path, *re.split(r"[._]", setting.path)))
        words.update((*setting.values, *setting.also, str(setting.default)))
    return words


def load_configuration(
    *,
    directory: str | None = None,
    file: str | None = None,
    flags: Mapping[str, str] | None = None,
    flag_names: Mapping[str, str] | None = None,
    packs: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    variables: str | None = None,
    files: SourceFiles | None = None,
) -> Configuration:
    """Read the sources; `environment` is the process's when None, `packs` are further rule directories.

    `variables` is a file like `.env`; what it sets goes before the environment and `.env`. `files` are those read
    before, which are not opened again.

    Raises:
        UsageError: the file or directory that was named does not exist.
        RuleTableError: the rule tables, or a pack that the configuration names, cannot be used.
        TrustError: another user controls a file that would decide something.
    """
    inputs = make_inputs(
        os.environ if environment is None else environment,
        directory=directory, file=file, flags=flags, flag_names=flag_names, variables=variables, files=files,
    )  # fmt: skip
    always = (*installed_packs(), *(os.path.abspath(pack) for pack in packs))
    configuration = read_sources(inputs, load_rulebook(always))
    named = named_packs(configuration)
    # Read once more, because the packs that the configuration names may declare settings of it.
    return read_sources(inputs, load_rulebook((*always, *named))) if named else configuration


def packs_in_force(inputs: Inputs, further: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the absolute directories of the installed rule packs, of `further` ones and of those that `rules` names.

    None of them is read.
    """
    named = named_packs(read_sources(inputs, load_rulebook()))
    return (*installed_packs(), *(os.path.abspath(pack) for pack in further), *named)


def read_sources(inputs: Inputs, rulebook: Rulebook) -> Configuration:
    """Read every source of `SOURCES` in its order."""
    layers = tuple(source.read(inputs, rulebook.registry) for source in SOURCES)
    candidates: dict[str, tuple[Candidate, ...]] = {}
    for layer in layers:
        for path, candidate in layer.entries.items():
            candidates[path] = (*candidates.get(path, ()), candidate)
    candidates = with_stated_parts(candidates, rulebook.registry.settings)
    problems = (_shadowing(candidates, problem) for layer in layers for problem in layer.problems)
    return Configuration(inputs, layers, candidates, tuple(filter(None, problems)), rulebook)


def _shadowing(candidates: Mapping[str, tuple[Candidate, ...]], problem: Problem) -> Problem | None:
    """Return a problem as it is; an empty text is one only where a lower source gives the setting a value."""
    if problem.kind != "empty-variable":
        return problem
    given = candidates.get(problem.facts["path"], ())
    others = [str(candidate.origin) for candidate in given if candidate.origin != DEFAULT]
    return replace(problem, facts={**problem.facts, "other": others[0]}) if others else None


def named_packs(configuration: Configuration) -> tuple[str, ...]:
    """Return the absolute directories of the rule packs that the setting `rules` names."""
    candidates = configuration.candidates.get("rules", ())
    names = [str(item) for item in candidates[0].value] if candidates else []
    return pack_directories(names, configuration.directory)
