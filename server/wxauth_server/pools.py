"""Bounded thread pools: one for each kind of blocking work, so that none starves another.

The event loop never blocks; what blocks runs here. A pool that is full refuses
at once instead of queueing without end: the caller hears OVERLOADED with a
RetryInfo while the rest of the server goes on (reliability.md F5, F8).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from wxauth_server.errors import Overloaded, StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")


class BoundedPool:
    """`threads` threads and at most `capacity` jobs running and waiting.

    `nice` lowers the threads' priority by that much (Linux), so that work which
    is all CPU yields to the event loop. A job that has waited for over
    `patience_s` when its turn comes is not begun.
    """

    def __init__(
        self,
        name: str,
        *,
        threads: int,
        capacity: int,
        nice: int = 0,
        patience_s: float = math.inf,
    ) -> None:
        #: Jobs that there may be, running and waiting.
        self.capacity = capacity
        self._patience_s = patience_s
        self._jobs = 0
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(
            threads, thread_name_prefix=name, initializer=_be_nice, initargs=(nice,)
        )

    @property
    def full(self) -> bool:
        """Whether a job would be refused now."""
        return self._jobs >= self.capacity

    async def run(self, job: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `job` in a thread of the pool.

        If the caller is cancelled, a job that waits is dropped; one that has
        begun runs to its end and keeps its place until then.

        Raises: Overloaded when the pool is full; StoreUnavailable when the job's
        turn came too late; whatever the job raises.
        """
        return await asyncio.wrap_future(self._submit(job, *args, **kwargs))

    def run_and_wait(self, job: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for callers in a thread of another pool, which is closed before this one.

        Raises: what `run` raises.
        """
        return self._submit(job, *args, **kwargs).result()

    def _submit(self, job: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        latest = time.monotonic() + self._patience_s

        def begin() -> T:
            if time.monotonic() > latest:
                raise StoreUnavailable
            return job(*args, **kwargs)

        with self._lock:
            if self.full:
                raise Overloaded
            self._jobs += 1
        try:
            future = self._executor.submit(begin)
        except BaseException:
            self._job_done()
            raise
        future.add_done_callback(self._job_done)
        return future

    def _job_done(self, _: Future[T] | None = None) -> None:
        with self._lock:
            self._jobs -= 1

    async def close(self) -> None:
        """Let the running jobs end and drop the waiting ones."""
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)


@dataclass(frozen=True)
class Pools:
    """The pools of a server process. Validations have a thread apart: `SharedReads`."""

    #: Waiting for WeChat. As many threads as jobs: one more would only wait its
    #: deadline away behind stalled ones.
    wechat: BoundedPool
    #: The same for WeChat's calls with an access_token, which must not hold up logins.
    wechat_calls: BoundedPool
    #: Reads of the store that are no validation.
    readers: BoundedPool
    #: bcrypt. As many threads as cores, at low priority, and a queue of about a
    #: second (reliability.md F5).
    passwords: BoundedPool
    #: Writes of the store: one thread where the engine has one writer. A write
    #: that waits half a second waits behind one that waits for another process's
    #: lock, 2 s; together they stay below 2.5 s (reliability.md row 4).
    writer: BoundedPool
    #: Calls of AdminService: their reads, writes and waits for bcrypt. Two of them
    #: at a time, so that operators' lists do not hold up logins.
    admin: BoundedPool

    @classmethod
    def create(cls, *, cores: int | None = None, writers: int = 1) -> Pools:
        cores = cores or os.cpu_count() or 1
        return cls(
            wechat=BoundedPool("wechat", threads=64, capacity=64),
            wechat_calls=BoundedPool("wechat-calls", threads=16, capacity=16),
            readers=BoundedPool("readers", threads=2, capacity=256, patience_s=0.5),
            passwords=BoundedPool("passwords", threads=cores, capacity=max(8, 4 * cores), nice=10),
            writer=BoundedPool("writer", threads=writers, capacity=256, patience_s=0.5),
            admin=BoundedPool("admin", threads=2, capacity=32),
        )

    async def close(self) -> None:
        """Let what has begun end, the writer last: others still hand it work."""
        for pool in (
            self.admin,
            self.wechat,
            self.wechat_calls,
            self.passwords,
            self.readers,
            self.writer,
        ):
            await pool.close()


def _be_nice(nice: int) -> None:
    if nice and hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):  # not allowed here: only less polite
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
