"""Places in files as the command line prints them: relative to the working directory where they lie below it."""

from __future__ import annotations

import os
from dataclasses import replace

from compozy.base.findings import Finding
from compozy.base.place import Place


def place_json(place: Place) -> dict[str, object]:
    """Return a place in the form of the command line's findings."""
    return {"kind": "file", "file": relative(place.file), "line": place.line, "column": place.column}


def relative_finding(finding: Finding) -> Finding:
    """Return a finding with the working directory removed from its places and texts."""
    place = finding.where.place
    where = replace(finding.where, place=_relative_place(place)) if place else finding.where
    also = tuple(map(_relative_place, finding.also))
    return replace(finding, message=relative(finding.message), where=where, also=also)


def _relative_place(place: Place) -> Place:
    return place._replace(file=relative(place.file))


def relative(text: str) -> str:
    """Return a text with the working directory removed from the paths in it."""
    return text.replace(os.getcwd() + os.sep, "")
