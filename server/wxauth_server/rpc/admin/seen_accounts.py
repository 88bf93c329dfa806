"""Accounts as AdminService shows them, with what the throttles hold against each."""

from __future__ import annotations

from wxauth.v1.admin_service_pb2 import AccountDetails
from wxauth_server.accounts.throttle import NameDigests, ThrottleLimits
from wxauth_server.errors import NotFound
from wxauth_server.rpc.admin.messages import account_details
from wxauth_server.store.accounts import AccountRecord
from wxauth_server.store.admin_accounts import AccountEntry, find_account_entry, list_accounts_after
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.throttles import ThrottleKey, find_throttle


class SeenAccounts:
    """Reads accounts. Blocking; thread-safe."""

    def __init__(self, store: Store, names: NameDigests, limits: ThrottleLimits) -> None:
        self._store = store
        self._names = names
        self._limits = limits

    def details(self, key: tuple[str, str]) -> AccountDetails:
        """The account (source, id), also one whose user has left. Raises: NotFound."""

        def work(tx: Transaction) -> AccountDetails:
            entry = find_account_entry(tx, *key)
            if entry is None:
                raise NotFound("account")
            return self._of(tx, entry)

        return self._store.read(work)

    def page(
        self, source: str, *, deleted: bool, after_id: str, limit: int
    ) -> list[AccountDetails]:
        """The accounts of a source behind an id, in the order of their ids."""
        return self._store.read(
            lambda tx: [
                self._of(tx, entry)
                for entry in list_accounts_after(tx, source, after_id, deleted=deleted, limit=limit)
            ]
        )

    def _of(self, tx: Transaction, entry: AccountEntry) -> AccountDetails:
        return account_details(entry, password_locked=self._is_locked(tx, entry.record))

    def _is_locked(self, tx: Transaction, account: AccountRecord) -> bool:
        if account.username is None:
            name = self._names.of_id(account.source, account.id)
        else:
            name = self._names.of(account.source, account.username)
        throttle = find_throttle(tx, ThrottleKey(name, "", ""))
        return throttle is not None and throttle.failures >= self._limits.failures_before_lock
