"""What an operator does to accounts: add, set a password or a phone number, disable, enable.

Each change and its audit event are one transaction, with the end of the
account's sessions where it means that. No command line and no transport here.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from dataclasses import dataclass, field

from wxauth_server.accounts.passwords import (
    PasswordHasher,
    check_new_password,
    pepper_id_of,
    take_over_bcrypt,
)
from wxauth_server.accounts.usernames import MAX_USERNAME_BYTES, username_key
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

#: The source of the accounts in our own store.
LOCAL = "local"

#: The limits that the contract states, in bytes of UTF-8.
MAX_ID_BYTES = 128
MAX_DISPLAY_NAME_BYTES = 256

# E.164: a country code, which never begins with 0, and 15 digits in all at most.
# Seven is the shortest that anybody can be reached at from abroad.
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
# Control characters, half surrogates, and what some programs take for a line end.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# What turns the direction of writing, so that one text looks like another.
_DIRECTIONS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: 128 random bits, as 32 hex digits: nobody guesses the id of another account.
_RANDOM_ID_BYTES = 16


class AccountRefused(ValueError):
    """An account that cannot be added as it is. The text says why."""


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
    """The bcrypt hash that another system kept of a password.

    Raises: PasswordRefused when it cannot be taken over.
    """

    text: str = field(repr=False)

    def __post_init__(self) -> None:
        take_over_bcrypt(self.text)

    def stored(self, hasher: PasswordHasher) -> str:
        """Its stored form."""
        del hasher
        return take_over_bcrypt(self.text)


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
        key = _check_username(username)
        if account_id is None:
            account_id = secrets.token_hex(_RANDOM_ID_BYTES)
        check_id(account_id)
        if display_name is not None:
            _check_text("display name", display_name, MAX_DISPLAY_NAME_BYTES)
        _check_phone(phone, verified=phone_verified)
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
        _check_phone(phone, verified=verified)
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


def check_id(account_id: str) -> None:
    """Raises: AccountRefused when this cannot be the id of an account."""
    _check_text("id", account_id, MAX_ID_BYTES)


def _check_username(username: str) -> str:
    """The username's key. Raises: AccountRefused."""
    _check_text("username", username, MAX_USERNAME_BYTES)
    key = username_key(username)
    if key is None:
        raise AccountRefused(
            "this username is not allowed: letters, digits and signs, without spaces and "
            "without characters that cannot be told apart (RFC 8265)"
        )
    return key


def _check_phone(phone: str | None, *, verified: bool) -> None:
    if phone is not None and _E164.fullmatch(phone) is None:
        raise AccountRefused(
            "a phone number is written as E.164 has it: + and the country code, "
            "then digits only, such as +8613800138000"
        )
    if verified and phone is None:
        raise AccountRefused("there is no phone number that could be verified")


def _check_text(what: str, text: str, most_bytes: int) -> None:
    if not text:
        raise AccountRefused(f"the {what} is empty")
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in text):
        raise AccountRefused(f"the {what} holds a control character or is not UTF-8")
    if not _DIRECTIONS.isdisjoint(text):
        raise AccountRefused(f"the {what} holds a character that turns the direction of writing")
    if text != text.strip():
        raise AccountRefused(f"the {what} begins or ends with white space")
    if len(text.encode()) > most_bytes:
        raise AccountRefused(f"the {what} is longer than {most_bytes} bytes of UTF-8")


def _note_pepper(tx: Transaction, stored: str | None) -> None:
    if stored is not None and (pepper_id := pepper_id_of(stored)):
        note_key_in_use(tx, Purpose.PEPPER, pepper_id)


def _found(tx: Transaction, account_id: str) -> AccountRecord:
    record = find_account(tx, LOCAL, account_id)
    if record is None:
        raise NoSuchAccount(f"there is no account with the id {account_id!r}")
    return record
