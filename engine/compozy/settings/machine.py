"""Ask the machine what the tables want to know about it.

What comes in: the registry's facts. What goes out: one word for each. Probes are named in the registry
and imported only when asked.
"""

from __future__ import annotations

from collections.abc import Mapping

from compozy.errors import RuleTableError
from compozy.settings.reference import load_reference
from compozy.settings.registry import Fact, Registry


def probe_facts(registry: Registry) -> Mapping[str, str]:
    """Return the value of every machine fact by name.

    Raises:
        RuleTableError: a probe does not exist or returns a word that its row does not list.
    """
    return {name: _probe(fact) for name, fact in registry.facts.items()}


def _probe(fact: Fact) -> str:
    value = str(load_reference(fact.probe)())
    if value not in fact.values:
        words = ", ".join(fact.values)
        raise RuleTableError(
            [f"{fact.place}: machine fact {fact.name}: its probe answered {value}, not one of {words}"]
        )
    return value
