"""What an operator does to the accounts in our own store: add, find, name, set a password.

Each change and its audit event are one transaction, with the end of the
account's sessions where it means that. Whether an account may log in is in
manage_access.py. No command line and no transport here.
"""

from __future__ import annotations

import secrets

from wxauth_server.accounts.account_fields import (
    AccountRefused,
    check_display_name,
    check_id,
    check_phone,
    check_username,
)
from wxauth_server.accounts.manage_access import AccessManager, Change, NoSuchAccount, present
from wxauth_server.accounts.passwords import pepper_id_of
from wxauth_server.accounts.passwords.new_secrets import ForeignHash, Hashes, NewPassword
from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.accounts.throttle import NameDigests
from wxauth_server.accounts.usernames import username_key
from wxauth_server.clock import Clock
from wxauth_server.keyring import Purpose
from wxauth_server.store.accounts import (
    AccountRecord,
    find_account,
    find_account_by_username,
    insert_account,
    update_password,
    update_phone,
)
from wxauth_server.store.admin_accounts import update_username
from wxauth_server.store.audit import HERE, Actor, Event, Origin
from wxauth_server.store.ended_sessions import end_sessions_but
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.keys import note_key_in_use
from wxauth_server.store.sessions import Cause
from wxauth_server.store.throttles import unlock_name

__all__ = [
    "AccountManager",
    "Change",
    "ForeignHash",
    "IdTaken",
    "NewPassword",
    "NoSuchAccount",
    "UsernameTaken",
]

#: 128 random bits, as 32 hex digits: nobody guesses the id of another account.
_RANDOM_ID_BYTES = 16


class IdTaken(AccountRefused):
    """There is an account with this id, or was one whose user has left."""


class UsernameTaken(AccountRefused):
    """There is an account with this username, perhaps spelt in another case or width."""


class AccountManager(AccessManager):
    """Changes the accounts in our own store. Blocking; thread-safe.

    `context_words` are no passwords. Every method raises StoreUnavailable when the store
    fails; whether the change was made is unknown then, and it is safe to repeat.
    """

    def __init__(
        self,
        store: Store,
        hasher: Hashes,
        clock: Clock,
        *,
        names: NameDigests,
        context_words: tuple[str, ...] = (),
        actor: Actor = Actor.COMMAND,
    ) -> None:
        super().__init__(store, clock, names=names, actor=actor)
        self._hasher = hasher
        self._context_words = context_words

    def find(self, *, username: str | None = None, account_id: str | None = None) -> AccountRecord:
        """The account in our own store with this id, else the one with this username.

        Raises: NoSuchAccount.
        """
        if account_id is not None:
            return self._store.read(lambda tx: present(tx, account_id))
        key = username_key(username or "")
        record = None
        if key is not None:
            record = self._store.read(lambda tx: find_account_by_username(tx, LOCAL, key))
        if record is None:
            raise NoSuchAccount(f"there is no account with the username {username!r}")
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
        origin: Origin = HERE,
    ) -> AccountRecord:
        """Add an enabled account; without `account_id` its id is random.

        An account without a password can log in only after it was given one.
        `phone_verified` says that the company knows the number to be this user's:
        it may then stand for the password where an app allows that.
        Raises: IdTaken, UsernameTaken; AccountRefused for a value that is not
        allowed; PasswordRefused; Overloaded.
        """
        key = check_username(username)
        if account_id is None:
            account_id = secrets.token_hex(_RANDOM_ID_BYTES)
        check_id(account_id)
        if display_name is not None:
            check_display_name(display_name)
        check_phone(phone, verified=phone_verified)
        # Before the transaction: bcrypt takes long, and there is one writer.
        stored = password.stored(self._hasher, self._context(username)) if password else None
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
                raise _username_taken(username)
            _note_pepper(tx, stored)
            self._record(tx, Event.ACCOUNT_ADDED, (LOCAL, account_id), now_ms, origin)
            return present(tx, account_id)

        return self._store.write(transaction)

    def set_password(
        self,
        account_id: str,
        password: NewPassword | ForeignHash,
        *,
        kept_handle: str | None = None,
        origin: Origin = HERE,
    ) -> Change:
        """Set another password and end every session of the account but the one kept.

        What was held against its username is forgotten. Raises: NoSuchAccount,
        PasswordRefused, Overloaded.
        """
        username = self.find(account_id=account_id).username
        stored = password.stored(self._hasher, self._context(username))
        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> Change:
            before = present(tx, account_id)
            update_password(tx, LOCAL, account_id, stored)
            _note_pepper(tx, stored)
            ended = end_sessions_but(
                tx, before.key, Cause.PASSWORD_CHANGED, kept_handle=kept_handle, now_ms=now_ms
            )
            for name in self._names_of(before):
                unlock_name(tx, name)
            self._record(tx, Event.PASSWORD_SET, before.key, now_ms, origin)
            return Change(present(tx, account_id), changed=True, sessions_ended=len(ended))

        return self._store.write(transaction)

    def set_phone(
        self,
        account_id: str,
        phone: str | None,
        *,
        verified: bool = False,
        origin: Origin = HERE,
    ) -> Change:
        """Set the account's phone number, in E.164, or with None remove it.

        `verified` says that the company knows the number to be this user's, as of
        now; without it a number that was verified is so no longer. Sessions and
        bindings stay. Raises: NoSuchAccount; AccountRefused.
        """
        check_phone(phone, verified=verified)
        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> Change:
            before = present(tx, account_id)
            if (before.phone, before.phone_verified_at) == (phone, None) and not verified:
                return Change(before, changed=False)
            verified_at = now_ms if verified else None
            update_phone(tx, LOCAL, account_id, phone=phone, verified_at=verified_at)
            self._record(tx, Event.PHONE_SET, before.key, now_ms, origin)
            return Change(present(tx, account_id), changed=True)

        return self._store.write(transaction)

    def set_username(self, account_id: str, username: str, *, origin: Origin = HERE) -> Change:
        """Let the user log in with this name from now on. Sessions and bindings stay.

        Raises: NoSuchAccount; UsernameTaken; AccountRefused.
        """
        key = check_username(username)
        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> Change:
            before = present(tx, account_id)
            if before.username == username:
                return Change(before, changed=False)
            named = find_account_by_username(tx, LOCAL, key)
            if named is not None and named.id != account_id:
                raise _username_taken(username)
            update_username(tx, LOCAL, account_id, username=username, username_key=key)
            self._record(tx, Event.USERNAME_SET, before.key, now_ms, origin)
            return Change(present(tx, account_id), changed=True)

        return self._store.write(transaction)

    def _context(self, username: str | None) -> tuple[str, ...]:
        return (*self._context_words, username) if username else self._context_words

    def _names_of(self, account: AccountRecord) -> list[bytes]:
        """What attempts on the account are counted on."""
        names = [self._names.of_id(account.source, account.id)]
        if account.username is not None:
            names.append(self._names.of(account.source, account.username))
        return names


def _username_taken(username: str) -> UsernameTaken:
    return UsernameTaken(f"there is an account with the username {username!r} already")


def _note_pepper(tx: Transaction, stored: str | None) -> None:
    if stored is not None and (pepper_id := pepper_id_of(stored)):
        note_key_in_use(tx, Purpose.PEPPER, pepper_id)
