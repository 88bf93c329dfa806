"""Protection against guessing: how many attempts there may be, and how long to wait.

Attempts are counted on three things at once, whether the account exists or not:

- one WeChat user and one name: after 5 failures that user waits for that name,
  1 s and twice as long each time, up to 15 minutes. Nobody else does;
- one name, whoever tries: after 100 failures in a row its password is put out of
  use (NIST SP 800-63B-4 section 3.2.2). Who is bound logs in without one;
- one WeChat user, whatever the names: after 10 failures that user waits.

An attempt is reserved before the password is looked at, so that the limits hold
however many come at once (reliability.md F19). The functions here are parts of
transactions; nothing here waits.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.accounts.usernames import username_key
from wxauth_server.keyring import KeyRing, Purpose
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.interface import Transaction
from wxauth_server.store.throttles import (
    ThrottleKey,
    ThrottleRecord,
    end_attempt,
    find_throttle,
    forgive,
    reserve_attempt,
    take_back,
)

#: The name of the rows about a WeChat user, whatever the name.
ANY_NAME = b""

_MINUTE_MS = 60_000
_DAY_MS = 86_400_000

#: An attempt that was begun so long ago ends no more: its server died. Longer than
#: a login with all its waits (5 s) and the queue of bcrypt.
LAPSE_MS = 30_000

#: Failures of one WeChat user are forgotten after a day without any.
FORGET_USER_MS = _DAY_MS
#: Those of a name must outlast a patient guesser, and end some day: names that
#: nobody has fill the table too.
FORGET_NAME_MS = 90 * _DAY_MS


@dataclass(frozen=True)
class ThrottleLimits:
    """How many failures there may be before waits begin."""

    #: Of one WeChat user on one name.
    failures_before_wait: int = 5
    #: Of one WeChat user on all names together.
    user_failures_before_wait: int = 10
    #: On one name in a row, until its password is put out of use.
    failures_before_lock: int = 100
    #: The longest wait, milliseconds.
    longest_wait_ms: int = 15 * _MINUTE_MS

    def wait_ms(self, failures: int, before_wait: int) -> int:
        """How long to wait after the last of so many failures: 0, then 1 s, 2 s, 4 s, …"""
        if failures < before_wait:
            return 0
        doublings = min(failures - before_wait, 30)
        return min(1000 << doublings, self.longest_wait_ms)


class NameDigests:
    """Stands for a username where it must not be read; the same for all its spellings."""

    def __init__(self, keyring: KeyRing) -> None:
        self._key = keyring.active(Purpose.DIGEST).secret

    def of(self, source: str, username: str) -> bytes:
        """32 bytes. A name that RFC 8265 refuses has one too: other systems have such names."""
        ours = source == LOCAL and username_key(username)
        return self._digest("username", source, ours or _coarse(username))

    def of_id(self, source: str, account_id: str) -> bytes:
        """For an account that has no username."""
        return self._digest("id", source, account_id)

    def _digest(self, *parts: str) -> bytes:
        return hmac.digest(self._key, "\0".join(parts).encode(), hashlib.sha256)


def _coarse(username: str) -> str:
    """What no other system tells apart: how it compares names is its own rule.

    MySQL may take case, accents and blanks at the end for nothing. Names that share
    a counter though they are two do no harm; spellings of one name that do not, would.
    """
    folded = unicodedata.normalize("NFKD", username.casefold()).casefold()
    return "".join(filter(str.isalnum, folded)) or username.strip()


@dataclass(frozen=True)
class Guess:
    """An attempt to prove, by a password, to be the one with a name."""

    name: bytes
    app_id: str
    openid: str

    @property
    def of_name(self) -> ThrottleKey:
        return ThrottleKey(self.name, "", "")

    @property
    def of_user(self) -> ThrottleKey:
        return ThrottleKey(ANY_NAME, self.app_id, self.openid)

    @property
    def of_both(self) -> ThrottleKey:
        return ThrottleKey(self.name, self.app_id, self.openid)

    def __iter__(self) -> Iterator[ThrottleKey]:
        # In one order everywhere, so that two transactions cannot wait for each other.
        yield from sorted((self.of_user, self.of_name, self.of_both))


class MustWait(Exception):
    """The attempt may not be made yet: nothing of it is reserved.

    `for_ms` is None while attempts are under way whose end decides: then it is
    worth asking again shortly.
    """

    def __init__(self, for_ms: int | None) -> None:
        super().__init__()
        self.for_ms = for_ms


def reserve(tx: Transaction, guess: Guess, limits: ThrottleLimits, *, now_ms: int) -> bool:
    """Count the attempt as begun, before the password is looked at; whether the name is locked.

    The attempt must fail then, as slowly as others.
    Every attempt under way counts as if it would fail: where it would then be one
    too many, others wait for its end. Raises: MustWait.
    """
    before = find_throttle(tx, guess.of_name)
    rows = {
        key: reserve_attempt(
            tx,
            key,
            forget_ms=FORGET_NAME_MS if key == guess.of_name else FORGET_USER_MS,
            lapse_ms=LAPSE_MS,
            now_ms=now_ms,
        )
        for key in guess
    }
    name, both, user = rows[guess.of_name], rows[guess.of_both], rows[guess.of_user]
    waits = (
        _wait_ms(both, limits, limits.failures_before_wait, now_ms),
        _wait_ms(user, limits, limits.user_failures_before_wait, now_ms),
    )
    if any(waits):
        raise MustWait(max(wait or 0 for wait in waits))
    locked = name.failures >= limits.failures_before_lock
    undecided = not locked and name.failures + name.pending > limits.failures_before_lock
    if undecided or None in waits:
        raise MustWait(None)
    if locked and (before is None or before.failures < limits.failures_before_lock):
        # By attempts that never ended, or by a limit that was lowered.
        _record_lock(tx, guess, account=None, client_address="", now_ms=now_ms)
    return locked


def succeeded(tx: Transaction, guess: Guess) -> None:
    """The password was right: what was held against the name is forgotten, for everybody.

    And what this WeChat user had failed with this name, which is theirs; not what
    they failed with others: an account of one's own would wash one clean.
    """
    end_attempt(tx, guess.of_user, failed_at=None)
    forgive(tx, guess.of_name)
    take_back(tx, guess.of_user, forgive(tx, guess.of_both))


def failed(
    tx: Transaction,
    guess: Guess,
    limits: ThrottleLimits,
    *,
    account: tuple[str, str] | None,
    client_address: str,
    now_ms: int,
) -> None:
    """The password was wrong. Records it when this puts the password out of use."""
    failures = {key: end_attempt(tx, key, failed_at=now_ms) for key in guess}
    if failures[guess.of_name] == limits.failures_before_lock:
        _record_lock(tx, guess, account=account, client_address=client_address, now_ms=now_ms)


def failed_unheard(tx: Transaction, guess: Guess, *, now_ms: int) -> None:
    """The password may have been looked at, and the answer was none.

    Held against the WeChat user, and not against the name: an account system that
    is out of order would lock everybody's.
    """
    for key in guess:
        end_attempt(tx, key, failed_at=None if key == guess.of_name else now_ms)


def given_up(tx: Transaction, guess: Guess) -> None:
    """The password was not looked at after all."""
    for key in guess:
        end_attempt(tx, key, failed_at=None)


def _wait_ms(
    row: ThrottleRecord, limits: ThrottleLimits, before_wait: int, now_ms: int
) -> int | None:
    """How long until the attempt may be made; None if the end of others decides."""
    if row.failures < before_wait:
        return 0 if row.failures + row.pending <= before_wait else None
    wait_ms = limits.wait_ms(row.failures, before_wait)
    left_ms = row.failed_at + wait_ms - now_ms
    if left_ms > 0:
        return min(left_ms, wait_ms)  # the clock may have been set back
    return 0 if row.pending == 1 else None


def _record_lock(
    tx: Transaction,
    guess: Guess,
    *,
    account: tuple[str, str] | None,
    client_address: str,
    now_ms: int,
) -> None:
    record_event(
        tx,
        Event.PASSWORD_LOCKED,
        now_ms=now_ms,
        app_id=guess.app_id,
        openid=guess.openid,
        account=account,
        client_address=client_address,
    )
