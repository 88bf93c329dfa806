"""Ends a binding and the sessions it gave, on fresh proof by the session's owner."""

from __future__ import annotations

from dataclasses import dataclass

from wxauth_server.auth.prove_owner import OwnerProof, Proof
from wxauth_server.auth.validate_session import LiveSession, SessionValidator, was_live
from wxauth_server.deadline import Deadline
from wxauth_server.errors import SessionRevoked
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.bindings import delete_binding, forbid_sibling_login, lock_binding
from wxauth_server.store.ended_sessions import end_sessions_of_wechat_user
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import Cause, SessionRecord, read_session


@dataclass(frozen=True)
class UnbindResult:
    """What was unbound."""

    session: SessionRecord
    sessions_ended: int


class UnbindFlow:
    """Unbinds."""

    def __init__(self, *, validator: SessionValidator, owner: OwnerProof) -> None:
        self._validator = validator
        self._owner = owner

    async def unbind(self, session_id: str, proof: Proof, deadline: Deadline) -> UnbindResult:
        """Check the session, then the proof, then end binding and sessions in one step.

        Raises: what AuthService.Unbind lists in the contract.
        """
        live = await self._validator.validate(session_id)
        return await self._owner.act(
            live,
            proof,
            Event.UNBIND_REFUSED,
            deadline,
            lambda tx, now_ms: _unbind(tx, live, now_ms),
        )


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
    record_event(
        tx,
        Event.UNBOUND,
        now_ms=now_ms,
        app_id=session.app_id,
        openid=session.openid,
        account=session.account,
        session_handle=session.handle,
    )
    return UnbindResult(session, sum(was_live(each, live.app.limits, now_ms) for each in ended))
