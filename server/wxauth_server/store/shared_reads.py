"""Step 7: reads of sessions, of which all that wait share one thread hop.

A validation is one look-up by primary key, a few microseconds; waking a thread
for it and being woken costs a hundred. Two Python threads that run at the same
time cost even more: the loop lets go of the interpreter's lock at every system
call and takes it back before the other has woken, tens of times for one read.
So the loop steps aside and waits for the read itself, but for a millisecond at
most: a store that takes longer is waited for while the loop goes on. And where
reads come fast they gather for a few milliseconds, so that each hop serves many.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Mapping

from wxauth_server.errors import Overloaded, StoreUnavailable
from wxauth_server.store.interface import READ_AT_ONCE, Store
from wxauth_server.store.sessions import SessionRecord

log = logging.getLogger("wxauth.store")

#: Longest wait for the store; design.md section 7.
TIMEOUT_S = 0.4
#: Most that the loop stands still for one read of up to READ_AT_ONCE sessions,
#: which takes about a third of that from memory (354 µs measured).
STEP_ASIDE_S = 0.001
#: From this many reads a second on, they wait for each other, this long.
CROWDED_READS_PER_S = 1_000
GATHER_S = 0.003
#: Most reads that wait; beyond it a call is refused at once.
MOST_WAITING = 4_096

_Waiting = tuple[bytes, "asyncio.Future[SessionRecord | None]"]
_Found = Mapping[bytes, SessionRecord] | Exception


class _Job:
    """One read, handed to the thread and back."""

    def __init__(self, digests: list[bytes]) -> None:
        self.digests = digests
        self.found: _Found = {}
        self.done = threading.Lock()
        self.done.acquire()


class SharedReads:
    """Reads sessions by digest, for one event loop.

    A read sees everything that was committed before it was asked for.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Waiting] = []
        self._reading: list[_Waiting] = []
        self._busy = False
        self._crowded = False
        self._arrived = 0
        self._arrived_since_s = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._late: _Job | None = None
        self._late_lock = threading.Lock()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="shared-reads", daemon=True)
        self._thread.start()

    def read(self, digest: bytes) -> asyncio.Future[SessionRecord | None]:
        """The session with this digest, or None if it was never issued.

        Raises: StoreUnavailable when the store fails or takes over 400 ms;
        Overloaded when too many reads wait.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise Overloaded
        future: asyncio.Future[SessionRecord | None] = self._loop.create_future()
        self._waiting.append((digest, future))
        self._arrived += 1
        if not self._busy:
            self._busy = True
            self._gather()
        elif self._timer is None and self._reading:
            # The read that runs has timed out: so may this one.
            self._arm()
        return future

    async def close(self) -> None:
        """End the thread after the read that runs."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _gather(self) -> None:
        passed_s = self._loop.time() - self._arrived_since_s
        if passed_s >= GATHER_S:
            self._crowded = self._arrived >= CROWDED_READS_PER_S * passed_s
            self._arrived = 0
            self._arrived_since_s += passed_s
        if self._crowded:
            self._loop.call_later(GATHER_S, self._start)
        else:  # what else arrives in this turn of the loop goes along
            self._loop.call_soon(self._start)

    def _start(self) -> None:
        self._reading = self._waiting[:READ_AT_ONCE]
        del self._waiting[:READ_AT_ONCE]
        job = _Job([digest for digest, _ in self._reading])
        self._jobs.put(job)
        if not job.done.acquire(timeout=STEP_ASIDE_S):
            with self._late_lock:
                # Looked at once more: it may have ended just now.
                if not job.done.acquire(blocking=False):
                    self._late = job
                    self._arm()
                    return
        self._answer(job.found)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job.found = self._store.read_sessions(job.digests)
            except Exception as error:  # noqa: BLE001 - handed to those who wait for it
                job.found = error
            with self._late_lock:
                late = self._late is job
                self._late = None
                if not late:
                    job.done.release()
            if late:
                self._loop.call_soon_threadsafe(self._answer, job.found)

    def _answer(self, found: _Found) -> None:
        self._disarm()
        answered, self._reading = self._reading, []
        for digest, future in answered:
            if future.done():
                continue  # its caller has gone, or its time was up
            if isinstance(found, Exception):
                future.set_exception(found)
            else:
                future.set_result(found.get(digest))
        if self._waiting:
            self._gather()
        else:
            self._busy = False

    def _arm(self) -> None:
        self._disarm()
        self._timer = self._loop.call_later(TIMEOUT_S, self._time_out)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        self._timer = None
        log.error("store read timed out")
        # Those that joined later have waited less, but for the same store.
        for _, future in self._reading + self._waiting:
            if not future.done():
                future.set_exception(StoreUnavailable())
        self._waiting.clear()
