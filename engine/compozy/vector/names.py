"""Names of vector stores as names of files."""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import quote

# Characters: most file systems allow 255, endings included.
_LONGEST = 100


def file_name(name: str) -> str:
    """Return a name without separators and special names, different for different names.

    >>> file_name("docs"), file_name("../a b")
    ('docs', '%2E%2E%2Fa b')
    """
    encoded = quote(name, safe=" ", errors="surrogatepass").replace(".", "%2E")
    if len(encoded) <= _LONGEST:
        return encoded
    return f"{encoded[:_LONGEST]}-{sha256(name.encode(errors='surrogatepass')).hexdigest()[:16]}"
