"""Read certificate and key files before a connection is opened, so that the error names the unreadable file.

The contents never appear in a message or a log.
"""

from __future__ import annotations

from pathlib import Path

from compozy.errors import DriverError


def read_pem(path: str, setting: str) -> bytes:
    """Return the content of a PEM file.

    Raises:
        DriverError: it cannot be read, or is not PEM; the message names file and setting.
    """
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DriverError(
            f"{path} ({setting}) cannot be read: {reason.lower()}",
            hint=f"correct {setting}, or make the file readable",
        ) from error
    if b"-----BEGIN " not in content:
        raise DriverError(f"{path} ({setting}) is not a PEM file", hint=f"name a file in PEM form in {setting}")
    return content
