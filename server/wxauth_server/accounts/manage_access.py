"""What an operator does to accounts of any source: disable, enable, unlock.

Each change and its audit event are one transaction. Other changes are for
accounts in our own store only, and in manage.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from wxauth_server.accounts.account_fields import check_id
from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.accounts.throttle import NameDigests
from wxauth_server.accounts.usernames import username_key
from wxauth_server.clock import Clock
from wxauth_server.store.accounts import (
    AccountRecord,
    find_account_by_username,
    insert_account,
    set_disabled,
)
from wxauth_server.store.admin_accounts import find_account_entry
from wxauth_server.store.audit import HERE, Actor, Event, Origin, record_event
from wxauth_server.store.ended_sessions import end_sessions_but
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.sessions import Cause
from wxauth_server.store.throttles import unlock_name


class NoSuchAccount(LookupError):
    """No account is meant by this, or its user has left. The text names what was looked for."""


@dataclass(frozen=True)
class Change:
    """What a change left behind."""

    account: AccountRecord
    #: False if the account was so before; then nothing was written.
    changed: bool
    #: Sessions that this ended, those past their limits included.
    sessions_ended: int = 0


class AccessManager:
    """Says who may log in. Blocking; thread-safe.

    `actor` is who the audit log shall say did it. Raises: StoreUnavailable, as
    AccountManager does.
    """

    def __init__(self, store: Store, clock: Clock, *, names: NameDigests, actor: Actor) -> None:
        self._store = store
        self._clock = clock
        self._names = names
        self._actor = actor

    def disable(self, account_id: str, *, source: str = LOCAL, origin: Origin = HERE) -> Change:
        """Let the account log in no more, and end every session of it.

        An account that is disabled keeps the time since when it is. One of another
        source that was not heard of, or whose user has left, is remembered as
        disabled, so that its user cannot begin. Raises: NoSuchAccount; AccountRefused.
        """
        check_id(account_id)
        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> Change:
            if source != LOCAL:
                insert_account(
                    tx,
                    source=source,
                    account_id=account_id,
                    username=None,
                    username_key=None,
                    display_name=None,
                    phone=None,
                    password=None,
                    now_ms=now_ms,
                )
            before = present(tx, account_id, source)
            if before.disabled_at is not None:
                return Change(before, changed=False)
            set_disabled(tx, source, account_id, disabled_at=now_ms)
            ended = end_sessions_but(
                tx, before.key, Cause.ACCOUNT_DISABLED, kept_handle=None, now_ms=now_ms
            )
            self._record(tx, Event.ACCOUNT_DISABLED, before.key, now_ms, origin)
            after = present(tx, account_id, source)
            return Change(after, changed=True, sessions_ended=len(ended))

        return self._store.write(transaction)

    def enable(self, account_id: str, *, source: str = LOCAL, origin: Origin = HERE) -> Change:
        """Let a disabled account log in again. Sessions that were ended stay so.

        Raises: NoSuchAccount.
        """
        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> Change:
            before = present(tx, account_id, source)
            if before.disabled_at is None:
                return Change(before, changed=False)
            set_disabled(tx, source, account_id, disabled_at=None)
            self._record(tx, Event.ACCOUNT_ENABLED, before.key, now_ms, origin)
            return Change(present(tx, account_id, source), changed=True)

        return self._store.write(transaction)

    def unlock(self, source: str, username: str, *, origin: Origin = HERE) -> bool:
        """Forget the failed attempts on a name, whether an account has it or not.

        False if nothing was held against it; then nothing was written.
        """
        now_ms = self._clock.now_ms()
        key = username_key(username)

        def transaction(tx: Transaction) -> bool:
            if not unlock_name(tx, self._names.of(source, username)):
                return False
            known = find_account_by_username(tx, source, key) if key is not None else None
            account = known.key if known is not None else None
            self._record(tx, Event.UNLOCKED, account, now_ms, origin)
            return True

        return self._store.write(transaction)

    def _record(
        self,
        tx: Transaction,
        event: Event,
        account: tuple[str, str] | None,
        now_ms: int,
        origin: Origin,
    ) -> None:
        record_event(
            tx,
            event,
            now_ms=now_ms,
            actor=self._actor,
            account=account,
            client_address=origin.client_address,
            caller=origin.caller,
        )


def present(tx: Transaction, account_id: str, source: str = LOCAL) -> AccountRecord:
    """The account, unless its user has left our own store for good."""
    entry = find_account_entry(tx, source, account_id)
    if entry is None or (source == LOCAL and entry.deleted_at is not None):
        raise NoSuchAccount(f"there is no account with the id {account_id!r}")
    return entry.record
