"""Complete arguments in the shell: workflows, settings, tables and findings; the shell itself completes files."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

from compozy.rulebook import load_rulebook

Completion = Callable[[click.Context, click.Parameter, str], list[str]]
FILE = click.Path()
DIRECTORY = click.Path(file_okay=False)


def among(words: Iterable[str]) -> Completion:
    """Return a completion that offers these words."""
    offered = tuple(words)
    return lambda _context, _parameter, beginning: _going_on(offered, beginning)


def settings(_context: click.Context, _parameter: click.Parameter, beginning: str) -> list[str]:
    """Offer the paths of settings, to be set."""
    return [f"{path}=" for path in _going_on(load_rulebook().registry.settings, beginning)]


def keys(_context: click.Context, _parameter: click.Parameter, beginning: str) -> list[str]:
    """Offer settings and decisions, which can be explained."""
    rulebook = load_rulebook()
    return _going_on({*rulebook.registry.settings, *rulebook.ruleset.tables}, beginning)


def tables(_context: click.Context, _parameter: click.Parameter, beginning: str) -> list[str]:
    """Offer the rule tables."""
    return _going_on(load_rulebook().ruleset.tables, beginning)


def _going_on(words: Iterable[str], beginning: str) -> list[str]:
    return sorted(word for word in words if word.startswith(beginning))
