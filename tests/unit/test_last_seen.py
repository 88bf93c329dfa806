"""last_seen is written in the background: in batches, again after a failure, and at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import pytest

from wxauth_server.auth import last_seen as module
from wxauth_server.auth.last_seen import LastSeen
from wxauth_server.errors import StoreUnavailable
from wxauth_server.pools import BoundedPool
from wxauth_server.store.interface import Row, Store, Transaction

T = TypeVar("T")


class Written:
    """A store that remembers what was written, one mapping of digest to seen_at a write."""

    def __init__(self) -> None:
        self.writes: list[dict[object, object]] = []
        self.failures: list[Exception] = []
        self.begun = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.written = threading.Semaphore(0)

    def write(self, work: Callable[[Transaction], T]) -> T:
        self.begun.set()
        assert self.go.wait(10)
        if self.failures:
            raise self.failures.pop(0)
        batch: dict[object, object] = {}

        class Noted:
            def execute(self, sql: str, parameters: Mapping[str, object]) -> Sequence[Row]:
                assert "UPDATE sessions SET last_seen_at" in sql
                batch[parameters["digest"]] = parameters["seen_at"]
                return []

        result = work(cast("Transaction", Noted()))
        self.writes.append(batch)
        self.written.release()
        return result


def run(scenario: Callable[[Written, LastSeen], Awaitable[Any]]) -> Written:
    store = Written()

    async def play() -> None:
        pool = BoundedPool("writer", threads=1, capacity=4)
        await scenario(store, LastSeen(cast("Store", store), pool))
        store.go.set()
        await pool.close()

    asyncio.run(play())
    return store


def note(last_seen: LastSeen, number: int, seen_at_ms: int = 1) -> None:
    last_seen.note(number.to_bytes(32, "big"), seen_at_ms=seen_at_ms, idle_ms=60_000)


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_nothing_due_is_no_write() -> None:
    async def scenario(store: Written, last_seen: LastSeen) -> None:
        del store
        await last_seen.flush()

    assert run(scenario).writes == []


def test_many_validations_of_a_session_are_one_row() -> None:
    """The latest of them."""

    async def scenario(store: Written, last_seen: LastSeen) -> None:
        del store
        for seen_at in range(10_000):
            note(last_seen, 1, seen_at)
        await last_seen.flush()
        await last_seen.flush()

    assert run(scenario).writes == [{key(1): 9_999}]


def test_many_sessions_are_a_few_short_writes() -> None:
    """So that a login never waits long behind them."""

    async def scenario(store: Written, last_seen: LastSeen) -> None:
        del store
        for number in range(1_200):
            note(last_seen, number)
        await last_seen.flush()

    writes = run(scenario).writes
    assert [len(batch) for batch in writes] == [50] * 24
    assert {digest for batch in writes for digest in batch} == {key(n) for n in range(1_200)}


def test_what_failed_stays_due() -> None:
    async def scenario(store: Written, last_seen: LastSeen) -> None:
        store.failures.append(StoreUnavailable())
        note(last_seen, 1)
        await last_seen.flush()
        assert store.writes == []
        note(last_seen, 2)
        await last_seen.flush()

    assert run(scenario).writes == [{key(1): 1, key(2): 1}]


def test_a_full_pool_is_a_failure_too() -> None:
    async def scenario(store: Written, last_seen: LastSeen) -> None:
        store.go.clear()
        pool = last_seen._writer_pool
        others = [asyncio.create_task(pool.run(store.go.wait, 10)) for _ in range(4)]
        await asyncio.sleep(0)  # they have their places
        note(last_seen, 1)
        await last_seen.flush()
        store.go.set()
        await asyncio.gather(*others)
        await last_seen.flush()

    assert run(scenario).writes == [{key(1): 1}]


def test_what_is_noted_during_a_write_is_written_next() -> None:
    """A later use of the session that is being written is not taken for written."""

    async def scenario(store: Written, last_seen: LastSeen) -> None:
        store.go.clear()
        note(last_seen, 1, 5)
        flushing = asyncio.create_task(last_seen.flush())
        assert await asyncio.to_thread(store.begun.wait, 10)
        note(last_seen, 1, 6)
        note(last_seen, 2, 6)
        store.go.set()
        await flushing

    assert run(scenario).writes == [{key(1): 5}, {key(1): 6, key(2): 6}]


def test_it_is_written_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(store: Written, last_seen: LastSeen) -> None:
        last_seen.start()
        for number in range(3):
            note(last_seen, number)
            assert await asyncio.to_thread(store.written.acquire, timeout=10)
        await last_seen.close()

    monkeypatch.setattr(module, "FLUSH_INTERVAL_S", 0.001)
    assert run(scenario).writes == [{key(0): 1}, {key(1): 1}, {key(2): 1}]


@pytest.mark.parametrize("failure", [StoreUnavailable(), ValueError("a fault of ours")])
def test_no_failure_ends_the_background(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """Or every session in use would expire a week later, and nothing had said why."""

    async def scenario(store: Written, last_seen: LastSeen) -> None:
        store.failures.append(failure)
        note(last_seen, 1)
        last_seen.start()
        assert await asyncio.to_thread(store.written.acquire, timeout=2)
        await last_seen.close()

    monkeypatch.setattr(module, "FLUSH_INTERVAL_S", 0.001)
    assert run(scenario).writes == [{key(1): 1}]


def test_close_writes_what_is_due() -> None:
    async def scenario(store: Written, last_seen: LastSeen) -> None:
        del store
        last_seen.start()
        note(last_seen, 1)
        await last_seen.close()

    assert run(scenario).writes == [{key(1): 1}]


def test_close_without_start() -> None:
    async def scenario(store: Written, last_seen: LastSeen) -> None:
        del store
        note(last_seen, 1)
        await last_seen.close()

    assert run(scenario).writes == [{key(1): 1}]
