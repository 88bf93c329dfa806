"""Fresh proof that the owner of a session asks: a new code, or the account's password.

For what cannot be taken back with a stolen SessionId alone: unbinding, leaving.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wxauth_server.accounts.throttle import Guess, succeeded
from wxauth_server.auth.exchange_code import CodeExchange, renew_session_key
from wxauth_server.auth.refusal_counts import RefusalCounts
from wxauth_server.auth.validate_session import LiveSession
from wxauth_server.auth.verify_credentials import CredentialVerifier
from wxauth_server.deadline import Deadline
from wxauth_server.errors import AuthError, CredentialsInvalid, ProofInvalid, Throttled
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.exchanges import ExchangeRecord
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import SessionRecord


@dataclass(frozen=True)
class Proof:
    """That the owner asks: a fresh code or the account's password, exactly one of them."""

    code: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Proven:
    """What came of a proof. `settle` says so in the transaction of what was asked for."""

    holds: bool
    #: The event that says if it does not hold.
    refused: Event
    #: Whose the code was.
    person: ExchangeRecord | None = None
    #: The attempt with a password, to be ended.
    guess: Guess | None = None


class OwnerProof:
    """Checks proofs. Each step waits in the pool of its kind of work."""

    def __init__(
        self, *, exchange: CodeExchange, verifier: CredentialVerifier, refusals: RefusalCounts
    ) -> None:
        self._exchange = exchange
        self._verifier = verifier
        self._refusals = refusals

    async def prove(
        self, live: LiveSession, proof: Proof, refused: Event, deadline: Deadline
    ) -> Proven:
        """Whether the proof is the owner's; `refused` is the event that says if it is not.

        Raises: what CodeExchange.ask and CredentialVerifier.verify_owner raise, but
        for CredentialsInvalid. It is counted then.
        """
        session = live.record
        try:
            if proof.code:
                person = await self._exchange.ask(live.app, proof.code, deadline)
                return Proven(person.openid == session.openid, refused, person=person)
            return await self._try_password(session, proof.password, refused, deadline)
        except AuthError as refusal:
            throttled = isinstance(refusal, Throttled)
            self._refusals.note(
                Event.THROTTLED if throttled else refused,
                reason="PASSWORD" if throttled else refusal.reason_name(),
                app_id=session.app_id,
                openid=session.openid,
            )
            raise

    async def _try_password(
        self, session: SessionRecord, password: str, refused: Event, deadline: Deadline
    ) -> Proven:
        guess = self._verifier.guess_of_owner(session)
        try:
            with self._verifier.admitted(session.account_source):
                await self._verifier.verify_owner(guess, session, password, deadline)
        except CredentialsInvalid:
            return Proven(False, refused, guess=guess)
        return Proven(True, refused, guess=guess)

    async def drop(self, proven: Proven) -> None:
        """End what `prove` began, where no transaction could."""
        if proven.guess is not None:
            await self._verifier.give_up(proven.guess)

    def settle(
        self, tx: Transaction, proven: Proven, live: LiveSession, *, now_ms: int
    ) -> ProofInvalid | None:
        """End the attempt, and record it if the proof does not hold.

        None if it does; else what to answer once this is committed.
        """
        if proven.holds:
            if proven.guess is not None:
                succeeded(tx, proven.guess)
            return None
        session = live.record
        record_event(
            tx,
            proven.refused,
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
