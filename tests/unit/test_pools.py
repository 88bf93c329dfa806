"""The bounded pools. Jobs are held by events, so no test waits for time to pass."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable

import pytest

from wxauth_server.errors import Overloaded, StoreUnavailable
from wxauth_server.pools import BoundedPool, Pools


class HeldJob:
    """A job that begins, says so, and ends when it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.go.wait(10)
        return threading.current_thread().name

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, 10)


def is_full(pool: BoundedPool) -> bool:
    """A call, since to a type checker a property stays what it was."""
    return pool.full


async def turn() -> None:
    """Let the tasks that were just made begin: they run to their first wait."""
    await asyncio.sleep(0)


def test_a_job_runs_in_a_thread_of_the_pool() -> None:
    async def scenario() -> None:
        pool = BoundedPool("named", threads=1, capacity=1)

        def job(*args: int, **kwargs: int) -> tuple[str, object, object]:
            return threading.current_thread().name, args, kwargs

        name, args, kwargs = await pool.run(job, 1, 2, three=3)
        assert name.startswith("named")
        assert (args, kwargs) == ((1, 2), {"three": 3})
        await pool.close()

    asyncio.run(scenario())


def test_what_a_job_raises_comes_out_and_frees_its_place() -> None:
    async def scenario() -> None:
        pool = BoundedPool("test", threads=1, capacity=1)
        error = LookupError("ours")

        def job() -> None:
            raise error

        for _ in range(5):
            with pytest.raises(LookupError) as caught:
                await pool.run(job)
            assert caught.value is error
            assert not is_full(pool)
        await pool.close()

    asyncio.run(scenario())


def test_a_full_pool_refuses_at_once() -> None:
    """Running and waiting jobs count alike; RetryInfo goes with the refusal."""

    async def scenario() -> None:
        pool = BoundedPool("test", threads=1, capacity=3)
        held = HeldJob()
        running = asyncio.create_task(pool.run(held))
        await held.has_begun()
        waiting = [asyncio.create_task(pool.run(int)) for _ in range(2)]
        await turn()
        assert is_full(pool)
        for _ in range(10):
            with pytest.raises(Overloaded) as refusal:
                await pool.run(int)
            assert refusal.value.retry_after_s
        held.go.set()
        await asyncio.gather(running, *waiting)
        assert not is_full(pool)
        assert await pool.run(int) == 0
        await pool.close()

    asyncio.run(scenario())


def test_a_waiting_job_whose_caller_has_gone_is_dropped() -> None:
    """It never runs, and its place is free at once."""

    async def scenario() -> None:
        pool = BoundedPool("test", threads=1, capacity=2)
        held = HeldJob()
        ran: list[str] = []
        running = asyncio.create_task(pool.run(held))
        await held.has_begun()
        dropped = asyncio.create_task(pool.run(ran.append, "dropped"))
        await turn()
        assert is_full(pool)
        dropped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dropped
        assert not is_full(pool)
        kept = asyncio.create_task(pool.run(ran.append, "kept"))
        await turn()
        held.go.set()
        await asyncio.gather(running, kept)
        await pool.close()
        assert ran == ["kept"]

    asyncio.run(scenario())


def test_a_running_job_keeps_its_place_when_its_caller_has_gone() -> None:
    """The thread is still busy: a pool that forgot it would let too many in (F13)."""

    async def scenario() -> None:
        pool = BoundedPool("test", threads=1, capacity=1)
        held = HeldJob()
        running = asyncio.create_task(pool.run(held))
        await held.has_begun()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert is_full(pool)
        with pytest.raises(Overloaded):
            await pool.run(int)
        held.go.set()
        await pool.close()
        assert not is_full(pool)

    asyncio.run(scenario())


