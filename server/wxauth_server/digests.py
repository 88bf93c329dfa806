"""Keyed digests that stand for a WeChat user wherever the audit log leaves the database."""

from __future__ import annotations

import hashlib
import hmac

from wxauth_server.keyring import KeyRing, Purpose

#: 128 bits: no two users have the same by chance.
_HEX_DIGITS = 32


class OpenidDigests:
    """Tells openids apart without saying them. Thread-safe.

    The same WeChat user of the same app has the same one while the key of the
    purpose "digest" is the same; nobody without that key finds the openid again,
    even by trying all that there are.
    """

    def __init__(self, keyring: KeyRing) -> None:
        """Raises: KeyRingUnusable when the ring has no active key for digests."""
        self._key = keyring.active(Purpose.DIGEST).secret

    def of(self, app_id: str, openid: str) -> str:
        """32 hex digits."""
        user = f"{app_id}\0{openid}".encode()
        return hmac.digest(self._key, user, hashlib.sha256).hex()[:_HEX_DIGITS]
