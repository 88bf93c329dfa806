"""Step 7: answers about live sessions that are kept in memory (docs/decisions/0016).

The rules of what is kept and for how long are those of `SessionCache`, proved in
docs/decisions/0015. Here is what they are about in a server: what the store said of
live sessions, and what its revocation log says since.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from wxauth_client.boot_clock import boot_time_s
from wxauth_client.lease import SERVER_LEASE_S, Fill
from wxauth_client.revocations import LogPart
from wxauth_client.session_cache import SessionCache
from wxauth_server.auth.validate_session import LiveSession, check_live
from wxauth_server.clock import Clock
from wxauth_server.revocations.remembered_log import Follower
from wxauth_server.revocations.telling_store import as_told
from wxauth_server.store.revocation_log import LogPosition


class Answer(NamedTuple):
    """What is kept of a live session."""

    app_id: str
    #: From then on the store is asked: the session is due to be seen, or near its end.
    #: Milliseconds since 1970.
    until_ms: int
    #: The serialized message.
    message: bytes


def answer_cache(max_sessions: int, *, lease_s: float = SERVER_LEASE_S) -> SessionCache[Answer]:
    """An empty cache for answers of the store itself."""
    return SessionCache(lease_s=lease_s, authority_lag_s=0.0, max_sessions=max_sessions)


class RememberedAnswers:
    """Answers for as long as the revocation log is read. For one event loop.

    It never says that a session is dead, nor when it ends: where the store might, the
    store is asked.
    """

    def __init__(
        self,
        cache: SessionCache[Answer],
        follower: Follower,
        clock: Clock,
        serialize: Callable[[LiveSession], bytes],
    ) -> None:
        self._cache = cache
        self._follower = follower
        self._clock = clock
        self._serialize = serialize
        self._as_of_s: float | None = None

    def recall(self, digest: bytes, app_id: str) -> bytes | None:
        """The message about a session, of `app_id` if one is named; None: ask the store."""
        now_s = boot_time_s()
        # No task applies what the log says: it is applied before whatever it may change.
        if self._follower.as_of_s != self._as_of_s:
            self._catch_up()
        answer = self._cache.look_up(digest, now_s)
        if (
            answer is None
            or self._clock.now_ms() >= answer.until_ms
            or (app_id and app_id != answer.app_id)
        ):
            return None
        return answer.message

    def keep(self, fill: Fill, live: LiveSession, message: bytes) -> bool:
        """Keep the message about a session that the store said is live.

        False if it must not be, as the session was revoked since.
        """
        limits = live.app.limits
        now_ms = self._clock.now_ms()
        if now_ms - live.record.last_seen_at >= limits.touch_after_ms:
            # It was noted as seen, and will be written. Asked again before that, or in
            # vain because it cannot be, the store would say what it says now.
            seen = live.record._replace(last_seen_at=now_ms)
            live = check_live(seen, live.app, now_ms)
            message = self._serialize(live)
        # Until then `reuse_for` is the same.
        steady_ms = min(live.idle_end_ms, live.absolute_end_ms) - limits.touch_after_ms
        until_ms = min(steady_ms, live.record.last_seen_at + limits.touch_after_ms)
        return self._cache.store(
            fill,
            live.record.digest,
            Answer(live.app.app_id, until_ms, message),
            app_id=live.app.app_id,
            login_at_ms=live.record.login_at,
            reuse_for_s=min(limits.touch_after_ms, until_ms - now_ms) / 1000,
        )

    def _catch_up(self) -> None:
        update = self._follower.take()
        if update is None:
            return
        now_s = boot_time_s()
        token = _token(update.end)
        if update.reset or self._cache.token is None:
            self._cache.reset(token, now_s)
        revocations = [as_told(entry) for entry in update.entries]
        part = LogPart(self._cache.token or token, token, revocations, update.as_of_s)
        self._cache.apply(part, now_s)
        self._as_of_s = update.as_of_s


def _token(position: LogPosition) -> bytes:
    return f"{position.database_id} {position.position}".encode()
