"""Moves the idle limit of sessions that are in use, in the background.

A validation only notes here that it happened; the write comes later and for
many sessions at once, so that validating is never a write in the request's path.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from wxauth_server.errors import AuthError
from wxauth_server.pools import BoundedPool
from wxauth_server.store.interface import Store
from wxauth_server.store.sessions import touch_sessions

log = logging.getLogger("wxauth.store")

#: Seconds between two flushes. Small against every idle limit (60 s or more).
FLUSH_INTERVAL_S = 1.0
#: Sessions of one transaction, so that a login never waits long behind it.
_AT_ONCE = 50


class LastSeen:
    """Sessions whose last_seen is due to be written. For one event loop."""

    def __init__(self, store: Store, writer_pool: BoundedPool) -> None:
        self._store = store
        self._writer_pool = writer_pool
        self._due: dict[bytes, tuple[int, int]] = {}
        self._task: asyncio.Task[None] | None = None

    def note(self, digest: bytes, *, seen_at_ms: int, idle_ms: int) -> None:
        """Have this session's last_seen written with the next flush."""
        self._due[digest] = (seen_at_ms, idle_ms)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Write what is due and stop."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.flush()

    async def flush(self) -> None:
        """Write everything that is due now. A failure is logged; what failed stays due."""
        while self._due:
            batch = dict(list(self._due.items())[:_AT_ONCE])
            # In one order, so that servers that share a database wait for each other's rows
            # and never in a circle.
            seen = sorted((digest, seen_at, idle) for digest, (seen_at, idle) in batch.items())
            try:
                await self._writer_pool.run(
                    self._store.write, lambda tx, seen=seen: touch_sessions(tx, seen)
                )
            except AuthError as error:
                log.warning("last_seen not written", extra={"reason": error.reason_name()})
                return
            for digest, value in batch.items():
                if self._due.get(digest) == value:
                    del self._due[digest]

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            try:
                await self.flush()
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the task
                log.error("last_seen not written", extra={"fault": type(error).__qualname__})  # noqa: TRY400
