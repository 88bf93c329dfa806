"""Sealing: secrets that the database keeps, but that it does not tell.

AES-256-GCM with the `seal` keys of the key ring. What was sealed opens only for
the mini-program, the WeChat user and the content it was sealed for, so that
nobody who can write to the database moves one user's secret to another.
"""

from __future__ import annotations

import logging
import secrets
from enum import StrEnum
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wxauth_server.keyring import KeyRing, Purpose

log = logging.getLogger("wxauth.sealing")

#: 96 random bits, as NIST SP 800-38D section 8.2.2 has them: one key seals 2**32
#: values at most, which are 4,000 million logins.
_NONCE_BYTES = 12
_TAG_BYTES = 16


class Content(StrEnum):
    """What a sealed value is. It opens as nothing else."""

    #: WeChat's session_key, on a binding or on an exchange: one moves to the other as it is.
    SESSION_KEY = "session_key"


class Sealed(NamedTuple):
    """A sealed value, as the database keeps it: nonce, ciphertext and tag in one."""

    key_id: str
    ciphertext: bytes


class CannotOpen(Exception):
    """A sealed value does not open. Why is in the log and must not reach a caller."""


class Sealer:
    """Seals and opens. Thread-safe; a few microseconds each.

    Raises: KeyRingUnusable when the ring has no active seal key.
    """

    def __init__(self, keyring: KeyRing) -> None:
        self._active_key_id = keyring.active(Purpose.SEAL).id
        self._ciphers = {
            key.id: AESGCM(key.secret) for key in keyring if key.purpose is Purpose.SEAL
        }

    def seal(self, content: Content, *, app_id: str, openid: str, plaintext: str) -> Sealed:
        """Seal a text with the active key; twice the same text is never alike."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self._active_key_id].encrypt(
            nonce, plaintext.encode(), _associated(content, app_id, openid)
        )
        return Sealed(self._active_key_id, nonce + sealed)

    def open(self, content: Content, *, app_id: str, openid: str, sealed: Sealed) -> str:
        """The text that was sealed for just this.

        Raises: CannotOpen when it was changed, cut, moved here from elsewhere or
        sealed with a key that the ring does not have; then the log has an alarm.
        """
        cipher = self._ciphers.get(sealed.key_id)
        if cipher is None:
            raise self._alarm(content, app_id, sealed, "the key ring lacks the key")
        if not isinstance(sealed.ciphertext, bytes):  # SQLite keeps what it is given
            raise self._alarm(content, app_id, sealed, "changed or moved")
        nonce, ciphertext = sealed.ciphertext[:_NONCE_BYTES], sealed.ciphertext[_NONCE_BYTES:]
        if len(ciphertext) < _TAG_BYTES:
            raise self._alarm(content, app_id, sealed, "cut")
        try:
            opened = cipher.decrypt(nonce, ciphertext, _associated(content, app_id, openid))
        except InvalidTag:
            raise self._alarm(content, app_id, sealed, "changed or moved") from None
        return opened.decode()

    @staticmethod
    def _alarm(content: Content, app_id: str, sealed: Sealed, cause: str) -> CannotOpen:
        # Whose it was is not said: an openid has no place in a log.
        log.error(
            "sealed value does not open",
            extra={
                "content": content.value,
                "app_id": app_id,
                "key_id": sealed.key_id,
                "cause": cause,
            },
        )
        return CannotOpen("a sealed value does not open")


def _associated(content: Content, app_id: str, openid: str) -> bytes:
    """app_id | openid | content, each after its length: no two of them give the same bytes."""
    parts = (app_id.encode(), openid.encode(), content.encode())
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
