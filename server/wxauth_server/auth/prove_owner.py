"""Fresh proof that the owner of a session asks: a new code, or the account's password.

For what cannot be taken back and must not be done with a stolen SessionId alone:
unbinding, leaving.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from wxauth_server.accounts.throttle import Guess, succeeded
from wxauth_server.auth.exchange_code import CodeExchange, renew_session_key
from wxauth_server.auth.refusal_counts import RefusalCounts
from wxauth_server.auth.validate_session import LiveSession
from wxauth_server.auth.verify_credentials import CredentialVerifier
from wxauth_server.clock import Clock
from wxauth_server.deadline import Deadline
from wxauth_server.errors import AuthError, CredentialsInvalid, ProofInvalid, Throttled
from wxauth_server.pools import BoundedPool
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.exchanges import ExchangeRecord
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.sessions import SessionRecord

T = TypeVar("T")


@dataclass(frozen=True)
class Proof:
    """That the owner asks: a fresh code or the account's password, exactly one of them."""

    code: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class _Proven:
    holds: bool
    #: Whose the code was.
    person: ExchangeRecord | None = None
    #: The attempt with a password, to be ended.
    guess: Guess | None = None


class OwnerProof:
    """Lets owners do what needs their proof. For one event loop."""

    def __init__(
        self,
        *,
        exchange: CodeExchange,
        verifier: CredentialVerifier,
        refusals: RefusalCounts,
        store: Store,
        clock: Clock,
        writer_pool: BoundedPool,
    ) -> None:
        self._exchange = exchange
        self._verifier = verifier
        self._refusals = refusals
        self._store = store
        self._clock = clock
        self._writer_pool = writer_pool
        self._running: set[asyncio.Task[Any]] = set()

    async def act(
        self,
        live: LiveSession,
        proof: Proof,
        refused: Event,
        deadline: Deadline,
        act: Callable[[Transaction, int], T | AuthError],
    ) -> T:
        """Do what the owner of a session asks for, if the proof holds.

        `act` is given a transaction and its time, and returns what came of it or the
        error to raise once it is committed. `refused` is the event that says that the
        proof did not hold. Goes on when its caller gives up: the proof is spent.

        Raises: ProofInvalid; what CodeExchange.ask and CredentialVerifier.verify_owner
        raise, but for CredentialsInvalid; StoreUnavailable; what `act` returns.
        """
        task = asyncio.create_task(self._act(live, proof, refused, deadline, act))
        self._running.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Wait for what goes on without its caller."""
        await asyncio.gather(*self._running, return_exceptions=True)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, or asyncio logs it when its caller has gone

    async def _act(
        self,
        live: LiveSession,
        proof: Proof,
        refused: Event,
        deadline: Deadline,
        act: Callable[[Transaction, int], T | AuthError],
    ) -> T:
        try:
            proven = await self._prove(live, proof, deadline)
        except AuthError as refusal:
            self._count(refusal, live.record, refused)
            raise
        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> T | AuthError:
            if not proven.holds:
                return self._refuse(tx, proven, live.record, refused, now_ms)
            outcome = act(tx, now_ms)
            if proven.guess is not None:  # last, as in a login: the order of the locks
                succeeded(tx, proven.guess)
            return outcome

        try:
            outcome = await self._writer_pool.run(self._store.write, transaction)
        except AuthError:
            if proven.holds and proven.guess is not None:
                await self._verifier.give_up(proven.guess)
            raise
        if isinstance(outcome, AuthError):
            raise outcome
        return outcome

    async def _prove(self, live: LiveSession, proof: Proof, deadline: Deadline) -> _Proven:
        session = live.record
        if proof.code:
            person = await self._exchange.ask(live.app, proof.code, deadline)
            return _Proven(person.openid == session.openid, person=person)
        guess = self._verifier.guess_of_owner(session)
        try:
            with self._verifier.place(session.account_source):
                await self._verifier.verify_owner(guess, session, proof.password, deadline)
        except CredentialsInvalid:
            return _Proven(False, guess=guess)
        return _Proven(True, guess=guess)

    def _refuse(
        self,
        tx: Transaction,
        proven: _Proven,
        session: SessionRecord,
        refused: Event,
        now_ms: int,
    ) -> ProofInvalid:
        record_event(
            tx,
            refused,
            now_ms=now_ms,
            reason=ProofInvalid.reason_name(),
            app_id=session.app_id,
            openid=session.openid,
            account=session.account,
            session_handle=session.handle,
        )
        if proven.guess is not None:
            self._verifier.failed(tx, proven.guess, account=session.account, now_ms=now_ms)
        if proven.person is not None:
            renew_session_key(tx, proven.person)
        return ProofInvalid()

    def _count(self, refusal: AuthError, session: SessionRecord, refused: Event) -> None:
        throttled = isinstance(refusal, Throttled)
        self._refusals.note(
            Event.THROTTLED if throttled else refused,
            reason="PASSWORD" if throttled else refusal.reason_name(),
            app_id=session.app_id,
            openid=session.openid,
        )
