"""Reads the revocation log to its end, again and again, for all that follow it.

What was committed before a read began is in it, so whoever has applied a read may
answer from memory as of that moment. Nothing else says so: a read that fails or
hangs tells nobody anything, and their leases end by themselves.
"""

from __future__ import annotations

import asyncio
import logging

from wxauth_client.boot_clock import boot_time_s
from wxauth_server.errors import AuthError
from wxauth_server.pools import BoundedPool
from wxauth_server.revocations.remembered_log import Follower, LogRead, RememberedLog
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.revocation_log import (
    LoggedRevocation,
    LogPosition,
    end_of_log,
    read_log,
)

log = logging.getLogger("wxauth.store")

#: Seconds from the begin of one read to that of the next (design.md section 6).
INTERVAL_S = 0.2
#: Entries of one statement.
READ_AT_ONCE = 1_000
#: Newest entries of one read, 0.1 s: a server that starts and one that was held up go on
#: from there. More would take as long as the store has patience with a transaction.
READ_AT_MOST = 10_000


class RevocationLogReader:
    """A task of the running event loop that reads the log of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Its own thread: a read must not wait for other work, nor other work for it.
        self._pool = BoundedPool("revocations", threads=1, capacity=1)
        self._log = RememberedLog()
        self._failing = False

    def follow(self, resume: LogPosition | None = None) -> Follower:
        """Follow the log from its end on, or from where it was followed before."""
        return Follower(self._log, resume)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop after the read that runs."""
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._pool.close()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begun_s = loop.time()
            await self._read()
            await asyncio.sleep(max(0.0, begun_s + INTERVAL_S - loop.time()))

    async def _read(self) -> None:
        known = None if self._log.last is None else self._log.last.end
        try:
            self._log.learn(await self._pool.run(_read_to_end, self._store, known))
        except AuthError as error:
            if not self._failing:
                log.warning("revocation log not read", extra={"reason": error.reason_name()})
            self._failing = True
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the task
            if not self._failing:
                fault = type(error).__qualname__
                log.error("revocation log not read", extra={"fault": fault})  # noqa: TRY400
            self._failing = True
        else:
            if self._failing:
                log.info("revocation log read again")
            self._failing = False


def _read_to_end(store: Store, known: LogPosition | None) -> LogRead:
    # The time is taken before the transaction begins, also when it begins once more.
    as_of_s = boot_time_s()
    return store.read(lambda tx: _read_behind(tx, known, as_of_s))


def _read_behind(tx: Transaction, known: LogPosition | None, as_of_s: float) -> LogRead:
    """The log from behind what is known to its end, or else the newest of it."""
    end = end_of_log(tx)
    if known == end:
        return LogRead(as_of_s, end, (), end.position, continues=True)
    after = max(0, end.position - READ_AT_MOST)
    if known is not None and known.database_id == end.database_id:
        after = max(after, min(known.position, end.position))
    entries: list[LoggedRevocation] = []
    while page := read_log(tx, after=after, limit=READ_AT_ONCE):
        entries += page
        after = page[-1].position
    # The purge leaves gaps, and takes new ones too when a clock is wrong.
    first = end.position
    for entry in reversed(entries):
        if entry.position != first:
            break
        first -= 1
    return LogRead(
        as_of_s,
        end,
        entries[len(entries) - (end.position - first) :],
        first,
        continues=known == LogPosition(end.database_id, first),
    )
