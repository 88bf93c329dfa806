"""Step 4, first half: username and password become one of the company's accounts."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from wxauth_server.accounts.passwords import PasswordHasher, is_malformed
from wxauth_server.accounts.usernames import username_key
from wxauth_server.errors import CredentialsInvalid
from wxauth_server.store.accounts import AccountRecord, find_account, find_account_by_username
from wxauth_server.store.interface import Store

log = logging.getLogger("wxauth.auth")


@dataclass(frozen=True)
class VerifiedAccount:
    """An account whose password was right a moment ago."""

    record: AccountRecord
    #: The password hashed anew, where the stored hash is not what we write now.
    new_hash: str | None = field(repr=False)


class CredentialVerifier:
    """Checks passwords against the accounts in our own store.

    Blocking, all CPU: runs in the password pool. An unknown user, a wrong
    password, a disabled account, an account without a password and a malformed
    hash take the same time and raise the same error (reliability.md row 20).
    """

    def __init__(self, store: Store, hasher: PasswordHasher) -> None:
        self._store = store
        self._hasher = hasher

    def verify(self, source: str, username: str, password: str) -> VerifiedAccount:
        """Raises: CredentialsInvalid, StoreUnavailable."""
        key = username_key(username)
        record = None
        if key is not None:
            record = self._store.read(lambda tx: find_account_by_username(tx, source, key))
        return self._check(record, password)

    def verify_owner(self, account: tuple[str, str], password: str) -> VerifiedAccount:
        """Check the password of a known account, (source, id).

        Raises: CredentialsInvalid, StoreUnavailable.
        """
        record = self._store.read(lambda tx: find_account(tx, *account))
        return self._check(record, password)

    def _check(self, record: AccountRecord | None, password: str) -> VerifiedAccount:
        stored = record.password if record else None
        enabled = record is not None and record.disabled_at is None
        if stored is not None and is_malformed(stored) and record is not None:
            log.error("stored password hash is malformed", extra={"account": list(record.key)})
        if not self._hasher.verify(stored, password, allowed=enabled):
            raise CredentialsInvalid(record.key if record else None)
        assert record is not None  # noqa: S101 - `verify` saw a hash
        assert stored is not None  # noqa: S101
        rehash = self._hasher.needs_rehash(stored)
        return VerifiedAccount(record, self._hasher.hash(password) if rehash else None)
