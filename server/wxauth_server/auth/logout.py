"""Ends one session at its owner's wish."""

from __future__ import annotations

from wxauth_server.auth.validate_session import LiveSession, SessionValidator
from wxauth_server.clock import Clock
from wxauth_server.errors import SessionRevoked
from wxauth_server.pools import BoundedPool
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.ended_sessions import end_session
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.session_keys import erase_session_key_without_session
from wxauth_server.store.sessions import Cause, read_session


class LogoutFlow:
    """Logs out."""

    def __init__(
        self, *, validator: SessionValidator, store: Store, clock: Clock, writer_pool: BoundedPool
    ) -> None:
        self._validator = validator
        self._store = store
        self._clock = clock
        self._writer_pool = writer_pool

    async def log_out(self, session_id: str) -> None:
        """End the session.

        Raises: what AuthService.Logout lists in the contract.
        """
        live = await self._validator.validate(session_id)
        now_ms = self._clock.now_ms()
        cause = await self._writer_pool.run(
            self._store.write, lambda tx: _log_out(tx, live, now_ms)
        )
        if cause is not None:
            raise SessionRevoked(cause)


def _log_out(tx: Transaction, live: LiveSession, now_ms: int) -> str | None:
    """End the session; the cause for which somebody else ended it first, or None."""
    session, limits = live.record, live.app.limits
    if not end_session(tx, session.digest, Cause.LOGOUT, now_ms=now_ms):
        ended = read_session(tx, session.digest)
        return ended.ended_cause if ended else None
    erase_session_key_without_session(
        tx,
        session.app_id,
        session.openid,
        idle_ms=limits.idle_ms,
        absolute_ms=limits.absolute_ms,
        now_ms=now_ms,
    )
    record_event(
        tx,
        Event.LOGOUT,
        now_ms=now_ms,
        app_id=session.app_id,
        openid=session.openid,
        account=session.account,
        session_handle=session.handle,
    )
    return None
