"""The newest of the revocation log in memory, for all that follow it at their own pace."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from wxauth_server.store.revocation_log import LoggedRevocation, LogPosition

#: Newest entries that are kept for those who fall behind or come back: 10 MB.
REMEMBERED = 50_000


class LogRead(NamedTuple):
    """What a read of the log to its end found."""

    #: `boot_time_s` just before it began: what was committed by then is in it.
    as_of_s: float
    end: LogPosition
    #: All there are behind `first`, without a gap.
    entries: Sequence[LoggedRevocation]
    first: int
    #: They follow what was known before the read.
    continues: bool


class LogUpdate(NamedTuple):
    """What there is to know since the update before."""

    #: Nothing known from before counts: it is of another log, or some of what followed
    #: it is gone.
    reset: bool
    #: All others, in the order of their commits.
    entries: Sequence[LoggedRevocation]
    #: Whoever has applied this knows all that was committed by then, on the clock of
    #: `wxauth_client.boot_clock`.
    as_of_s: float
    #: Where whoever knows this may resume.
    end: LogPosition


class RememberedLog:
    """The entries of the last reads, without a gap. For one event loop."""

    def __init__(self) -> None:
        self.last: LogRead | None = None
        #: Another number when what is known now does not follow what was known.
        self.generation = 0
        #: Everything behind this position is remembered.
        self.first = 0
        self._entries: deque[LoggedRevocation] = deque()
        self._news = asyncio.Event()

    def learn(self, read: LogRead) -> None:
        """Take in what a read found, and wake whoever waits for it."""
        if not read.continues:
            self.generation += 1
            self.first = read.first
            self._entries.clear()
        self._entries.extend(read.entries)
        while len(self._entries) > REMEMBERED:
            self.first = self._entries.popleft().position
        self.last = read._replace(entries=())
        if read.entries or not read.continues:
            self._news.set()
            self._news.clear()

    def newest(self, count: int) -> Sequence[LoggedRevocation]:
        """So many of the newest entries, oldest first."""
        return tuple(islice(reversed(self._entries), count))[::-1]

    async def news(self) -> None:
        """Wait for a read that finds more than a later time."""
        await self._news.wait()


class Follower:
    """One that follows the log; it takes no memory when it is slow.

    `resume` is the end of an update that it had before, of this server or another.
    """

    def __init__(self, log: RememberedLog, resume: LogPosition | None = None) -> None:
        self._log = log
        self._resume = resume
        self._generation: int | None = None
        self._position = 0

    @property
    def as_of_s(self) -> float | None:
        """That of an update that is taken now; None before the log was first read."""
        return None if self._log.last is None else self._log.last.as_of_s

    def take(self) -> LogUpdate | None:
        """What there is since the update before; None before the log was first read.

        The first one is a reset, unless it resumes where the log is still remembered.
        """
        log = self._log
        if log.last is None:
            return None
        end = log.last.end
        if self._resume is not None:
            if self._resume.database_id == end.database_id:
                self._generation = log.generation
            self._position = self._resume.position
            self._resume = None
        known = self._generation == log.generation and log.first <= self._position <= end.position
        entries = log.newest(end.position - self._position) if known else ()
        self._generation, self._position = log.generation, end.position
        return LogUpdate(not known, entries, log.last.as_of_s, end)

    async def news(self) -> None:
        """Wait until there is more to take than a later `as_of_s`."""
        while not self._has_news():
            await self._log.news()

    def _has_news(self) -> bool:
        log = self._log
        return log.last is not None and (
            self._generation != log.generation or self._position != log.last.end.position
        )
