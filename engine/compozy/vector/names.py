"""Names of vector stores as names of files."""

from __future__ import annotations

from urllib.parse import quote


def file_name(name: str) -> str:
    """Return a name without separators and special names, different for different names."""
    return quote(name, safe=" ").replace(".", "%2E")
