"""Places in files as the command line prints them: relative to the working directory where they lie below it."""

from __future__ import annotations

import os
from typing import Any

from compozy.base.place import Place


def place_json(place: Place) -> dict[str, Any]:
    """Return a place in the form of the command line's findings."""
    return {"kind": "file", "file": relative(place.file), "line": place.line, "column": place.column}


def relative(text: str) -> str:
    """Return a text with the working directory removed from the paths in it."""
    return text.replace(os.getcwd() + os.sep, "")
