"""The cache of live sessions: answers from memory, and never a second too late. No I/O, no clock.

The same class answers in a server, which fills it from its store, and in a client,
which fills it from a server. Why no answer is older than a second is proved in
docs/decisions/0015; the constants are in lease.py.

Only a yes is kept. A session that is dead, or was never issued, is asked about each
time: what is kept for invented SessionIds is memory that anybody fills, an expired
session may yet turn out to have been used elsewhere, and whoever hears no logs in
again and does not ask a second time.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from wxauth_client.lease import Fill
from wxauth_client.revocations import LogPart, RecentlyRevoked, Revocation

V = TypeVar("V")

#: How long a revocation is remembered, for answers that are under way: more than a
#: call takes. A slower answer may have missed one that is forgotten.
REMEMBER_S = 10.0
#: Most single revocations that are remembered, about 200 bytes each. Beyond it, which
#: takes 10,000 a second, the oldest are forgotten sooner, and only faster answers kept.
MOST_REMEMBERED = 100_000

_NOBODY_MS = -1
_EVERYBODY_MS = 1 << 62
# So that a store takes as long with a million sessions as with one. Each adds one
# session, so two of these steps would do to remain within the limit.
_MOST_STEPS = 8


class _App:
    """What is known of all sessions of an app."""

    __slots__ = ("login_by_ms",)

    def __init__(self, login_by_ms: int) -> None:
        #: Those that began then or before are not answered for.
        self.login_by_ms = login_by_ms


class _Session(Generic[V]):
    """A yes, with what may end it."""

    __slots__ = ("app", "digest", "login_at_ms", "reuse_until_s", "used", "value")

    def __init__(
        self, digest: bytes, value: V, app: _App, login_at_ms: int, reuse_until_s: float
    ) -> None:
        self.digest = digest
        self.value = value
        self.app = app
        self.login_at_ms = login_at_ms
        self.reuse_until_s = reuse_until_s
        #: Whether it was looked up since it was last spared from eviction.
        self.used = False


class SessionCache(Generic[V]):
    """Live sessions by the SHA-256 of their SessionIds, each with a value of the caller's.

    Times are seconds of one clock that goes on while the machine sleeps
    (CLOCK_BOOTTIME), read by the caller: before the call where it is the time of a
    question, after the receipt where it is that of a message. Any thread may call
    anything; look-ups take no lock.

    `authority_lag_s` is how much older than the question an answer may be: nothing if
    the authority is the database, lease.SERVER_LAG_S if it is a server.
    """

    def __init__(self, *, lease_s: float, authority_lag_s: float, max_sessions: int) -> None:
        if max_sessions < 1:
            raise ValueError("a cache has room for one session at least")
        self._lease_s = lease_s
        self._authority_lag_s = authority_lag_s
        self._max_sessions = max_sessions
        self._lock = threading.Lock()
        self._lease_end_s = -math.inf
        self._token: bytes | None = None
        self._sessions: dict[bytes, _Session[V]] = {}
        # All of them in the order of eviction; also those that were revoked, until their
        # turn comes.
        self._order: deque[_Session[V]] = deque()
        self._apps: dict[str, _App] = {}
        self._all_login_by_ms = _NOBODY_MS
        self._revoked = RecentlyRevoked(for_s=REMEMBER_S, most=MOST_REMEMBERED)

    def __len__(self) -> int:
        """How many sessions it holds, those included that it no longer answers for."""
        return len(self._sessions)

    @property
    def token(self) -> bytes | None:
        """The place in the log up to which it knows all; None before the first `reset`."""
        return self._token

    @property
    def lease_end_s(self) -> float:
        """From then on it answers for nobody, until `apply` extends it."""
        return self._lease_end_s

    def look_up(self, digest: bytes, now_s: float) -> V | None:
        """What was stored with this session; None if the authority has to be asked."""
        # The lease first. It is extended after everything else has been applied, so
        # what is read after it is at least as new, without a lock: the interpreter's
        # keeps the order of one thread's steps for all the others.
        if now_s >= self._lease_end_s:
            return None
        session = self._sessions.get(digest)
        if (
            session is None
            or now_s >= session.reuse_until_s
            or session.login_at_ms <= session.app.login_by_ms
        ):
            return None
        session.used = True
        return session.value

    def store(
        self,
        fill: Fill,
        digest: bytes,
        value: V,
        *,
        app_id: str,
        login_at_ms: int,
        reuse_for_s: float,
    ) -> bool:
        """Keep a yes that the authority gave; False if it must not be.

        It must not be if the session was revoked since, as far as this cache knows, or
        if the question is so old that what was revoked since has been forgotten.
        `reuse_for_s` counts from the beginning of the fill.
        """
        with self._lock:
            if fill.began_s - self._authority_lag_s <= self._revoked.complete_since_s:
                return False
            app = self._app(app_id)
            if digest in self._revoked or login_at_ms <= app.login_by_ms or reuse_for_s <= 0:
                return False
            reuse_until_s = fill.began_s + reuse_for_s
            session = self._sessions.get(digest)
            if session is None:
                session = _Session(digest, value, app, login_at_ms, reuse_until_s)
                self._sessions[digest] = session
                self._order.append(session)
            else:
                # In place: one that is asked about all the time, because the lease is
                # over, does not push out the others. The app last: a look-up at the same
                # time finds what a reset has ended, or all of the new.
                session.used = True
                session.value = value
                session.login_at_ms = login_at_ms
                session.reuse_until_s = reuse_until_s
                session.app = app
            self._evict(fill.began_s)
            return True

    def apply(self, part: LogPart, now_s: float) -> bool:
        """Go on in the log, received at `now_s`; False if this is not what comes next.

        Then nothing has changed, and the log has to be asked for from `token` on: a
        part was lost, came twice or too late, or is of another database.
        """
        with self._lock:
            if part.follows != self._token:
                return False
            self._revoke(part.revocations, now_s)
            self._token = part.token
            if part.as_of_s is not None:
                # What is known at its receipt was so before it.
                as_of_s = min(part.as_of_s, now_s)
                self._lease_end_s = max(self._lease_end_s, as_of_s + self._lease_s)
            return True

    def revoke(self, revocations: Iterable[Revocation], now_s: float) -> None:
        """Stop answering for these now, before the log tells of them.

        For what the process itself has committed, or tried to.
        """
        with self._lock:
            self._revoke(revocations, now_s)

    def reset(self, token: bytes, now_s: float) -> None:
        """Forget everything and begin at a place in the log.

        `now_s` is after whoever named the place had read up to it. What was revoked
        before is never told, so no answer is kept that may be older than that. The
        lease begins with the next `apply`.
        """
        with self._lock:
            self._lease_end_s = -math.inf
            # Nobody's sessions are answered for; they go when their turn to be evicted
            # comes: to free a million at once would stop the process for a while.
            for app in self._apps.values():
                app.login_by_ms = _EVERYBODY_MS
            self._apps = {}
            self._all_login_by_ms = _NOBODY_MS
            self._revoked.begin(now_s)
            self._token = token

    def _app(self, app_id: str) -> _App:
        app = self._apps.get(app_id)
        if app is None:
            app = self._apps[app_id] = _App(self._all_login_by_ms)
        return app

    def _revoke(self, revocations: Iterable[Revocation], now_s: float) -> None:
        self._revoked.forget_old(now_s)
        for digest, app_id, login_by_ms in revocations:
            if digest is not None:
                self._revoked.add(digest, now_s)
                self._sessions.pop(digest, None)
                continue
            if app_id:
                apps = [self._app(app_id)]
            else:
                self._all_login_by_ms = max(self._all_login_by_ms, login_by_ms)
                apps = list(self._apps.values())
            for app in apps:
                app.login_by_ms = max(app.login_by_ms, login_by_ms)

    def _evict(self, now_s: float) -> None:
        """Drop what is dead, and beyond the limit the longest stored; used ones at second turn."""
        for step in range(min(len(self._order), _MOST_STEPS)):
            session = self._order[0]
            dead = (
                now_s >= session.reuse_until_s
                or session.login_at_ms <= session.app.login_by_ms
                or self._sessions.get(session.digest) is not session
            )
            if not dead and len(self._order) <= self._max_sessions:
                return
            self._order.popleft()
            if dead or not session.used or step >= _MOST_STEPS - 2:
                if self._sessions.get(session.digest) is session:
                    del self._sessions[session.digest]
            else:
                session.used = False
                self._order.append(session)
