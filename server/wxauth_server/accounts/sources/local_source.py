"""The accounts in our own store."""

from __future__ import annotations

import logging

from wxauth_server.accounts.passwords import PasswordHasher, is_malformed
from wxauth_server.accounts.sources.source import LOCAL, SourceAccount, VerifiedAccount
from wxauth_server.accounts.usernames import username_key
from wxauth_server.deadline import Deadline
from wxauth_server.errors import CredentialsInvalid, Overloaded
from wxauth_server.pools import BoundedPool
from wxauth_server.store.accounts import AccountRecord, find_account, find_account_by_username
from wxauth_server.store.interface import Store

log = logging.getLogger("wxauth.auth")


class LocalSource:
    """Checks passwords against our own store, all CPU, in the password pool.

    An unknown user, a wrong password, a disabled account, an account without a
    password and a malformed hash take the same time and raise the same error
    (reliability.md row 20). The work ends by itself, so deadlines do not matter.
    """

    name = LOCAL

    def __init__(
        self, store: Store, hasher: PasswordHasher, *, passwords: BoundedPool, readers: BoundedPool
    ) -> None:
        self._store = store
        self._hasher = hasher
        self._passwords = passwords
        self._readers = readers

    @property
    def places(self) -> None:
        """As many as the password pool has."""
        return None

    @property
    def full(self) -> bool:
        return self._passwords.full

    async def verify(
        self, username: str, password: str, deadline: Deadline, *, allowed: bool = True
    ) -> VerifiedAccount:
        del deadline
        return await self._passwords.run(self._verify, username, password, allowed)

    async def verify_owner(
        self,
        account_id: str,
        username: str | None,
        password: str,
        deadline: Deadline,
        *,
        allowed: bool = True,
    ) -> VerifiedAccount:
        del username, deadline
        return await self._passwords.run(self._verify_owner, account_id, password, allowed)

    async def get(self, account_id: str, deadline: Deadline) -> SourceAccount | None:
        del deadline
        record = await self._readers.run(
            self._store.read, lambda tx: find_account(tx, LOCAL, account_id)
        )
        return _account(record) if record else None

    async def tell_deleted(self, account_id: str, deadline: Deadline) -> None:
        """Nothing: the account is deleted in the same store."""

    async def close(self) -> None:
        """Nothing: store and pools are others'."""

    def _verify(self, username: str, password: str, allowed: bool) -> VerifiedAccount:
        key = username_key(username)
        record = None
        if key is not None:
            record = self._store.read(lambda tx: find_account_by_username(tx, LOCAL, key))
        return self._check(record, password, allowed)

    def _verify_owner(self, account_id: str, password: str, allowed: bool) -> VerifiedAccount:
        record = self._store.read(lambda tx: find_account(tx, LOCAL, account_id))
        return self._check(record, password, allowed)

    def _check(self, record: AccountRecord | None, password: str, allowed: bool) -> VerifiedAccount:
        stored = record.password if record else None
        allowed = allowed and record is not None and record.disabled_at is None
        if stored is not None and is_malformed(stored) and record is not None:
            log.error("stored password hash is malformed", extra={"account": list(record.key)})
        try:
            right = self._hasher.verify(stored, password, allowed=allowed)
        except MemoryError:  # argon2 and scrypt want up to 128 MiB
            raise Overloaded from None
        if not right:
            raise CredentialsInvalid(record.key if record else None)
        assert record is not None  # noqa: S101 - `verify` saw a hash
        assert stored is not None  # noqa: S101
        rehash = self._hasher.needs_rehash(stored)
        return VerifiedAccount(
            _account(record),
            record.password_version,
            self._hasher.hash(password) if rehash else None,
        )


def _account(record: AccountRecord) -> SourceAccount:
    return SourceAccount(
        record.id, record.username, record.display_name, enabled=record.disabled_at is None
    )
