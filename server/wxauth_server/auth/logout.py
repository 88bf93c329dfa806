"""Ends one session at its owner's wish."""

from __future__ import annotations

from wxauth_server.auth.validate_session import SessionValidator
from wxauth_server.clock import Clock
from wxauth_server.errors import SessionRevoked
from wxauth_server.pools import BoundedPool
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.sessions import Cause, SessionRecord, end_session, read_session


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
        session = await self._validator.validate(session_id)
        now_ms = self._clock.now_ms()
        cause = await self._writer_pool.run(
            self._store.write, lambda tx: _log_out(tx, session.record, now_ms)
        )
        if cause is not None:
            raise SessionRevoked(cause)


def _log_out(tx: Transaction, session: SessionRecord, now_ms: int) -> str | None:
    """End the session; the cause for which somebody else ended it first, or None."""
    if not end_session(tx, session.digest, Cause.LOGOUT, now_ms=now_ms):
        ended = read_session(tx, session.digest)
        return ended.ended_cause if ended else None
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
