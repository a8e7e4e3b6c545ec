"""Read the keys that encrypt the payloads in Temporal.

A keyring is a text of one or more keys, newest first, separated by white space or commas. A key is 32 random bytes in
base64, standard or URL-safe. Its id is derived from it, so that a payload names its key without revealing it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import field

from compozy.base.record import dataclass

KEY_BYTES = 32
# The type of the failure of a payload that no key opens, as histories store it.
PAYLOAD_REFUSED = "compozy.payload-refused"
_ID_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Keyring:
    """Encryption keys by id: `newest` encrypts, every one of `keys` decrypts."""

    newest: str
    keys: Mapping[str, bytes] = field(repr=False)


def parse_keyring(text: str) -> Keyring:
    """Return the keys of a text; the first one is the newest.

    Raises:
        ValueError: the text holds no key, or one is not 32 bytes in base64; the message does not quote it.
    """
    keys = [_decode(word, number) for number, word in enumerate(text.replace(",", " ").split(), 1)]
    if not keys:
        raise ValueError("it holds no key")
    return Keyring(_key_id(keys[0]), {_key_id(key): key for key in keys})


def random_key() -> str:
    """Return a new key as text."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _decode(word: str, number: int) -> bytes:
    # Some tools print base64 without the padding that Python requires.
    padded = word.rstrip("=") + "=" * (-len(word.rstrip("=")) % 4)
    try:
        key = base64.b64decode(padded.translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"key {number} is not base64") from error
    if len(key) != KEY_BYTES:
        raise ValueError(f"key {number} has {len(key)} bytes, not {KEY_BYTES}")
    return key


def _key_id(key: bytes) -> str:
    # Stored beside payloads, so it must reveal nothing; the prefix separates it from other digests of the key.
    return hashlib.sha256(b"compozy key id\0" + key).hexdigest()[:_ID_DIGITS]
