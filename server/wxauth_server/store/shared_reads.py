"""Step 7: reads of sessions, of which all that wait share one thread hop.

A validation is one look-up by primary key, a few microseconds; waking a thread
for it and being woken costs a hundred. Two Python threads that run at the same
time cost even more: the loop lets go of the interpreter's lock at every system
call and takes it back before the other has woken, tens of times for one read.
So the loop steps aside and waits for the read itself, but for a millisecond at
most: a store that takes longer is waited for while the loop goes on. And where
reads come fast they gather for a few milliseconds, so that each hop serves many.

A validation and the parts of batches take turns: neither waits for more than one
hop of the other's. A store that is too slow for all who come reads only for those
who are still there, and have not waited too long already.
"""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any

from wxauth_server.store.interface import READ_AT_ONCE, Store
from wxauth_server.store.sessions import SessionRecord
from wxauth_server.store.waiting_reads import Records, WaitingReads

log = logging.getLogger("wxauth.store")

#: Longest wait for a read, and for those before it; design.md section 7.
TIMEOUT_S = 0.4
#: Most that the loop stands still for one read of up to READ_AT_ONCE sessions,
#: which takes about a third of that from memory (354 µs measured).
STEP_ASIDE_S = 0.001
#: From this many reads a second on, they wait for each other, this long.
CROWDED_READS_PER_S = 1_000
GATHER_S = 0.006
#: Most reads that wait; beyond it a call is refused at once.
MOST_WAITING = 4_096
#: Most parts of batches that wait: of full ones, what is read in about TIMEOUT_S.
MOST_PARTS_WAITING = 1_024

_Found = Records | Exception


class _Job:
    """One read, handed to the thread and back."""

    def __init__(self, digests: list[bytes]) -> None:
        self.digests = digests
        self.found: _Found = {}
        self.done = threading.Lock()
        self.done.acquire()
        self.handed_s = time.monotonic()
        self.ended_s = math.inf

    def took_s(self) -> float:
        """So far, or in all."""
        return min(self.ended_s, time.monotonic()) - self.handed_s


class SharedReads:
    """Reads sessions by digest, for one event loop.

    A read sees everything that was committed before it was asked for.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._validations = WaitingReads(_record_of_one, most=MOST_WAITING)
        self._parts = WaitingReads(_records_of_part, most=MOST_PARTS_WAITING)
        # Whose turn it is.
        self._order: tuple[WaitingReads[Any], ...] = (self._validations, self._parts)
        self._busy = False
        self._crowded = False
        self._arrived = 0
        self._arrived_since_s = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._hop: _Job | None = None
        self._hops_took_s = 0.0
        self._late: _Job | None = None
        self._late_lock = threading.Lock()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="shared-reads", daemon=True)
        self._thread.start()

    def read(self, digest: bytes) -> asyncio.Future[SessionRecord | None]:
        """The session with this digest, or None if it was never issued.

        Raises: StoreUnavailable when the store fails, takes over 400 ms for it, or over
        400 ms for those before it; Overloaded when too many reads wait.
        """
        future = self._validations.add((digest,), self._store_clock_s())
        self._has_arrived(1)
        return future

    def read_part(self, digests: Sequence[bytes]) -> asyncio.Future[Records]:
        """The sessions with these digests, at most READ_AT_ONCE, without those never issued.

        A part of a batch. Raises: as `read`, for all of them.
        """
        future = self._parts.add(digests, self._store_clock_s())
        self._has_arrived(len(digests))
        return future

    async def close(self) -> None:
        """End the thread after the read that runs."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _has_arrived(self, sessions: int) -> None:
        self._arrived += sessions
        if not self._busy:
            self._busy = True
            self._gather()
        elif self._timer is None and self._hop is not None:
            # The read that runs has timed out: so may this one.
            self._arm()

    def _gather(self) -> None:
        passed_s = self._loop.time() - self._arrived_since_s
        if passed_s >= GATHER_S:
            self._crowded = self._arrived >= CROWDED_READS_PER_S * passed_s
            self._arrived = 0
            self._arrived_since_s += passed_s
        waiting = self._validations.sessions + self._parts.sessions
        if self._crowded and waiting < READ_AT_ONCE:
            self._loop.call_later(GATHER_S, self._start)
        else:  # what else arrives in this turn of the loop goes along
            self._loop.call_soon(self._start)

    def _store_clock_s(self) -> float:
        # Goes on while the store reads and at no other time: the store is not to blame
        # for a loop that is busy.
        return self._hops_took_s + (self._hop.took_s() if self._hop else 0.0)

    def _start(self) -> None:
        # Those who have waited too long are not read any more.
        before_s = self._hops_took_s - TIMEOUT_S
        late = [reads.fail_older(before_s) for reads in self._order]
        if any(late):
            log.error("store read timed out")
        digests: list[bytes] = []
        for reads in self._order:
            digests += reads.begin(READ_AT_ONCE - len(digests))
        self._order = self._order[::-1]
        if not any(reads.any_under_way() for reads in self._order):
            self._busy = False
            return
        self._hop = job = _Job(digests)
        self._jobs.put(job)
        if not job.done.acquire(timeout=STEP_ASIDE_S):
            with self._late_lock:
                # Looked at once more: it may have ended just now.
                if not job.done.acquire(blocking=False):
                    self._late = job
                    self._arm()
                    return
        self._answer(job)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job.found = self._store.read_sessions(job.digests)
            except Exception as error:  # noqa: BLE001 - handed to those who wait for it
                job.found = error
            job.ended_s = time.monotonic()
            with self._late_lock:
                late = self._late is job
                self._late = None
                if not late:
                    job.done.release()
            if late:
                self._loop.call_soon_threadsafe(self._answer, job)

    def _answer(self, job: _Job) -> None:
        self._disarm()
        self._hops_took_s += job.took_s()
        self._hop = None
        for reads in self._order:
            reads.end(job.found)
        if any(reads.any_waiting() for reads in self._order):
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
        for reads in self._order:
            reads.fail_all()


def _record_of_one(found: Records, digests: Sequence[bytes]) -> SessionRecord | None:
    return found.get(digests[0])


def _records_of_part(found: Records, digests: Sequence[bytes]) -> Records:
    return {digest: found[digest] for digest in digests if digest in found}
