"""Step 4, first half: username and password become one of the company's accounts.

Guessing is held back here: an attempt is reserved, then the password is looked
at, then the transaction that says what came of it ends the attempt
(accounts/throttle.py says how many there may be).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import secrets
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

from wxauth_server.accounts.sources.source import LOCAL, AccountSource, VerifiedAccount
from wxauth_server.accounts.throttle import (
    Guess,
    MustWait,
    NameDigests,
    ThrottleLimits,
    failed,
    failed_unheard,
    given_up,
    reserve,
)
from wxauth_server.auth.recent import Recent
from wxauth_server.clock import Clock
from wxauth_server.deadline import Deadline
from wxauth_server.errors import (
    AccountSourceUnavailable,
    AuthError,
    CredentialsInvalid,
    Overloaded,
    Throttled,
)
from wxauth_server.pools import Pools
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.sessions import SessionRecord

#: How long an attempt waits for others that are under way, in seconds: some bcrypt
#: runs long. Then the caller is told to come again.
_PATIENCE_S = 2.0
#: What it is told, in seconds.
_COME_AGAIN_S = 1.0
#: Attempts without an answer that are remembered, about 200 bytes each.
_MOST_UNHEARD = 10_000
#: How long the door is minded after a code was spent for nothing, in seconds.
_FULL_S = 1.0
#: Between two looks, in seconds: one bcrypt takes longer.
_LOOK_AGAIN_S = 0.05


class CredentialVerifier:
    """Checks passwords with their account sources, so often as the limits allow.

    For one event loop. Who calls `verify` or `verify_owner` ends the attempt in the
    transaction of its outcome: with `succeeded` or `given_up` of accounts/throttle.py
    or with `failed`. What is never ended counts as failed after half a minute.
    """

    def __init__(
        self,
        sources: Mapping[str, AccountSource],
        *,
        names: NameDigests,
        limits: ThrottleLimits,
        store: Store,
        pools: Pools,
        clock: Clock,
    ) -> None:
        self.sources = sources
        self._places_of_our_own = pools.passwords.capacity
        self._inside: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()
        self._full_until_s: dict[str, float] = {}
        self._names = names
        self._limits = limits
        self._store = store
        self._writer = pools.writer
        self._clock = clock
        # What was tried without an answer, in memory and under a key of this process.
        self._key_of_unheard = secrets.token_bytes(32)
        self._unheard: Recent[bytes, None] = Recent(keep_ms=60_000, most=_MOST_UNHEARD)
        # Of many attempts that wait for the same, one at a time asks the store.
        self._turns: weakref.WeakValueDictionary[Guess, asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )

    @contextlib.contextmanager
    def entered(self, source: str) -> Iterator[None]:
        """From before a code is spent to the end of its login.

        Raises: Overloaded, at once, when no place is free, or when twice as many have
        entered as there are places. Twice, since whoever invents codes enters too; for
        a second after a code was spent for no place, no more enter than there are.
        """
        kind, places = self._places_of(source)
        known = self.sources.get(source)
        spent_for_nothing = time.monotonic() < self._full_until_s.get(kind, 0.0)
        most_inside = places if spent_for_nothing else 2 * places
        if self._taken[kind] >= places or self._inside[kind] >= most_inside:
            raise Overloaded
        if known is not None and known.full:
            raise Overloaded
        self._inside[kind] += 1
        try:
            yield
        finally:
            self._inside[kind] -= 1

    @contextlib.contextmanager
    def place(self, source: str) -> Iterator[None]:
        """A place for an attempt, from before it is reserved to its end.

        So many wait for a password to be looked at, and no more. To be taken when the
        code is spent, so that invented codes take none. Raises: Overloaded, at once.
        """
        kind, places = self._places_of(source)
        if self._taken[kind] >= places:
            self._full_until_s[kind] = time.monotonic() + _FULL_S
            raise Overloaded
        self._taken[kind] += 1
        try:
            yield
        finally:
            self._taken[kind] -= 1

    def _places_of(self, source: str) -> tuple[str, int]:
        """Which places a source has, and how many there are."""
        known = self.sources.get(source)
        if known is None or known.places is None:
            return LOCAL, self._places_of_our_own
        return source, known.places

    def guess(self, source: str, username: str, *, app_id: str, openid: str) -> Guess:
        """The attempt of a WeChat user on a username."""
        return Guess(self._names.of(source, username), app_id, openid)

    def guess_of_owner(self, session: SessionRecord) -> Guess:
        """The attempt of a session's owner on the session's account: the same, by name."""
        source, account_id = session.account
        if session.username:
            name = self._names.of(source, session.username)
        else:
            name = self._names.of_id(source, account_id)
        return Guess(name, session.app_id, session.openid)

    async def verify(
        self, source: str, guess: Guess, username: str, password: str, deadline: Deadline
    ) -> VerifiedAccount:
        """The enabled account with this username and password.

        Raises: CredentialsInvalid, with the attempt to be ended by the caller, as
        after a success; Throttled, Overloaded, AccountSourceUnavailable and
        StoreUnavailable, after which there is nothing to end.
        """
        locked = await self._reserve(guess, deadline)
        async with self._ended_on_failure(guess, username, password):
            return await self.sources[source].verify(
                username, password, deadline, allowed=not locked
            )

    async def verify_owner(
        self, guess: Guess, session: SessionRecord, password: str, deadline: Deadline
    ) -> VerifiedAccount:
        """Check the password of a session's account. Raises: as `verify`."""
        source = self.sources.get(session.account_source)
        locked = await self._reserve(guess, deadline)
        async with self._ended_on_failure(guess, session.account_id, password):
            if source is None:  # no longer configured
                raise CredentialsInvalid(session.account)
            return await source.verify_owner(
                session.account_id,
                session.username,
                password,
                deadline,
                allowed=not locked,
            )

    async def give_up(self, guess: Guess) -> None:
        """End an attempt that came to nothing, if the store lets us."""
        await self._end(lambda tx: given_up(tx, guess))

    def failed(
        self,
        tx: Transaction,
        guess: Guess,
        *,
        account: tuple[str, str] | None,
        client_address: str = "",
        now_ms: int,
    ) -> None:
        """End an attempt whose password was wrong. `account` is for the audit log."""
        failed(
            tx,
            guess,
            self._limits,
            account=account,
            client_address=client_address,
            now_ms=now_ms,
        )

    async def _reserve(self, guess: Guess, deadline: Deadline) -> bool:
        turn = self._turns.setdefault(guess, asyncio.Lock())
        end = time.monotonic() + min(_PATIENCE_S, deadline.left_s() / 2)
        try:
            async with asyncio.timeout(end - time.monotonic()):
                await turn.acquire()
        except TimeoutError:
            raise Throttled(_COME_AGAIN_S) from None
        try:
            while True:
                try:
                    return await self._writer.run(
                        self._store.write,
                        lambda tx: reserve(tx, guess, self._limits, now_ms=self._clock.now_ms()),
                    )
                except MustWait as wait:
                    if wait.for_ms is not None:
                        raise Throttled(wait.for_ms / 1000) from None
                if time.monotonic() > end:
                    raise Throttled(_COME_AGAIN_S)
                await asyncio.sleep(_LOOK_AGAIN_S)
        finally:
            turn.release()

    @contextlib.asynccontextmanager
    async def _ended_on_failure(self, guess: Guess, *tried: str) -> AsyncIterator[None]:
        try:
            yield
        except CredentialsInvalid:
            raise
        except AccountSourceUnavailable as failure:
            if failure.tried and not self._is_repeated(guess, *tried):
                now_ms = self._clock.now_ms()
                await self._end(lambda tx: failed_unheard(tx, guess, now_ms=now_ms))
            else:
                await self.give_up(guess)
            raise
        except AuthError:
            await self.give_up(guess)
            raise

    def _is_repeated(self, guess: Guess, *tried: str) -> bool:
        """Whether just this was tried without an answer a minute ago: it is no other guess."""
        text = "\0".join((guess.app_id, guess.openid, *tried)).encode()
        digest = hmac.digest(self._key_of_unheard, text, hashlib.sha256)
        repeated = digest in self._unheard
        self._unheard.put(digest, None, now_ms=self._clock.now_ms())
        return repeated

    async def _end(self, end: Callable[[Transaction], None]) -> None:
        # What the store does not take counts as failed in half a minute.
        with contextlib.suppress(AuthError):
            await self._writer.run(self._store.write, end)
