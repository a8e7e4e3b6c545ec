"""Encrypt and authenticate the payloads that Temporal stores.

AES-256-GCM with a random nonce, under a key derived from the keyring for one execution (HMAC-SHA-256 over namespace and
workflow id). A payload copied into another execution or namespace therefore cannot be opened, and the number of
messages under one key stays far below the limit of random nonces. A payload that cannot be opened is refused with a
failure that Temporal does not retry. This module imports the Temporal client library, so it is itself imported late;
the library of ciphers is needed with the first payload only.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import (
    ActivitySerializationContext,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
    PayloadConverter,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from temporalio.exceptions import ApplicationError

from compozy.settings.keyring import PAYLOAD_REFUSED, Keyring

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ENCODING = b"binary/encrypted"  # the name that Temporal's own samples and tools use
KEY_ID = "encryption-key-id"
# The recommended length for AES-GCM (NIST SP 800-38D, section 5.2.1.1); part of the stored format.
_NONCE_BYTES = 12
# Each execution has a key of its own, so that an unbounded cache would grow with every execution.
_CACHED_KEYS = 64


class PayloadRefusedError(ApplicationError):
    """A payload that no key of the keyring decrypts; its execution fails."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"a payload was refused: {reason}", type=PAYLOAD_REFUSED, non_retryable=True)


class EncryptionCodec(PayloadCodec, WithSerializationContext):
    """Encrypts with the newest key of a keyring, decrypts with any; bound to one execution by `with_context`."""

    def __init__(self, keyring: Keyring, context: bytes = b"") -> None:
        self._keyring = keyring
        self._context = context
        self._cipher = lru_cache(_CACHED_KEYS)(_cipher)

    def with_context(self, context: SerializationContext) -> EncryptionCodec:
        """Return the codec for the execution of `context`."""
        if not isinstance(context, (WorkflowSerializationContext, ActivitySerializationContext)):
            return self
        # Without `__init__`, so that all executions share one cache of ciphers.
        bound = EncryptionCodec.__new__(EncryptionCodec)
        bound._keyring, bound._cipher = self._keyring, self._cipher
        bound._context = f"{context.namespace}\0{context.workflow_id}".encode()
        return bound

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt payloads."""
        return [self._encrypted(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt payloads.

        Raises:
            PayloadRefusedError: one is not encrypted, names an unknown key, or is not authentic.
        """
        return [self._decrypted(payload) for payload in payloads]

    def _encrypted(self, payload: Payload) -> Payload:
        newest = self._keyring.newest
        nonce = secrets.token_bytes(_NONCE_BYTES)
        cipher = self._cipher(self._keyring.keys[newest], self._context)
        # The key id is associated data: it is not encrypted, but changing it is detected.
        data = nonce + cipher.encrypt(nonce, payload.SerializeToString(), newest.encode())
        return Payload(metadata={"encoding": ENCODING, KEY_ID: newest.encode()}, data=data)

    def _decrypted(self, payload: Payload) -> Payload:
        # Plain payloads are refused as well: accepting them would let a writer of the history bypass the
        # authentication.
        if payload.metadata.get("encoding") != ENCODING:
            raise PayloadRefusedError("it is not encrypted with a key of this project")
        name = payload.metadata.get(KEY_ID, b"").decode(errors="replace")
        key = self._keyring.keys.get(name)
        if key is None:
            raise PayloadRefusedError("its encryption key is not among the keys of this server")
        from cryptography.exceptions import InvalidTag

        nonce, sealed = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            opened = self._cipher(key, self._context).decrypt(nonce, sealed, name.encode())
            return Payload.FromString(opened)
        except (InvalidTag, ValueError, DecodeError) as error:
            raise PayloadRefusedError("it was changed, or belongs to another execution") from error


def _cipher(key: bytes, context: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    # The prefix separates these keys from those of any other use of the project's key.
    return AESGCM(hmac.digest(key, b"compozy payload\0" + context, hashlib.sha256))


class _EncryptedFailures(DefaultFailureConverterWithEncodedAttributes):
    """Encrypts messages and stack traces; a refused argument of an activity is a failure that is not retried."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Convert an exception; the library hides a refusal behind an error that may be retried."""
        refused = exception.__cause__
        shown = refused if isinstance(refused, PayloadRefusedError) else exception
        super().to_failure(shown, payload_converter, failure)


@dataclasses.dataclass(frozen=True)  # noqa: TID251 - its parent is one
class _EncryptingConverter(DataConverter):
    """The usual converters with a codec for each execution.

    Only the codec depends on the execution. The library would build all converters anew for each of the about ten
    payloads of an execution, which takes longer than the encryption.
    """

    def with_context(self, context: SerializationContext) -> _EncryptingConverter:
        """Return the converter for the execution of `context`."""
        bound = copy.copy(self)
        if isinstance(self.payload_codec, EncryptionCodec):
            object.__setattr__(bound, "payload_codec", self.payload_codec.with_context(context))
        return bound


def encrypting(keyring: Keyring) -> DataConverter:
    """Return the usual data converter with encrypted payloads, messages and stack traces of failures."""
    return _EncryptingConverter(payload_codec=EncryptionCodec(keyring), failure_converter_class=_EncryptedFailures)
