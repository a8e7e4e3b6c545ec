"""Resolve and validate a configuration once for each combination of values of some settings.

Nothing is started. A varied value counts like one on the command line; everything else stays as the sources contain it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import TypeAlias

from compozy.base.findings import Finding
from compozy.base.record import dataclass
from compozy.errors import UsageError
from compozy.resolution.configuration import Configuration, read_sources
from compozy.resolution.resolve import Component, resolve
from compozy.resolution.validate import errors, validate
from compozy.settings.redact import redact_value
from compozy.settings.registry import Registry, Setting

# The value of a setting that is left to the sources.
AS_CONFIGURED = "-"
MOST_COMBINATIONS = 10_000

Varied: TypeAlias = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One combination: the varied texts as they are shown, and what follows from them."""

    varied: Mapping[str, str]
    mode: str
    components: Mapping[str, Component]
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> str:
        """The highest severity among the findings: `error`, `warning` or `ok`."""
        if errors(self.findings):
            return "error"
        return "warning" if self.findings else "ok"


def varied_settings(registry: Registry, names: Sequence[str]) -> Varied:
    """Return the values of each `PATH` or `PATH=VALUE|VALUE`; without values, those that the setting lists.

    >>> from compozy.rulebook import load_rulebook
    >>> varied_settings(load_rulebook().registry, ["redis.mode", "server.port=0|80"])
    {'redis.mode': ('-', 'memory', 'persistent', 'distributed'), 'server.port': ('0', '80')}

    Raises:
        UsageError: a setting does not exist, is missing or repeated, or lists no values and none are given.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        spelled, separator, texts = name.partition("=")
        if not spelled:
            raise UsageError("--vary: the name of a setting is missing", hint="write --vary PATH,PATH=VALUE|VALUE")
        path = registry.spelled.get(spelled)
        if path is None:
            near = registry.suggest(spelled)
            hint = f"did you mean {near}?" if near else "compozy config show --all lists the settings"
            raise UsageError(f"--vary: unknown setting {spelled}", hint=hint)
        if path in found:
            raise UsageError(f"--vary: {path} is repeated", hint=f"write --vary {path}=VALUE|VALUE once")
        found[path] = tuple(dict.fromkeys(texts.split("|"))) if separator else _listed(registry.settings[path])
    return found


def _listed(setting: Setting) -> tuple[str, ...]:
    values = ("true", "false") if setting.type == "boolean" else setting.values
    if not values:
        hint = f"name them: --vary {setting.path}=VALUE|VALUE"
        raise UsageError(f"--vary: {setting.path} (type {setting.type}) has no listed values", hint=hint)
    return (AS_CONFIGURED, *values)


def simulate(configuration: Configuration, varied: Varied, facts: Mapping[str, str]) -> Iterator[Outcome]:
    """Yield the outcome of every combination, the last setting varying fastest.

    Raises:
        UsageError: there are more than `MOST_COMBINATIONS`.
    """
    count = prod(len(texts) for texts in varied.values())
    if count > MOST_COMBINATIONS:
        raise UsageError(f"--vary: {count} combinations are more than {MOST_COMBINATIONS}", hint="vary less at once")
    settings = configuration.rulebook.registry.settings
    labels = {path: _labels(settings[path], texts) for path, texts in varied.items()}
    for texts in product(*varied.values()):
        combination = dict(zip(varied, texts, strict=True))
        shown = {path: labels[path][text] for path, text in combination.items()}
        yield _outcome(configuration, combination, shown, facts)


def _labels(setting: Setting, texts: Sequence[str]) -> Mapping[str, str]:
    """Return how each value is shown; redacted ones are numbered, because they may look the same."""
    redacted = {text: text if text == AS_CONFIGURED else str(redact_value(setting, text)) for text in texts}
    return {text: shown if shown == text else f"{shown} {at}" for at, (text, shown) in enumerate(redacted.items(), 1)}


def _outcome(
    configuration: Configuration, texts: Mapping[str, str], shown: Mapping[str, str], facts: Mapping[str, str]
) -> Outcome:
    given = {path: text for path, text in texts.items() if text != AS_CONFIGURED}
    inputs = replace(configuration.inputs, flags={**configuration.inputs.flags, **given})
    resolved = resolve(read_sources(inputs, configuration.rulebook), facts)
    return Outcome(shown, resolved.mode, resolved.components, validate(resolved))
