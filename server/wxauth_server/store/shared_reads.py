"""Step 7: reads of sessions, of which all that wait share one thread hop.

A validation is one look-up by primary key, a few microseconds; handing it to a
thread and back costs many times that. While one read runs, the next ones
gather, and go together.
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
#: Most reads that wait; beyond it a call is refused at once.
MOST_WAITING = 4_096

_Waiting = tuple[bytes, "asyncio.Future[SessionRecord | None]"]


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
        self._timer: asyncio.TimerHandle | None = None
        self._jobs: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
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
        if not self._busy:
            self._busy = True
            # Not at once: what else arrives in this turn of the loop goes along.
            self._loop.call_soon(self._start)
        elif self._timer is None and self._reading:
            # The read that runs has timed out: so may this one.
            self._arm()
        return future

    async def close(self) -> None:
        """End the thread after the read that runs."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _start(self) -> None:
        self._reading = self._waiting[:READ_AT_ONCE]
        del self._waiting[:READ_AT_ONCE]
        self._arm()
        self._jobs.put([digest for digest, _ in self._reading])

    def _run(self) -> None:
        while (digests := self._jobs.get()) is not None:
            found: Mapping[bytes, SessionRecord] | Exception
            try:
                found = self._store.read_sessions(digests)
            except Exception as error:  # noqa: BLE001 - handed to those who wait for it
                found = error
            self._loop.call_soon_threadsafe(self._answer, found)

    def _answer(self, found: Mapping[bytes, SessionRecord] | Exception) -> None:
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
            self._start()
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
