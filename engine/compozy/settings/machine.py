"""Ask the machine what the tables want to know about it.

What comes in: the registry's facts. What goes out: one word for each. Probes are named in the registry
as `module:function` and imported only when asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from compozy.errors import RuleTableError
from compozy.settings.registry import Fact, Registry


def probe_facts(registry: Registry) -> Mapping[str, str]:
    """Return the value of every machine fact by name.

    Raises:
        RuleTableError: a probe does not exist or returns a word that its row does not list.
    """
    return {name: _probe(fact) for name, fact in registry.facts.items()}


def _probe(fact: Fact) -> str:
    module, _, function = fact.probe.partition(":")
    try:
        value = str(getattr(import_module(module), function)())
    except (ImportError, AttributeError) as error:
        raise RuleTableError([f"machine fact {fact.name}: probe {fact.probe} cannot be imported: {error}"]) from error
    if value not in fact.values:
        raise RuleTableError([f"machine fact {fact.name}: probe {fact.probe} answered {value}, not one of {fact.values}"])
    return value
