"""A world for session caches: a database, two servers, a client, and time.

Every event happens at a true time that nobody in the world can read: each machine
has a clock of its own, which begins anywhere and goes up to 500 ppm wrong. What the
world promises is checked against the true times: `stale_answer`.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from tests.unit.session_cache_machines import APPS, Client, Database, Server, Session, Stream
from wxauth_client import lease
from wxauth_client.revocations import LogPart, Revocation
from wxauth_client.session_cache import SessionCache

CHECK_EVERY_S = 0.1
#: For what counts 300 s on a clock that goes 500 ppm wrong.
CLOCK_SLACK_S = 0.2


class StaleAnswer(AssertionError):
    """A yes that must not have been."""


class World:
    """Everything there is, and what happens to it next."""

    reuse_from_the_end = False

    def __init__(
        self,
        client_cache: type[SessionCache[Session]] = SessionCache,
        *,
        client_lag_s: float = lease.SERVER_LAG_S,
    ) -> None:
        self.now_s = 0.0
        self.hits = 0
        self._checked_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.database = Database(0)
        self.sessions: list[Session] = []
        self._revoked_until_ms = dict.fromkeys(("", *APPS), -1)
        self.stream_delay_s = 0.01
        self.next_message = ""
        self.servers = [
            Server(
                self,
                began_s,
                rate,
                SessionCache(lease_s=lease.SERVER_LEASE_S, authority_lag_s=0.0, max_sessions=100),
            )
            for began_s, rate in ((5_000.0, 1.0005), (70.0, 0.9995))
        ]
        cache = client_cache(
            lease_s=lease.CLIENT_LEASE_S, authority_lag_s=client_lag_s, max_sessions=100
        )
        self.client = Client(self, 300_000.0, 0.9995, cache)
        self.client.open(self.servers[0], None)
        for _ in range(3):
            self.log_in(self.servers[0])
        self.let_pass(0.05)

    def after(self, delay_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_s + delay_s, next(self._order), event))

    def at_client(self, delay_s: float, event: Callable[[], None]) -> None:
        """Something that happens in the client's process, or when it runs again."""

        def happens() -> None:
            left_s = self.client.stopped_until_s - self.now_s
            if left_s > 0:
                self.after(left_s, happens)
            else:
                event()

        self.after(delay_s, happens)

    def let_pass(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, event = heapq.heappop(self._events)
            event()
            if self.now_s >= self._checked_s + CHECK_EVERY_S:
                self.check()
        self.now_s = until_s
        self.check()

    def log_in(self, server: Server, lives_s: float = 10_000.0) -> Session:
        app_id = APPS[len(self.sessions) % 2]
        digest = b"%d" % next(self._order)
        session = Session(digest, app_id, server.wall_ms(), self.now_s + lives_s)
        if session.login_at_ms <= max(self._revoked_until_ms[""], self._revoked_until_ms[app_id]):
            session.revoked_s = self.now_s  # it began before all were revoked, by the clocks
        self.sessions.append(session)
        return session

    def revoke(self, server: Server, revocation: Revocation) -> None:
        """At a server, which knows of it itself at once."""
        self.database.log.append(revocation)
        digest, app_id, login_by_ms = revocation
        if digest is None:
            until_ms = max(self._revoked_until_ms[app_id], login_by_ms)
            self._revoked_until_ms[app_id] = until_ms
        for session in self.sessions:
            if session.revoked_s is None and (
                session.digest == digest
                if digest is not None
                else app_id in ("", session.app_id) and session.login_at_ms <= login_by_ms
            ):
                session.revoked_s = self.now_s
        server.cache.revoke([revocation], server.clock_s())

    def move_database(self) -> None:
        """Everything is in a copy, whose log begins anew."""
        self.database = Database(self.database.name + 1)

    def deliver(self, stream: Stream, part: LogPart, after_s: float, reset: bool) -> None:
        fate, self.next_message = self.next_message, ""
        due_s = self.now_s + self.stream_delay_s
        if fate != "late":
            due_s = stream.delivered_s = max(due_s, stream.delivered_s)
        else:
            due_s += 0.7
        for _ in range({"lost": 0, "twice": 2}.get(fate, 1)):
            self.at_client(
                due_s - self.now_s, lambda: self.client.hear(stream, part, after_s, reset)
            )

    def store(
        self,
        cache: SessionCache[Session],
        session: Session,
        began_s: float,
        reuse_for_s: float,
        ended_s: float,
    ) -> None:
        if self.reuse_from_the_end:
            reuse_for_s += ended_s - began_s
        cache.store(
            lease.Fill(began_s),
            session.digest,
            session,
            app_id=session.app_id,
            login_at_ms=session.login_at_ms,
            reuse_for_s=reuse_for_s,
        )

    def check(self) -> None:
        """Nobody answers from memory for a session that was revoked over a second ago."""
        self._checked_s = self.now_s
        for machine in (*self.servers, self.client):
            now_s = machine.clock_s()
            for session in self.sessions[-6:]:
                if machine.cache.look_up(session.digest, now_s) is None:
                    continue
                self.hits += session.is_live(self.now_s)
                if session.revoked_s is not None and self.now_s > session.revoked_s + 1.0:
                    raise StaleAnswer(f"{self.now_s - session.revoked_s:.3f} s after the commit")
                if self.now_s > session.end_s + CLOCK_SLACK_S:
                    raise StaleAnswer(f"{self.now_s - session.end_s:.3f} s after its end")
