"""Names for users who have left: the same for the same user, and nobody's without the key."""

from __future__ import annotations

import hashlib
import hmac

from wxauth_server.keyring import KeyRing, Purpose

#: No openid and no session handle begins so: a colon is in neither.
PREFIX = "deleted:"
#: 128 bits: no two users get one name by chance.
_BYTES = 16


class Pseudonyms:
    """Makes them: 40 characters each, an HMAC-SHA-256 with the ring's active `digest` key.

    Thread-safe; a few microseconds each. Raises: KeyRingUnusable when the ring
    has no active digest key.
    """

    def __init__(self, keyring: KeyRing) -> None:
        self._key = keyring.active(Purpose.DIGEST).secret

    def of_account(self, source: str, account_id: str) -> str:
        return self._pseudonym("account", source, account_id)

    def of_wechat_user(self, app_id: str, openid: str) -> str:
        return self._pseudonym("openid", app_id, openid)

    def of_session(self, handle: str) -> str:
        """A handle is public, but its session's row still has the account's id."""
        return self._pseudonym("session", handle)

    def _pseudonym(self, *parts: str) -> str:
        text = "\0".join(("pseudonym", *parts)).encode()
        return PREFIX + hmac.digest(self._key, text, hashlib.sha256)[:_BYTES].hex()
