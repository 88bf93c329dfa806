"""What an import does: accounts of another system are added to our own, a batch at a time.

An import only adds. An account that is there already stays as it is, whatever
the other system says of it. No files here and no command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from wxauth_server.accounts.account_fields import (
    AccountRefused,
    check_display_name,
    check_id,
    check_phone,
    check_username,
)
from wxauth_server.accounts.passwords import pepper_id_of
from wxauth_server.accounts.passwords.foreign_hashes import take_over
from wxauth_server.accounts.passwords.password_refusals import NoUsablePassword, PasswordRefused
from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.clock import Clock
from wxauth_server.store.audit import HERE, Actor, Event, Origin, record_event
from wxauth_server.store.imports import (
    KnownAccount,
    NewAccount,
    find_known_accounts,
    insert_accounts,
)
from wxauth_server.store.interface import Store, Transaction

#: Of `Outcome.problem`, in UTF-8: the contract's limit.
MAX_PROBLEM_BYTES = 512


class AccountRow(NamedTuple):
    """An account as another system has it."""

    #: The company's own user id.
    id: str
    username: str | None = None
    display_name: str | None = None
    #: In E.164.
    phone: str | None = None
    phone_verified: bool = False
    #: What the other system kept of the password. None: no password.
    password_hash: str | None = None
    disabled: bool = False

    def __repr__(self) -> str:
        return f"AccountRow(id={self.id!r})"


class Result(StrEnum):
    """How an import of a row can end."""

    ADDED = "ADDED"
    #: It was there already, as it is asked for.
    UNCHANGED = "UNCHANGED"
    REFUSED = "REFUSED"


class Outcome(NamedTuple):
    """What became of a row."""

    result: Result
    #: Why it was refused, for people; at most MAX_PROBLEM_BYTES. Empty otherwise.
    problem: str = ""

    @classmethod
    def refused(cls, problem: str) -> Outcome:
        cut = problem.encode(errors="replace")[:MAX_PROBLEM_BYTES]
        return cls(Result.REFUSED, cut.decode(errors="ignore"))


class ImportBatch(Protocol):
    """An import of some rows, here or at a server."""

    def __call__(self, rows: Sequence[AccountRow], *, dry_run: bool) -> list[Outcome]:
        """As `AccountImporter.import_batch`."""
        ...


ADDED = Outcome(Result.ADDED)
UNCHANGED = Outcome(Result.UNCHANGED)


class AccountImporter:
    """Adds accounts of another system to our own store. Blocking; thread-safe."""

    def __init__(self, store: Store, clock: Clock, *, actor: Actor) -> None:
        self._store = store
        self._clock = clock
        self._actor = actor

    def import_batch(
        self, rows: Sequence[AccountRow], *, dry_run: bool, origin: Origin = HERE
    ) -> list[Outcome]:
        """Add these accounts in one transaction; the outcome of each, in their order.

        One that is refused keeps no other from being added. Safe to repeat. Other
        writers wait meanwhile: 256 rows take some 15 ms. With `dry_run` nothing is
        changed. Raises: StoreUnavailable; then it is unknown whether they were added.
        """
        now_ms = self._clock.now_ms()
        checked = [_checked(row, now_ms) for row in rows]
        accounts = [each for each in checked if isinstance(each, NewAccount)]

        def transaction(tx: Transaction) -> list[Outcome]:
            outcomes = _add(tx, accounts, now_ms)
            added = outcomes.count(ADDED)
            if dry_run:
                raise _NothingIsMeant(outcomes)
            if added:
                record_event(
                    tx,
                    Event.ACCOUNTS_IMPORTED,
                    now_ms=now_ms,
                    actor=self._actor,
                    client_address=origin.client_address,
                    caller=origin.caller,
                    count=added,
                )
            return outcomes

        try:
            found = iter(self._store.write(transaction) if accounts else ())
        except _NothingIsMeant as meant:
            found = iter(meant.outcomes)
        return [next(found) if isinstance(each, NewAccount) else each for each in checked]


class _NothingIsMeant(Exception):
    """Rolls a dry run back."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        super().__init__()
        self.outcomes = outcomes


def refusal_of(row: AccountRow) -> Outcome | None:
    """Why no import adds this account, whatever is there already; None if one may."""
    checked = _checked(row, 0)
    return checked if isinstance(checked, Outcome) else None


def _checked(row: AccountRow, now_ms: int) -> NewAccount | Outcome:
    """What would be stored, or why it cannot be."""
    try:
        check_id(row.id)
        key = None if row.username is None else check_username(row.username)
        if row.display_name is not None:
            check_display_name(row.display_name)
        check_phone(row.phone, verified=row.phone_verified)
        password = None if row.password_hash is None else _stored(row.password_hash)
    except (AccountRefused, PasswordRefused) as error:
        return Outcome.refused(str(error))
    return NewAccount(
        row.id,
        row.username,
        key,
        row.display_name,
        row.phone,
        now_ms if row.phone_verified else None,
        password,
        now_ms if row.disabled else None,
    )


def _stored(password_hash: str) -> str | None:
    try:
        return take_over(password_hash)
    except NoUsablePassword:
        return None


def _add(tx: Transaction, accounts: Sequence[NewAccount], now_ms: int) -> list[Outcome]:
    added = insert_accounts(tx, LOCAL, accounts, now_ms=now_ms)
    others = [account.id for account, new in zip(accounts, added, strict=True) if not new]
    known = find_known_accounts(tx, LOCAL, others)
    return [
        ADDED if new else _not_added(account, known.get(account.id))
        for account, new in zip(accounts, added, strict=True)
    ]


def _not_added(account: NewAccount, known: KnownAccount | None) -> Outcome:
    if known is None:
        return Outcome.refused(
            f"there is an account with the username {account.username!r} already, with another id"
        )
    if known.deleted_at is not None:
        return Outcome.refused(f"the user of the account with the id {account.id!r} has left")
    if fields := _other_fields(account, known):
        return Outcome.refused(
            f"there is an account with the id {account.id!r} already, with another "
            + " and another ".join(fields)
        )
    return UNCHANGED


def _other_fields(account: NewAccount, known: KnownAccount) -> list[str]:
    """What is another than in the account that is there."""
    same = {
        "username": account.username == known.username,
        "display name": account.display_name == known.display_name,
        "phone number": account.phone == known.phone,
        "mark whether its phone number is verified": (
            (account.phone_verified_at is None) == (known.phone_verified_at is None)
        ),
        "password": _is_same_password(account.password, known),
        "mark whether it is disabled": (
            (account.disabled_at is None) == (known.disabled_at is None)
        ),
    }
    return [field for field, is_same in same.items() if not is_same]


def _is_same_password(imported: str | None, known: KnownAccount) -> bool:
    if imported is None or known.password is None:
        return imported == known.password
    # At its user's next login a hash that was taken over becomes one of ours, and
    # the version of the password stays the first one.
    hashed_anew = bool(pepper_id_of(known.password)) and known.password_version == 1
    return imported == known.password or hashed_anew
