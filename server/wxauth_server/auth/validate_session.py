"""Step 7: whose session is this, and until when?"""

from __future__ import annotations

from typing import NamedTuple

from wxauth_server.apps import App, Apps, SessionLimits
from wxauth_server.auth.last_seen import LastSeen
from wxauth_server.clock import Clock
from wxauth_server.errors import SessionExpired, SessionInvalid, SessionRevoked
from wxauth_server.session_id import session_digest
from wxauth_server.store.sessions import SessionRecord
from wxauth_server.store.shared_reads import SharedReads


class LiveSession(NamedTuple):
    """A session that is live now. Times in milliseconds since 1970, durations in them."""

    record: SessionRecord
    app: App
    idle_end_ms: int
    absolute_end_ms: int
    reuse_for_ms: int


class SessionValidator:
    """Answers for live sessions; a dead one is an error that says why it is dead."""

    def __init__(
        self, *, apps: Apps, reads: SharedReads, last_seen: LastSeen, clock: Clock
    ) -> None:
        self.reads = reads
        self._apps = apps
        self._last_seen = last_seen
        self._clock = clock

    async def validate(self, session_id: str, app_id: str = "") -> LiveSession:
        """The session of a SessionId, of `app_id` if one is named.

        Raises: SessionInvalid, SessionExpired, SessionRevoked, StoreUnavailable,
        Overloaded.
        """
        digest = session_digest(session_id)
        if digest is None:
            raise SessionInvalid
        return self.judge(digest, await self.reads.read(digest), app_id)

    def judge(self, digest: bytes, record: SessionRecord | None, app_id: str) -> LiveSession:
        """The session that was read for a digest, as `validate` answers it.

        Raises: SessionInvalid, SessionExpired, SessionRevoked.
        """
        if record is None or (app_id and record.app_id != app_id):
            raise SessionInvalid
        app = self._apps.get(record.app_id)
        if app is None:  # no longer configured
            raise SessionInvalid
        now_ms = self._clock.now_ms()
        live = check_live(record, app, now_ms)
        if now_ms - record.last_seen_at >= app.limits.touch_after_ms:
            self._last_seen.note(digest, seen_at_ms=now_ms, idle_ms=app.limits.idle_ms)
        return live


def check_live(record: SessionRecord, app: App, now_ms: int) -> LiveSession:
    """The session with its ends, if it is live at `now_ms`.

    Raises: SessionExpired, SessionRevoked.
    """
    limits = app.limits
    idle_end_ms = record.last_seen_at + limits.idle_ms
    absolute_end_ms = record.login_at + limits.absolute_ms
    end_ms = min(idle_end_ms, absolute_end_ms)
    if record.ended_at is not None and record.ended_at < end_ms:
        raise SessionRevoked(record.ended_cause or "")
    if record.ended_at is not None or now_ms >= end_ms:  # or the clock went back
        raise SessionExpired("idle" if idle_end_ms <= absolute_end_ms else "absolute")
    return LiveSession(
        record,
        app,
        idle_end_ms,
        absolute_end_ms,
        min(limits.touch_after_ms, end_ms - now_ms),
    )


def was_live(session: SessionRecord, limits: SessionLimits, now_ms: int) -> bool:
    """Whether a session that has just been ended was within its limits."""
    return (
        session.last_seen_at + limits.idle_ms > now_ms
        and session.login_at + limits.absolute_ms > now_ms
    )
