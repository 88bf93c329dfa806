"""A reader of the revocation log beside a test, and a store whose reads can be held."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from wxauth_client.boot_clock import boot_time_s
from wxauth_server.revocations.log_reader import RevocationLogReader
from wxauth_server.revocations.remembered_log import Follower, LogUpdate
from wxauth_server.store.revocation_log import Revocation
from wxauth_server.store.sqlite import SQLiteStore

T = TypeVar("T")
Scenario = Callable[[RevocationLogReader], Awaitable[None]]


class HeldStore(SQLiteStore):
    """Its reads can be held before they begin, and are counted."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.go = threading.Event()
        self.go.set()
        self.waiting = threading.Event()
        self.begun_s: list[float] = []
        self._ended = threading.Semaphore(0)

    def read(self, work: Callable[[Any], T]) -> T:
        self.begun_s.append(boot_time_s())
        if not self.go.is_set():
            self.waiting.set()
            assert self.go.wait(10)
        try:
            return super().read(work)
        finally:
            self._ended.release()

    async def one_more_read(self) -> None:
        assert await asyncio.to_thread(self._ended.acquire, timeout=10)


def play(store: HeldStore, scenario: Scenario) -> None:
    """A scenario beside a running reader."""

    async def run() -> None:
        reader = RevocationLogReader(store)
        reader.start()
        try:
            await asyncio.wait_for(scenario(reader), 30)
        finally:
            store.go.set()
            await reader.close()

    asyncio.run(run())


def append(store: SQLiteStore, *names: int) -> None:
    entries = [Revocation(1, number.to_bytes(32, "big")) for number in names]
    store.write(lambda tx: tx.revocations.extend(entries))


def numbers(update: LogUpdate) -> list[int]:
    return [int.from_bytes(entry.digest or b"", "big") for entry in update.entries]


async def first(follower: Follower) -> LogUpdate:
    await follower.news()
    update = follower.take()
    assert update is not None
    return update


async def next_read(store: HeldStore, follower: Follower) -> LogUpdate:
    """What there is after a read that begins from now on."""
    now_s = boot_time_s()
    while follower.as_of_s is None or follower.as_of_s <= now_s:
        await store.one_more_read()
    update = follower.take()
    assert update is not None
    return update
