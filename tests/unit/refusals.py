"""Refusals on a real database whose writes fail on demand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tests.running_server import FakeClock
from wxauth_server.auth.refusal_counts import RefusalCounts
from wxauth_server.errors import StoreUnavailable
from wxauth_server.pools import BoundedPool
from wxauth_server.store.audit import Event
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sqlite import SQLiteStore

T = TypeVar("T")

APP = "wx0000000000000001"
#: The beginning of a minute.
MINUTE = 1_790_000_040_000


class FailingStore(SQLiteStore):
    """The real one, but its writes fail on demand: before the commit, or after it."""

    fail_before = fail_after = False

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        #: A write that has begun waits for this.
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()
        self.written = threading.Event()

    def write(self, work: Callable[[Any], T]) -> T:
        self.begun.set()
        assert self.go.wait(10)
        if self.fail_before:
            raise StoreUnavailable
        result = super().write(work)
        self.written.set()
        if self.fail_after:
            raise StoreUnavailable
        return result


class Row(NamedTuple):
    """An event, as the database has it."""

    at: int
    event: str
    reason: str | None
    app_id: str | None
    openid: str | None
    client_address: str | None
    times: int


class Played:
    """What a scenario has to do with."""

    def __init__(self, store: FailingStore, pool: BoundedPool) -> None:
        self.store = store
        self.pool = pool
        self.clock = FakeClock(MINUTE)
        self.restart()

    def restart(self) -> None:
        """Be a new server on the same database."""
        self.refusals = RefusalCounts(self.store, self.pool, self.clock)

    def note(self, address: str = "", openid: str = "", reason: str = "ADDRESS") -> None:
        self.refusals.note(
            Event.THROTTLED, reason=reason, app_id=APP, openid=openid, client_address=address
        )

    def rows(self) -> list[Row]:
        def read(tx: Transaction) -> list[Row]:
            found = tx.execute(
                """
                SELECT at, event, reason, app_id, openid, client_address, count
                FROM audit_events ORDER BY at, count
                """
            )
            return [Row._make(row) for row in found]

        return self.store.read(read)


def play(tmp_path: Path, scenario: Callable[[Played], Awaitable[None]]) -> None:
    """Run a scenario on an event loop."""

    async def on_loop() -> None:
        pool = BoundedPool("writer", threads=1, capacity=4)
        store = FailingStore(tmp_path / "data")
        try:
            await scenario(Played(store, pool))
        finally:
            store.go.set()
            await pool.close()
            store.close()

    asyncio.run(on_loop())
