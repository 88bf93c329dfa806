"""Tells the company's own account systems who has left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from wxauth_server.accounts.sources.source import LOCAL, AccountSource
from wxauth_server.clock import Clock
from wxauth_server.deadline import Deadline
from wxauth_server.errors import AuthError
from wxauth_server.pools import Pools
from wxauth_server.store.deleted_accounts import (
    UntoldDeletion,
    is_untold_deletion,
    list_untold_deletions,
    note_deletion_told,
)
from wxauth_server.store.interface import Store

log = logging.getLogger("wxauth.server")

#: Seconds between two rounds; one begins at once when somebody has left.
INTERVAL_S = 60.0
#: For a source to answer, seconds: nobody waits for it.
PATIENCE_S = 10.0
#: Pauses after the failures of one deletion, milliseconds: 1 min, 2 min, 4 min, …
FIRST_PAUSE_MS = 60_000
LONGEST_PAUSE_MS = 3_600_000
#: Deletions of one round and source.
_AT_ONCE = 100


class DeletionTeller:
    """A task of the running event loop that tells, until each source has heard."""

    def __init__(
        self,
        *,
        sources: Mapping[str, AccountSource],
        store: Store,
        clock: Clock,
        pools: Pools,
    ) -> None:
        # Our own store has nothing to be told.
        self._sources = {name: each for name, each in sources.items() if name != LOCAL}
        self._store = store
        self._clock = clock
        self._pools = pools
        self._somebody_left = asyncio.Event()
        # Failures, and when to try again. Lost in a restart: it is tried at once then.
        self._paused: dict[UntoldDeletion, tuple[int, int]] = {}

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    def wake(self) -> None:
        """Somebody has left."""
        self._somebody_left.set()

    async def tell(self) -> None:
        """One round. Raises: StoreUnavailable, Overloaded."""
        for name, source in self._sources.items():
            for deletion in await self._due(name):
                if not await self._tell(source, deletion):
                    break  # the next ones would wait for the same; their turn comes

    async def _run(self) -> None:
        while True:
            self._somebody_left.clear()
            try:
                await self.tell()
            except AuthError as error:
                log.warning("deletions not told yet", extra={"reason": error.reason_name()})
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the task
                log.error("deletions not told", extra={"fault": type(error).__qualname__})  # noqa: TRY400
            try:
                async with asyncio.timeout(INTERVAL_S):
                    await self._somebody_left.wait()
            except TimeoutError:
                continue

    async def _due(self, source: str) -> list[UntoldDeletion]:
        limit = len(self._paused) + _AT_ONCE
        found = await self._pools.readers.run(
            self._store.read, lambda tx: list_untold_deletions(tx, source, limit=limit)
        )
        if len(found) < limit:  # those that came back need not be told any more
            for gone in {each for each in self._paused if each.source == source} - {*found}:
                del self._paused[gone]
        now_ms = self._clock.now_ms()
        return [each for each in found if self._paused.get(each, (0, 0))[1] <= now_ms]

    async def _tell(self, source: AccountSource, deletion: UntoldDeletion) -> bool:
        """Whether the source has heard."""
        still = await self._pools.readers.run(
            self._store.read, lambda tx: is_untold_deletion(tx, deletion)
        )
        if not still:  # the user has begun anew, while others were being told
            return True
        try:
            await source.tell_deleted(deletion.id, Deadline(PATIENCE_S))
        except AuthError as error:
            failures = self._paused.get(deletion, (0, 0))[0] + 1
            pause_ms = min(FIRST_PAUSE_MS << min(failures - 1, 30), LONGEST_PAUSE_MS)
            self._paused[deletion] = (failures, self._clock.now_ms() + pause_ms)
            log.warning(
                "account source not told of a deletion yet",
                extra={
                    "source": source.name,
                    "reason": error.reason_name(),
                    "failures": failures,
                    "next_try_s": pause_ms // 1000,
                },
            )
            return False
        now_ms = self._clock.now_ms()
        await self._pools.writer.run(
            self._store.write, lambda tx: note_deletion_told(tx, deletion, now_ms=now_ms)
        )
        self._paused.pop(deletion, None)
        return True