def test_close_lets_the_running_end_and_drops_the_waiting() -> None:
    async def scenario() -> None:
        pool = BoundedPool("test", threads=1, capacity=2)
        held = HeldJob()
        ran: list[str] = []
        running = asyncio.create_task(pool.run(held))
        await held.has_begun()
        waiting = asyncio.create_task(pool.run(ran.append, "late"))
        await turn()
        closing = asyncio.create_task(pool.close())
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not closing.done()
        held.go.set()
        await closing
        assert (await running).startswith("test")
        assert ran == []

    asyncio.run(scenario())


def test_no_more_jobs_at_once_than_threads() -> None:
    async def scenario() -> None:
        pool = BoundedPool("test", threads=2, capacity=8)
        jobs = [HeldJob() for _ in range(8)]
        tasks = [asyncio.create_task(pool.run(job)) for job in jobs]
        await jobs[0].has_begun()
        await jobs[1].has_begun()
        assert not any(job.begun.is_set() for job in jobs[2:])
        for job in jobs:
            job.go.set()
        assert len(set(await asyncio.gather(*tasks))) <= 2
        await pool.close()

    asyncio.run(scenario())


def priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_a_polite_pool_lowers_its_own_threads_only() -> None:
    async def scenario() -> None:
        before = priority()
        polite = BoundedPool("polite", threads=1, capacity=1, nice=10)
        usual = BoundedPool("usual", threads=1, capacity=1)
        assert await polite.run(priority) == max(before, 10)
        assert await usual.run(priority) == before
        assert priority() == before
        await polite.close()
        await usual.close()

    asyncio.run(scenario())


async def capacity_of(pool: BoundedPool) -> int:
    """How many jobs it takes until it refuses."""
    held = HeldJob()
    tasks: list[asyncio.Task[str]] = []
    while not pool.full:
        tasks.append(asyncio.create_task(pool.run(held)))
        await turn()
    held.go.set()
    await asyncio.gather(*tasks)
    return len(tasks)


@pytest.mark.parametrize(
    ("choose", "expected"),
    [
        pytest.param(lambda pools: pools.passwords, 8, id="passwords"),
        pytest.param(lambda pools: pools.wechat, 64, id="wechat"),
        pytest.param(lambda pools: pools.writer, 256, id="writer"),
    ],
)
def test_the_pools_of_a_server(choose: Callable[[Pools], BoundedPool], expected: int) -> None:
    """F5: 8 password checks running and waiting on two cores are a second of work."""

    async def scenario() -> None:
        pools = Pools.create(cores=2)
        assert await capacity_of(choose(pools)) == expected
        await pools.close()

    asyncio.run(scenario())


def test_one_full_pool_stops_no_other() -> None:
    """F8: a stalled WeChat takes nothing from validations."""

    async def scenario() -> None:
        pools = Pools.create(cores=2)
        held = HeldJob()
        stalled = [asyncio.create_task(pools.wechat.run(held)) for _ in range(64)]
        await held.has_begun()
        assert pools.wechat.full
        for pool in (pools.passwords, pools.writer):
            assert await pool.run(int) == 0
        held.go.set()
        await asyncio.gather(*stalled)
        await pools.close()

    asyncio.run(scenario())


def test_a_job_whose_turn_comes_too_late_is_not_begun() -> None:
    """It would keep its caller longer than promised, and those behind it too."""

    async def scenario() -> None:
        pool = BoundedPool("late", threads=1, capacity=3, patience_s=0.02)
        go, begun = threading.Event(), threading.Event()

        def first() -> None:
            begun.set()
            assert go.wait(10)

        running = asyncio.create_task(pool.run(first))
        await asyncio.to_thread(begun.wait, 10)
        late = asyncio.create_task(pool.run(lambda: pytest.fail("begun")))
        await asyncio.sleep(0.05)  # the patience passes
        go.set()
        await running
        with pytest.raises(StoreUnavailable):
            await late
        assert await pool.run(lambda: "again") == "again"
        await pool.close()

    asyncio.run(scenario())
