"""A user's own sessions: which there are, and the end of one of them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from wxauth_server.auth.validate_session import LiveSession, SessionValidator, was_live
from wxauth_server.clock import Clock
from wxauth_server.errors import RequestInvalid, SessionExpired, SessionRevoked
from wxauth_server.pools import Pools
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.ended_sessions import end_session
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.own_sessions import find_session_by_handle, list_own_sessions
from wxauth_server.store.session_keys import erase_session_key_without_session
from wxauth_server.store.sessions import Cause, read_session

#: As the contract has it.
MOST_LISTED = 100
#: Bits of a network: some hundred users of a provider, or one customer's neighbourhood.
_IPV4_PREFIX = 24
_IPV6_PREFIX = 48


@dataclass(frozen=True)
class OwnSession:
    """A live session as its owner recognises it. Times in milliseconds since 1970."""

    handle: str
    #: It is the one that asked.
    current: bool
    device: str
    user_agent: str
    network: str
    login_ms: int
    last_seen_ms: int
    idle_end_ms: int
    absolute_end_ms: int


class OwnSessions:
    """Lists and ends the sessions of an account in an app, for whoever has one of them."""

    def __init__(
        self, *, validator: SessionValidator, store: Store, clock: Clock, pools: Pools
    ) -> None:
        self._validator = validator
        self._store = store
        self._clock = clock
        self._pools = pools

    async def list_live(self, session_id: str) -> list[OwnSession]:
        """The live sessions, newest login first, MOST_LISTED at most.

        Raises: what AuthService.ListSessions lists in the contract.
        """
        live = await self._validator.validate(session_id)
        session, limits = live.record, live.app.limits
        now_ms = self._clock.now_ms()
        found = await self._pools.readers.run(
            self._store.read,
            lambda tx: list_own_sessions(
                tx,
                session.app_id,
                session.account,
                idle_ms=limits.idle_ms,
                absolute_ms=limits.absolute_ms,
                now_ms=now_ms,
                limit=MOST_LISTED,
            ),
        )
        return [
            OwnSession(
                handle=own.handle,
                current=own.digest == session.digest,
                device=own.client_device or "",
                user_agent=own.client_user_agent or "",
                network=neighbourhood_of(own.client_address or ""),
                login_ms=own.login_at,
                last_seen_ms=own.last_seen_at,
                idle_end_ms=own.last_seen_at + limits.idle_ms,
                absolute_end_ms=own.login_at + limits.absolute_ms,
            )
            for own in found
        ]

    async def revoke(self, session_id: str, handle: str) -> None:
        """End the session with this handle; nothing if it has ended.

        Raises: what AuthService.RevokeSession lists in the contract.
        """
        live = await self._validator.validate(session_id)
        now_ms = self._clock.now_ms()
        refusal = await self._pools.writer.run(
            self._store.write, lambda tx: _revoke(tx, live, handle, now_ms)
        )
        if refusal is not None:
            raise refusal


def neighbourhood_of(address: str) -> str:
    """The network of an IP address, as "203.0.113.0/24"; empty for what is no address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip
    prefix = _IPV4_PREFIX if ip.version == 4 else _IPV6_PREFIX
    return str(ipaddress.ip_network((int(ip), prefix), strict=False))


def _revoke(
    tx: Transaction, live: LiveSession, handle: str, now_ms: int
) -> RequestInvalid | SessionRevoked | SessionExpired | None:
    asking, limits = live.record, live.app.limits
    current = read_session(tx, asking.digest)
    if current is None:  # purged: it was live a moment ago, but the clock has gone on
        return SessionExpired("absolute")
    if current.ended_cause is not None:  # somebody else was first
        return SessionRevoked(current.ended_cause)
    session = find_session_by_handle(tx, handle)
    if session is None or (session.app_id, session.account) != (asking.app_id, asking.account):
        return RequestInvalid(
            ("session_handle", "this account has no session with this handle here")
        )
    if not was_live(session, limits, now_ms) or not end_session(
        tx, session.digest, Cause.LOGOUT, now_ms=now_ms
    ):
        return None
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
        Event.SESSION_REVOKED,
        now_ms=now_ms,
        app_id=session.app_id,
        openid=session.openid,
        account=session.account,
        session_handle=session.handle,
    )
    return None
