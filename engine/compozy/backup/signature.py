"""Sign the manifest of a backup with the key of the project, and verify it before a restore.

The signature is HMAC-SHA-256 under a key derived from the encryption key, preceded by the id of that key. A place
without a key, such as a new machine, cannot verify; one with a key refuses other backups unless they are accepted.
"""

from __future__ import annotations

import hmac
import os

from compozy.errors import BackupError
from compozy.resolution.resolve import Resolved
from compozy.settings.keyring import Keyring
from compozy.state.key_file import load_keyring

_PURPOSE = b"compozy backup manifest\0"
_HINT = "check where the file comes from; --accept-unsigned restores it"


def project_keys(resolved: Resolved) -> Keyring | None:
    """Return the encryption keys of a project; None before they are created.

    Raises:
        DriverError: the key file cannot be used.
    """
    text, file = resolved.get("temporal.encryption_key"), resolved.get("temporal.encryption_key_file")
    if not text and not (file and os.path.lexists(file)):
        return None
    return load_keyring(text, file)


def sign(manifest: bytes, keys: Keyring) -> str:
    """Return the signature of a manifest with the newest key."""
    return f"{keys.newest} {_digest(manifest, keys.keys[keys.newest])}"


def verify(manifest: bytes, signature: str | None, keys: Keyring) -> None:
    """Refuse a manifest that no key of the project signed.

    Raises:
        BackupError: it is not signed, signed with another key, or changed after it was signed.
    """
    if signature is None:
        raise BackupError("the backup is not signed, and this project has a key", hint=_HINT)
    name, _, digest = signature.partition(" ")
    if name not in keys.keys:
        raise BackupError("the backup is signed with a key that this project does not have", hint=_HINT)
    # In constant time, as for every comparison with a secret digest.
    if not hmac.compare_digest(digest.encode(), _digest(manifest, keys.keys[name]).encode()):
        raise BackupError("the signature of the backup is not valid: it was changed", hint="use another backup")


def _digest(manifest: bytes, key: bytes) -> str:
    # A derived key, so that signing never uses the key that encrypts payloads.
    derived = hmac.digest(key, _PURPOSE, "sha256")
    return hmac.digest(derived, manifest, "sha256").hex()
