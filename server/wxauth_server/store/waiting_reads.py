"""Step 7: those who wait for a read of sessions, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from wxauth_server.errors import Overloaded, StoreUnavailable
from wxauth_server.store.sessions import SessionRecord

R = TypeVar("R")
Records = Mapping[bytes, SessionRecord]


class WaitingReads(Generic[R]):
    """Reads that wait, `most` of them, and of those that waited the ones under way.

    `answer` makes what a caller gets of the records that were found.
    """

    def __init__(self, answer: Callable[[Records, Sequence[bytes]], R], *, most: int) -> None:
        self._answer = answer
        self._most = most
        self._loop = asyncio.get_running_loop()
        # With the times at which they were asked for.
        self._waiting: deque[tuple[Sequence[bytes], asyncio.Future[R], float]] = deque()
        self._under_way: list[tuple[Sequence[bytes], asyncio.Future[R], float]] = []
        #: Of those that wait.
        self.sessions = 0

    def add(self, digests: Sequence[bytes], now_s: float) -> asyncio.Future[R]:
        """One more. Raises: Overloaded when too many wait."""
        if len(self._waiting) >= self._most:
            raise Overloaded
        future: asyncio.Future[R] = self._loop.create_future()
        self._waiting.append((digests, future, now_s))
        self.sessions += len(digests)
        return future

    def any_waiting(self) -> bool:
        return bool(self._waiting)

    def any_under_way(self) -> bool:
        return bool(self._under_way)

    def begin(self, room: int) -> list[bytes]:
        """Have the next ones under way, as far as there is room; what they ask for.

        None of those whose callers have gone.
        """
        digests: list[bytes] = []
        while self._waiting:
            asked, future, _ = waiting = self._waiting[0]
            gone = future.done()
            if not gone and len(digests) + len(asked) > room:
                break
            self._waiting.popleft()
            self.sessions -= len(asked)
            if not gone:
                digests += asked
                self._under_way.append(waiting)
        return digests

    def end(self, found: Records | Exception) -> None:
        """Answer those under way."""
        ended, self._under_way = self._under_way, []
        for asked, future, _ in ended:
            if future.done():
                continue  # its caller has gone, or its time was up
            if isinstance(found, Exception):
                future.set_exception(found)
            else:
                future.set_result(self._answer(found, asked))

    def fail_older(self, than_s: float) -> bool:
        """Fail those that have waited since before a time; whether there were any."""
        late = False
        while self._waiting and self._waiting[0][2] < than_s:
            asked, future, _ = self._waiting.popleft()
            self.sessions -= len(asked)
            _fail(future)
            late = True
        return late

    def fail_all(self) -> None:
        """Those under way, which end without an answer, and those that wait."""
        for _, future, _ in (*self._under_way, *self._waiting):
            _fail(future)
        self._waiting.clear()
        self.sessions = 0


def _fail(future: asyncio.Future[R]) -> None:
    if not future.done():
        future.set_exception(StoreUnavailable())
