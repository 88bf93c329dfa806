"""Reads that share a thread hop: what they see, and what a store that stalls does to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.held_store import LOOPS, HeldStore, key, record, run
from wxauth_server.errors import Overloaded, StoreUnavailable
from wxauth_server.store import shared_reads
from wxauth_server.store.interface import READ_AT_ONCE
from wxauth_server.store.shared_reads import SharedReads


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time-out comes soon."""
    monkeypatch.setattr(shared_reads, "TIMEOUT_S", 0.05)


def test_reads_that_come_fast_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ones of different turns go together then, and none of them is lost."""
    monkeypatch.setattr(shared_reads, "CROWDED_READS_PER_S", 0)

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        await reads.read(key(0))
        await asyncio.sleep(2 * shared_reads.GATHER_S)  # a window has passed
        await reads.read(key(1))
        asked = []
        for number in range(2, 12):
            asked.append(reads.read(key(number)))
            await asyncio.sleep(0)
        await asyncio.gather(*asked)
        assert len(store.calls) < 12
        assert sorted(digest for call in store.calls for digest in call) == [
            key(number) for number in range(12)
        ]

    run(scenario)


def test_reads_of_one_turn_share_a_hop() -> None:
    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.known = {key(number) for number in range(0, 50, 2)}
        found = await asyncio.gather(*(reads.read(key(number)) for number in range(50)))
        assert [one.digest if one else None for one in found] == [
            None if number % 2 else key(number) for number in range(50)
        ]

    assert [len(call) for call in run(scenario).calls] == [50]


@LOOPS
def test_more_than_fit_go_one_after_the_other(loop_factory: Callable[[], Any]) -> None:
    """In the order in which they were asked for, none twice."""

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.known = {key(number) for number in range(1_000)}
        found = await asyncio.gather(*(reads.read(key(number)) for number in range(1_000)))
        assert [one.digest for one in found if one] == [key(number) for number in range(1_000)]

    store = run(scenario, loop_factory=loop_factory)
    assert [digest for call in store.calls for digest in call] == [key(n) for n in range(1_000)]
    assert {len(call) for call in store.calls[:-1]} == {READ_AT_ONCE}
    assert all(1 <= len(call) <= READ_AT_ONCE for call in store.calls)


def test_what_comes_meanwhile_goes_together_next() -> None:
    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.go.clear()
        first = reads.read(key(1))
        await store.has_begun()
        others = [reads.read(key(number)) for number in range(2, 10)]
        store.go.set()
        await asyncio.gather(first, *others)

    assert [len(call) for call in run(scenario).calls] == [1, 8]


def test_the_same_session_for_many() -> None:
    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.known = {key(1)}
        found = await asyncio.gather(*(reads.read(key(1)) for _ in range(100)))
        assert found == [record(key(1))] * 100

    run(scenario)


def test_a_read_sees_what_was_committed_before_it_was_asked_for() -> None:
    """It never joins a read that has begun, even for the same session."""

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.go.clear()
        before = reads.read(key(1))
        await store.has_begun()
        store.known.add(key(1))  # the commit
        after = reads.read(key(1))
        store.go.set()
        assert await before is None
        assert await after == record(key(1))

    run(scenario)


@pytest.mark.parametrize("failure", [StoreUnavailable(), ValueError("ours")])
def test_a_failure_reaches_all_who_wait_for_it(failure: Exception) -> None:
    """And nobody else: the next read is a new one."""

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.known = {key(number) for number in range(10)}
        store.failures.append(failure)
        store.go.clear()
        failing = [reads.read(key(number)) for number in range(5)]
        await store.has_begun()
        later = [reads.read(key(number)) for number in range(5, 10)]
        store.go.set()
        outcomes = await asyncio.gather(*failing, return_exceptions=True)
        assert outcomes == [failure] * 5
        assert [one.digest for one in await asyncio.gather(*later) if one] == [
            key(number) for number in range(5, 10)
        ]

    run(scenario)


def test_a_caller_who_goes_takes_nobody_along() -> None:
    """Neither one in flight nor one that waits."""

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.known = {key(number) for number in range(4)}
        store.go.clear()
        gone, stays = reads.read(key(0)), reads.read(key(1))
        await store.has_begun()
        gone_too, stays_too = reads.read(key(2)), reads.read(key(3))
        gone.cancel()
        gone_too.cancel()
        store.go.set()
        assert await stays == record(key(1))
        assert await stays_too == record(key(3))

    run(scenario)


@pytest.mark.usefixtures("short")
def test_a_store_that_stalls_fails_all_who_wait() -> None:
    """Those in flight and those behind them, however many; then it recovers."""

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.known = {key(number) for number in range(1_000)}
        store.go.clear()
        stalled = [reads.read(key(number)) for number in range(200)]
        await store.has_begun()
        outcomes = await asyncio.gather(*stalled, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 200
        # It is still stalled: those who come now are not left waiting either.
        for number in range(200, 203):
            with pytest.raises(StoreUnavailable):
                await reads.read(key(number))
        store.go.set()
        # Nobody gets the answer that came too late for another.
        found = await asyncio.gather(*(reads.read(key(number)) for number in range(300, 310)))
        assert [one.digest for one in found if one] == [key(number) for number in range(300, 310)]

    store = run(scenario)
    assert [len(call) for call in store.calls] == [READ_AT_ONCE, 10], (
        "those that timed out are not read any more"
    )


@pytest.mark.usefixtures("short")
def test_a_read_asked_for_just_before_the_stall_ends_is_answered() -> None:
    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.known = {key(2)}
        store.go.clear()
        stalled = reads.read(key(1))
        with pytest.raises(StoreUnavailable):
            await stalled
        late = reads.read(key(2))
        store.go.set()
        assert await late == record(key(2))

    run(scenario)


def test_too_many_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.go.clear()
        flying = reads.read(key(0))
        await store.has_begun()
        waiting = [reads.read(key(number)) for number in range(1, 9)]
        for _ in range(3):
            with pytest.raises(Overloaded):
                reads.read(key(99))
        store.go.set()
        await asyncio.gather(flying, *waiting)
        assert await reads.read(key(99)) is None

    monkeypatch.setattr(shared_reads, "MOST_WAITING", 8)
    run(scenario)


@pytest.mark.parametrize("together", [1, 2, 3, 65, 130])
def test_no_timer_is_left_behind(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nobody stops would fail whoever reads when it goes off."""
    timers: list[asyncio.TimerHandle] = []

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        loop = asyncio.get_running_loop()
        call_later = loop.call_later

        def spy(*args: Any, **kwargs: Any) -> asyncio.TimerHandle:
            timers.append(call_later(*args, **kwargs))
            return timers[-1]

        monkeypatch.setattr(loop, "call_later", spy)
        monkeypatch.setattr(shared_reads, "CROWDED_READS_PER_S", 1e9)  # gathering has its own
        for _ in range(3):
            store.go.clear()
            asked = [reads.read(key(number)) for number in range(together)]
            await store.has_begun()  # and the loop has gone on, since this was awaited
            store.go.set()
            await asyncio.gather(*asked)
        assert timers
        assert all(timer.cancelled() for timer in timers)

    run(scenario)


@pytest.mark.usefixtures("short")
@LOOPS
def test_a_loop_that_was_busy_does_not_blame_the_store(loop_factory: Callable[[], Any]) -> None:
    """The time before a read is handed to the store is not the store's."""

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.known = {key(1), key(2)}
        asked = [reads.read(key(1)), reads.read(key(2))]
        time.sleep(0.1)  # noqa: ASYNC251 - the loop is busy with something else
        assert [one.digest for one in await asyncio.gather(*asked) if one] == [key(1), key(2)]

    assert all(run(scenario, loop_factory=loop_factory).calls), "nothing was asked for"


def test_the_time_out_is_that_of_the_design() -> None:
    """design.md section 7: 400 ms."""
    assert shared_reads.TIMEOUT_S == 0.4
