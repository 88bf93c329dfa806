"""Ends a binding and the sessions it gave, on fresh proof by the session's owner."""

from __future__ import annotations

from dataclasses import dataclass, field

from wxauth_server.auth.exchange_code import CodeExchange, renew_session_key
from wxauth_server.auth.validate_session import LiveSession, SessionValidator
from wxauth_server.auth.verify_credentials import CredentialVerifier
from wxauth_server.clock import Clock
from wxauth_server.deadline import Deadline
from wxauth_server.errors import CredentialsInvalid, Overloaded, ProofInvalid, SessionRevoked
from wxauth_server.pools import Pools
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.bindings import delete_binding, forbid_sibling_login, lock_binding
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.sessions import (
    Cause,
    SessionRecord,
    end_sessions_of_wechat_user,
    read_session,
)


@dataclass(frozen=True)
class Proof:
    """That the owner asks: a fresh code or the account's password, exactly one of them."""

    code: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class UnbindResult:
    """What was unbound."""

    session: SessionRecord
    sessions_ended: int


class UnbindFlow:
    """Unbinds."""

    def __init__(
        self,
        *,
        validator: SessionValidator,
        exchange: CodeExchange,
        verifier: CredentialVerifier,
        store: Store,
        clock: Clock,
        pools: Pools,
    ) -> None:
        self._validator = validator
        self._exchange = exchange
        self._verifier = verifier
        self._store = store
        self._clock = clock
        self._pools = pools

    async def unbind(self, session_id: str, proof: Proof, deadline: Deadline) -> UnbindResult:
        """Check the session, then the proof, then end binding and sessions in one step.

        Raises: what AuthService.Unbind lists in the contract.
        """
        live = await self._validator.validate(session_id)
        person = None
        if proof.code:
            person = await self._exchange.ask(live.app, proof.code, deadline)
            proven = person.openid == live.record.openid
        else:
            proven = await self._is_password(live, proof.password)
        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> UnbindResult | SessionRevoked | ProofInvalid:
            if not proven:
                _record(tx, Event.UNBIND_REFUSED, live.record, now_ms)
                if person is not None:
                    renew_session_key(tx, person)
                return ProofInvalid()
            return _unbind(tx, live, now_ms)

        outcome = await self._pools.writer.run(self._store.write, transaction)
        if isinstance(outcome, UnbindResult):
            return outcome
        raise outcome

    async def _is_password(self, live: LiveSession, password: str) -> bool:
        if self._pools.passwords.full:
            raise Overloaded
        try:
            await self._pools.passwords.run(
                self._verifier.verify_owner, live.record.account, password
            )
        except CredentialsInvalid:
            return False
        return True


def _unbind(tx: Transaction, live: LiveSession, now_ms: int) -> UnbindResult | SessionRevoked:
    session = live.record
    # The lock keeps a login of the same WeChat user from starting a session
    # between the end of the others and the end of the binding.
    bound = lock_binding(tx, session.app_id, session.openid, session.account)
    current = read_session(tx, session.digest)
    if bound is None or current is None or current.ended_cause is not None:
        # Somebody else was first: the proof was for a session that is no more.
        cause = current.ended_cause if current else None
        return SessionRevoked(cause or Cause.UNBOUND)
    ended = end_sessions_of_wechat_user(
        tx, session.app_id, session.openid, Cause.UNBOUND, now_ms=now_ms
    )
    # The session_key goes with the binding.
    delete_binding(tx, session.app_id, session.openid)
    # Else the next silent login would bind again through a sibling app.
    forbid_sibling_login(tx, session.app_id, session.openid)
    _record(tx, Event.UNBOUND, session, now_ms)
    limits = live.app.limits
    return UnbindResult(
        session,
        sum(
            each.last_seen_at + limits.idle_ms > now_ms
            and each.login_at + limits.absolute_ms > now_ms
            for each in ended
        ),
    )


def _record(tx: Transaction, event: Event, session: SessionRecord, now_ms: int) -> None:
    record_event(
        tx,
        event,
        now_ms=now_ms,
        app_id=session.app_id,
        openid=session.openid,
        account=session.account,
        session_handle=session.handle,
    )
