"""Derive the settings that are parts of an address from it, so that the highest source of each part decides it.

Only the address that is in force counts. Its parts stand below what the same source writes for a part itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from compozy.settings.endpoint import stated_parts
from compozy.settings.origin import WRITTEN, Candidate
from compozy.settings.registry import Setting
from compozy.settings.values import from_text, has_form

Candidates = dict[str, tuple[Candidate, ...]]


def with_stated_parts(candidates: Candidates, settings: Mapping[str, Setting]) -> Candidates:
    """Return the candidates, highest first, with those that addresses state for their parts."""
    found = dict(candidates)
    for setting in (settings[path] for path in candidates if settings[path].parts):
        address = candidates[setting.path][0]
        stated = stated_parts(address.value) if has_form(setting, address.value) else {}
        for path, text in ((setting.parts[name], text) for name, text in stated.items() if name in setting.parts):
            value = part_value(settings[path], text)
            if value is not None:
                part = Candidate(value, address.origin, address=setting.path)
                found[path] = _placed(settings[path], part, found.get(path, ()))
    return found


def part_value(setting: Setting, text: str) -> object:
    """Return a part as its setting reads it; None where it cannot, as with several ports or none at all."""
    try:
        return from_text(setting, text, "/")
    except ValueError:
        return None


def rank(candidate: Candidate) -> int:
    """Return the place of a candidate's source; the highest source has 0."""
    kind = candidate.origin.kind
    return WRITTEN.index(kind) if kind in WRITTEN else len(WRITTEN)


def is_weaker(setting: Setting, value: object, other: object) -> bool:
    """Return True if the values of a setting are ordered, and `value` comes before the `other`."""
    order = setting.values if setting.ordered else ()
    return value in order and other in order and order.index(value) < order.index(other)


def _placed(setting: Setting, part: Candidate, others: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    above = [other for other in others if rank(other) <= rank(part) and other.value != ""]
    below = [other for other in others if other not in above]
    if any(is_weaker(setting, part.value, other.value) for other in below if rank(other) < len(WRITTEN)):
        return others  # a finding of the address
    return (*above, part, *below)
