"""Who takes part in a world of session caches: a database, servers that read it, a client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wxauth_client import lease
from wxauth_client.revocations import LogPart, Revocation
from wxauth_client.session_cache import SessionCache

if TYPE_CHECKING:
    from tests.unit.session_cache_world import World

APPS = ("wxa", "wxb")
REUSE_S = 300.0
READ_EVERY_S = 0.2


@dataclass
class Session:
    """A session as the database has it, in true time."""

    digest: bytes
    app_id: str
    login_at_ms: int
    end_s: float
    #: When it was committed that it is revoked.
    revoked_s: float | None = None

    def is_live(self, now_s: float) -> bool:
        return self.revoked_s is None and now_s < self.end_s


@dataclass
class Database:
    """Its log is in the order of the commits."""

    name: int
    log: list[Revocation] = field(default_factory=list)

    def token(self, position: int) -> bytes:
        return b"%d:%d" % (self.name, position)


class Machine:
    """Something with a clock; a wall clock may also jump."""

    def __init__(
        self, world: World, began_s: float, rate: float, cache: SessionCache[Session]
    ) -> None:
        self.world = world
        self.cache = cache
        self._began_s, self._rate = began_s, rate
        self.wall_offset_s = 0.0

    def clock_s(self) -> float:
        return self._began_s + self.world.now_s * self._rate

    def wall_ms(self) -> int:
        return int((1_000_000 + self.world.now_s + self.wall_offset_s) * 1000)


class Stream:
    """A client's call for the log, at a server since `received_s` of its clock."""

    def __init__(self, call: lease.StreamCall, token: bytes | None) -> None:
        self.call = call
        self.token = token
        self.received_s = 0.0
        self.delivered_s = 0.0


class Server(Machine):
    """Reads the log, answers from its cache or from the database, and tells one client."""

    def __init__(
        self, world: World, began_s: float, rate: float, cache: SessionCache[Session]
    ) -> None:
        super().__init__(world, began_s, rate, cache)
        self.next_read_takes_s = 0.0
        self._at: tuple[Database, int] | None = None
        self._as_of_s = 0.0
        self.stream: Stream | None = None
        self._begin_read()

    def accept(self, stream: Stream) -> None:
        stream.received_s = self.clock_s()
        self.stream = stream
        self._tell()

    def answer(self, session: Session, slow_s: float, then: Callable[[float | None], None]) -> None:
        """Calls `then` with the reuse_for of a yes, or None; both reads take `slow_s` at most."""
        asked_s = self.clock_s()
        if self.cache.look_up(session.digest, asked_s) is not None:
            then(self._reuse_for_s(session))
            return

        def read() -> None:
            live = session.is_live(self.world.now_s)
            self.world.after(slow_s / 2, lambda: done(live))

        def done(live: bool) -> None:
            reuse_for_s = self._reuse_for_s(session) if live else None
            if reuse_for_s is not None:
                self.world.store(self.cache, session, asked_s, reuse_for_s, self.clock_s())
            then(reuse_for_s)

        self.world.after(slow_s / 2, read)

    def _reuse_for_s(self, session: Session) -> float | None:
        left_s = min(REUSE_S, session.end_s - self.world.now_s)
        return left_s if left_s > 0 else None

    def _begin_read(self) -> None:
        as_of_s = self.clock_s()
        slow_s, self.next_read_takes_s = self.next_read_takes_s, 0.0

        def read() -> None:
            database = self.world.database
            position = len(database.log)
            self.world.after(slow_s / 2, lambda: self._has_read(database, position, as_of_s))

        if slow_s:
            self.world.after(slow_s / 2, read)
        else:
            self._has_read(self.world.database, len(self.world.database.log), as_of_s)
        self.world.after(max(READ_EVERY_S, slow_s + 0.001), self._begin_read)

    def _has_read(self, database: Database, position: int, as_of_s: float) -> None:
        now_s = self.clock_s()
        if self._at is None or self._at[0] is not database:
            self.cache.reset(database.token(position), now_s)
            revocations: list[Revocation] = []
        else:
            revocations = database.log[self._at[1] : position]
        self._at, self._as_of_s = (database, position), as_of_s
        assert self.cache.token is not None
        part = LogPart(self.cache.token, database.token(position), revocations, as_of_s)
        assert self.cache.apply(part, now_s)
        self._tell()

    def _tell(self) -> None:
        stream = self.stream
        if stream is None or self._at is None:
            return
        database, position = self._at
        after_s = self._as_of_s - stream.received_s
        at, reset = stream.token, False
        if at is None or not at.startswith(b"%d:" % database.name):
            reset = True
        elif int(at.split(b":")[1]) > position:
            reset = True  # another server has read more than this one
        if at is None or reset:
            stream.token = at = database.token(position)
        known = int(at.split(b":")[1])
        stream.token = database.token(position)
        part = LogPart(at, stream.token, database.log[known:position])
        self.world.deliver(stream, part, after_s, reset)


class Client(Machine):
    """A process with a cache, a stream to one server, and calls to both."""

    def __init__(
        self, world: World, began_s: float, rate: float, cache: SessionCache[Session]
    ) -> None:
        super().__init__(world, began_s, rate, cache)
        self.stopped_until_s = 0.0
        self.opened = 0

    def open(self, server: Server, token: bytes | None) -> None:
        for other in self.world.servers:
            other.stream = None
        self.opened += 1
        opened = self.opened
        stream = Stream(lease.StreamCall(self.clock_s()), token)

        def again() -> None:
            if self.opened == opened:
                self.open(server, self.cache.token)

        self.world.after(0.005, lambda: server.accept(stream) if self.opened == opened else None)
        self.world.at_client(lease.REOPEN_AFTER_S, again)

    def hear(self, stream: Stream, part: LogPart, after_s: float, reset: bool) -> None:
        now_s = self.clock_s()
        if reset:
            self.cache.reset(part.follows, now_s)
        as_of_s = stream.call.as_of(after_s, now_s)
        if not self.cache.apply(part._replace(as_of_s=as_of_s), now_s):
            self.open(self.world.servers[self.opened % 2], self.cache.token)

    def ask(self, server: Server, session: Session, there_s: float, back_s: float) -> None:
        """A validation: from memory, else from a server."""
        asked_s = self.clock_s()
        if self.cache.look_up(session.digest, asked_s) is not None:
            return

        def answered(reuse_for_s: float | None) -> None:
            if reuse_for_s is not None:
                self.world.at_client(back_s, lambda: kept(reuse_for_s))

        def kept(reuse_for_s: float) -> None:
            self.world.store(self.cache, session, asked_s, reuse_for_s, self.clock_s())

        self.world.after(there_s, lambda: server.answer(session, there_s, answered))
