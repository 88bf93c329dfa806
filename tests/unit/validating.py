"""Validations over a real store, without their transport; what they read can be held."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.canary import CANARY
from tests.running_server import FakeClock
from wxauth.v1.auth_service_pb2 import ValidateSessionResponse
from wxauth_client.boot_clock import boot_time_s
from wxauth_server.apps import App, Apps, SessionLimits
from wxauth_server.auth.last_seen import LastSeen
from wxauth_server.auth.remembered_answers import RememberedAnswers, answer_cache
from wxauth_server.auth.validate_session import SessionValidator
from wxauth_server.auth.validate_sessions import Validations
from wxauth_server.pools import BoundedPool
from wxauth_server.revocations.log_reader import RevocationLogReader
from wxauth_server.revocations.telling_store import TellingStore
from wxauth_server.rpc.live_sessions import serialize_live_session
from wxauth_server.session_id import new_session_id, session_digest
from wxauth_server.store.accounts import insert_account
from wxauth_server.store.ended_sessions import end_session, end_some_sessions_of_app
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.sessions import Cause, SessionRecord, insert_session
from wxauth_server.store.shared_reads import SharedReads
from wxauth_server.store.sqlite import SQLiteStore

T = TypeVar("T")

APP, OTHER_APP = "wx1", "wx2"
MINUTE_MS = 60_000
#: An answer may be reused for 5 minutes.
IDLE_MS, ABSOLUTE_MS = 60 * MINUTE_MS, 240 * MINUTE_MS
LOGIN_MS = 1_790_000_000_000
#: One that no busy machine outlasts, where something else is tested.
LONG_LEASE_S = 30.0


class HeldStore(SQLiteStore):
    """Its reads are counted and can be held: those of the log, and those of sessions.

    A read of sessions has seen what it sees when it is held.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.log_goes, self.sessions_go = threading.Event(), threading.Event()
        self.let_go()
        self.reads: list[Sequence[bytes]] = []
        self.begun = threading.Semaphore(0)

    def let_go(self) -> None:
        self.log_goes.set()
        self.sessions_go.set()

    def hold(self) -> None:
        """What a frozen database does."""
        self.log_goes.clear()
        self.sessions_go.clear()

    def read(self, work: Callable[[Any], T]) -> T:
        assert self.log_goes.wait(20)
        return super().read(work)

    def read_sessions(self, digests: Sequence[bytes]) -> Mapping[bytes, SessionRecord]:
        self.reads.append(digests)
        found = super().read_sessions(digests)
        self.begun.release()
        assert self.sessions_go.wait(20)
        return found


class Validating:
    """A server process as far as it validates, and another one at the same file."""

    def __init__(self, engine: HeldStore, lease_s: float) -> None:
        cache = answer_cache(1_000, lease_s=lease_s)
        limits = SessionLimits(idle_ms=IDLE_MS, absolute_ms=ABSOLUTE_MS, most_live=10)
        apps = Apps(App(app_id, "secret", "local", limits) for app_id in (APP, OTHER_APP))
        self.engine = engine
        self.clock = FakeClock(LOGIN_MS)
        self.store: Store = TellingStore(engine, cache)
        self.other = SQLiteStore(engine.path.parent)
        self.reads = SharedReads(self.store)
        self.reader = RevocationLogReader(engine)
        self.pool = BoundedPool("writer", threads=1, capacity=64)
        self.last_seen = LastSeen(self.store, self.pool)
        self.follower = self.reader.follow()
        self.validations = Validations(
            SessionValidator(
                apps=apps, reads=self.reads, last_seen=self.last_seen, clock=self.clock
            ),
            serialize_live_session,
            RememberedAnswers(cache, self.follower, self.clock, serialize_live_session),
        )

    async def session(self, app_id: str = APP) -> str:
        """A new one; its answer is not in memory yet."""
        session_id = CANARY.keep(new_session_id())
        await self._write(self.other, lambda tx: _insert(tx, session_id, app_id, self.clock.ms))
        return session_id

    async def answer(self, session_id: str, app_id: str = "") -> ValidateSessionResponse:
        message = await self.validations.answer(session_id, app_id)
        return ValidateSessionResponse.FromString(message)

    async def remembered(self, app_id: str = APP) -> str:
        """A session that is answered from memory from now on."""
        if self.follower.as_of_s is None:
            await self.has_lease()
        session_id = await self.session(app_id)
        await self.answer(session_id)
        return session_id

    async def reads_of(self, session_id: str) -> int:
        """How often the store is read for one more answer."""
        before = len(self.engine.reads)
        await self.answer(session_id)
        return len(self.engine.reads) - before

    async def has_lease(self) -> None:
        """The log has been read once more: nobody waits here but for a read."""
        now_s = boot_time_s()
        # Polled: a read that finds nothing tells nobody.
        while (self.follower.as_of_s or 0.0) <= now_s:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def end(self, session_id: str, store: Store | None = None) -> None:
        """Log out: by this process, or by the one with this store."""
        ended = digest_of(session_id)
        assert await self._write(
            store or self.store,
            lambda tx: end_session(tx, ended, Cause.LOGOUT, now_ms=self.clock.ms),
        )

    async def end_app(self, store: Store) -> None:
        await self._write(
            store,
            lambda tx: end_some_sessions_of_app(
                tx, APP, Cause.ADMIN, begun_by_ms=self.clock.ms, limit=0, now_ms=self.clock.ms
            ),
        )

    async def _write(self, store: Store, work: Callable[[Transaction], T]) -> T:
        return await asyncio.to_thread(store.write, work)

    async def close(self) -> None:
        self.engine.let_go()
        await self.last_seen.close()
        await self.reader.close()
        await self.reads.close()
        await self.pool.close()
        self.other.close()


def play(
    engine: HeldStore,
    scenario: Callable[[Validating], Awaitable[None]],
    *,
    lease_s: float = LONG_LEASE_S,
) -> None:
    """A scenario beside a running reader of the log."""

    async def run() -> None:
        validating = Validating(engine, lease_s)
        validating.reader.start()
        try:
            await asyncio.wait_for(scenario(validating), 30)
        finally:
            await validating.close()

    asyncio.run(run())


def digest_of(session_id: str) -> bytes:
    digest = session_digest(session_id)
    assert digest is not None
    return digest


def _insert(tx: Transaction, session_id: str, app_id: str, now_ms: int) -> None:
    digest = digest_of(session_id)
    insert_account(
        tx,
        source="local",
        account_id="1",
        username=None,
        username_key=None,
        display_name=None,
        phone=None,
        password=None,
        now_ms=now_ms,
    )
    beginning = SessionRecord.beginning(
        digest=digest,
        handle=digest.hex()[:22],
        app_id=app_id,
        openid="o1",
        account=("local", "1"),
        now_ms=now_ms,
    )
    assert insert_session(tx, beginning)
