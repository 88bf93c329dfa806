"""What an operator does to accounts: add, set a password or a phone number, disable, enable.

Each change and its audit event are one transaction, with the end of the
account's sessions where it means that. No command line and no transport here.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from wxauth_server.accounts.account_fields import (
    AccountRefused,
    check_display_name,
    check_id,
    check_phone,
    check_username,
)
from wxauth_server.accounts.passwords import (
    PasswordHasher,
    check_new_password,
    pepper_id_of,
    take_over,
)
from wxauth_server.accounts.source import LOCAL
from wxauth_server.accounts.usernames import username_key
from wxauth_server.clock import Clock
from wxauth_server.keyring import Purpose
from wxauth_server.store.accounts import (
    AccountRecord,
    find_account,
    find_account_by_username,
    insert_account,
    set_disabled,
    update_password,
    update_phone,
)
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.keys import note_key_in_use
from wxauth_server.store.session_keys import erase_session_keys_of_account
from wxauth_server.store.sessions import Cause, end_sessions_of_account

#: 128 random bits, as 32 hex digits: nobody guesses the id of another account.
_RANDOM_ID_BYTES = 16


class IdTaken(AccountRefused):
    """There is an account with this id."""


class UsernameTaken(AccountRefused):
    """There is an account with this username, perhaps spelt in another case or width."""


class NoSuchAccount(LookupError):
    """No account is meant by this. The text names what was looked for."""


@dataclass(frozen=True)
class NewPassword:
    """A password to set, as it is typed. See `ForeignHash` for the alternative.

    Raises: PasswordRefused when it cannot be set.
    """

    text: str = field(repr=False)

    def __post_init__(self) -> None:
        check_new_password(self.text)

    def stored(self, hasher: PasswordHasher) -> str:
        """Its stored form. Blocking: one bcrypt."""
        return hasher.hash(self.text)


@dataclass(frozen=True)
class ForeignHash:
    """The hash that another system kept of a password.

    Raises: PasswordRefused when it cannot be taken over.
    """

    text: str = field(repr=False)

    def __post_init__(self) -> None:
        take_over(self.text)

    def stored(self, hasher: PasswordHasher) -> str:
        """Its stored form."""
        del hasher
        return take_over(self.text)


@dataclass(frozen=True)
class Change:
    """What a change left behind."""

    account: AccountRecord
    #: False if the account was so before; then nothing was written.
    changed: bool
    #: Sessions that this ended, those past their limits included.
    sessions_ended: int


class AccountManager:
    """Changes the accounts in our own store. Blocking; thread-safe.

    Every method raises StoreUnavailable when the store fails; whether the change
    was made is unknown then, and it is safe to repeat.
    """

    def __init__(self, store: Store, hasher: PasswordHasher, clock: Clock) -> None:
        self._store = store
        self._hasher = hasher
        self._clock = clock

    def find(self, *, username: str | None = None, account_id: str | None = None) -> AccountRecord:
        """The account with this id, else the one with this username.

        Raises: NoSuchAccount.
        """
        if account_id is not None:
            record = self._store.read(lambda tx: find_account(tx, LOCAL, account_id))
            named = f"id {account_id!r}"
        else:
            key = username_key(username or "")
            record = None
            if key is not None:
                record = self._store.read(lambda tx: find_account_by_username(tx, LOCAL, key))
            named = f"username {username!r}"
        if record is None:
            raise NoSuchAccount(f"there is no account with the {named}")
        return record

    def add(
        self,
        *,
        username: str,
        account_id: str | None = None,
        display_name: str | None = None,
        phone: str | None = None,
        phone_verified: bool = False,
        password: NewPassword | ForeignHash | None = None,
    ) -> AccountRecord:
        """Add an enabled account; without `account_id` its id is random.

        An account without a password can log in only after it was given one.
        `phone_verified` says that the company knows the number to be this user's:
        it may then stand for the password where an app allows that.
        Raises: IdTaken, UsernameTaken; AccountRefused for a value that is not
        allowed.
        """
        key = check_username(username)
        if account_id is None:
            account_id = secrets.token_hex(_RANDOM_ID_BYTES)
        check_id(account_id)
        if display_name is not None:
            check_display_name(display_name)
        check_phone(phone, verified=phone_verified)
        # Before the transaction: bcrypt takes long, and there is one writer.
        stored = password.stored(self._hasher) if password else None
        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> AccountRecord:
            if not insert_account(
                tx,
                source=LOCAL,
                account_id=account_id,
                username=username,
                username_key=key,
                display_name=display_name,
                phone=phone,
                phone_verified=phone_verified,
                password=stored,
                now_ms=now_ms,
            ):
                if find_account(tx, LOCAL, account_id) is not None:
                    raise IdTaken(f"there is an account with the id {account_id!r} already")
                raise UsernameTaken(f"there is an account with the username {username!r} already")
            _note_pepper(tx, stored)
            record_event(tx, Event.ACCOUNT_ADDED, now_ms=now_ms, account=(LOCAL, account_id))
            return _found(tx, account_id)

        return self._store.write(transaction)

    def set_password(self, account_id: str, password: NewPassword | ForeignHash) -> Change:
        """Set another password and end every session of the account.

        Raises: NoSuchAccount.
        """
        stored = password.stored(self._hasher)
        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> Change:
            if not update_password(tx, LOCAL, account_id, stored):
                raise NoSuchAccount(f"there is no account with the id {account_id!r}")
            _note_pepper(tx, stored)
            account = (LOCAL, account_id)
            ended = end_sessions_of_account(tx, account, Cause.PASSWORD_CHANGED, now_ms=now_ms)
            erase_session_keys_of_account(tx, account)
            record_event(tx, Event.PASSWORD_SET, now_ms=now_ms, account=account)
            return Change(_found(tx, account_id), changed=True, sessions_ended=ended)

        return self._store.write(transaction)

    def set_phone(self, account_id: str, phone: str | None, *, verified: bool = False) -> Change:
        """Set the account's phone number, in E.164, or with None remove it.

        `verified` says that the company knows the number to be this user's, as of
        now; without it a number that was verified is so no longer. Sessions and
        bindings stay. Raises: NoSuchAccount; AccountRefused.
        """
        check_phone(phone, verified=verified)
        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> Change:
            before = _found(tx, account_id)
            if (before.phone, before.phone_verified_at) == (phone, None) and not verified:
                return Change(before, changed=False, sessions_ended=0)
            verified_at = now_ms if verified else None
            update_phone(tx, LOCAL, account_id, phone=phone, verified_at=verified_at)
            record_event(tx, Event.PHONE_SET, now_ms=now_ms, account=before.key)
            return Change(_found(tx, account_id), changed=True, sessions_ended=0)

        return self._store.write(transaction)

    def disable(self, account_id: str) -> Change:
        """Let the account log in no more, and end every session of it.

        An account that is disabled keeps the time since when it is. Raises:
        NoSuchAccount.
        """
        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> Change:
            before = _found(tx, account_id)
            if before.disabled_at is not None:
                return Change(before, changed=False, sessions_ended=0)
            set_disabled(tx, LOCAL, account_id, disabled_at=now_ms)
            ended = end_sessions_of_account(tx, before.key, Cause.ACCOUNT_DISABLED, now_ms=now_ms)
            erase_session_keys_of_account(tx, before.key)
            record_event(tx, Event.ACCOUNT_DISABLED, now_ms=now_ms, account=before.key)
            return Change(_found(tx, account_id), changed=True, sessions_ended=ended)

        return self._store.write(transaction)

    def enable(self, account_id: str) -> Change:
        """Let a disabled account log in again. Sessions that were ended stay so.

        Raises: NoSuchAccount.
        """
        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> Change:
            before = _found(tx, account_id)
            if before.disabled_at is None:
                return Change(before, changed=False, sessions_ended=0)
            set_disabled(tx, LOCAL, account_id, disabled_at=None)
            record_event(tx, Event.ACCOUNT_ENABLED, now_ms=now_ms, account=before.key)
            return Change(_found(tx, account_id), changed=True, sessions_ended=0)

        return self._store.write(transaction)


def _note_pepper(tx: Transaction, stored: str | None) -> None:
    if stored is not None and (pepper_id := pepper_id_of(stored)):
        note_key_in_use(tx, Purpose.PEPPER, pepper_id)


def _found(tx: Transaction, account_id: str) -> AccountRecord:
    record = find_account(tx, LOCAL, account_id)
    if record is None:
        raise NoSuchAccount(f"there is no account with the id {account_id!r}")
    return record
