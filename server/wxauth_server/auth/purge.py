"""Removes rows whose time is over, and what tells of users who have left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from wxauth_server.accounts.throttle import FORGET_NAME_MS, FORGET_USER_MS
from wxauth_server.apps import Apps
from wxauth_server.auth.erase_traces import erase_traces
from wxauth_server.auth.pseudonyms import Pseudonyms
from wxauth_server.clock import Clock
from wxauth_server.errors import AuthError
from wxauth_server.pools import Pools
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.purge import (
    apps_with_ended_sessions,
    delete_sessions,
    finish_end_of_app,
    forget_events,
    forget_revocations,
    next_old_sessions,
)
from wxauth_server.store.throttles import forget_throttles

log = logging.getLogger("wxauth.server")

_DAY_MS = 86_400_000

#: How long after its absolute limit a session's client is still told why it ended
#: (design.md section 5). A clock that is wrong by less purges no live session.
DEAD_SESSION_KEPT_MS = 7 * _DAY_MS
#: The absolute limit of apps that are no longer configured: the longest there can be.
LONGEST_ABSOLUTE_MS = 365 * _DAY_MS
#: How long the revocation log keeps an entry, for those who come back and read on
#: (design.md section 6).
REVOCATION_KEPT_MS = 3_600_000
#: How long an operator who ends all sessions of an app is left to it; a login that was
#: under way at that moment has long been stored or given up. The clocks of servers that
#: share a database differ by far less.
END_OF_APP_LEFT_MS = 60_000
#: Seconds between two rounds.
INTERVAL_S = 60.0
#: Rows of one transaction, so that logins write in between. To delete a session takes
#: 0.1 ms and more: it lies in a random place of four trees.
ROWS_AT_ONCE = 200
#: Transactions of one kind in a round; the next round goes on.
MOST_AT_ONCE = 500

_BEGINNING = (-1, b"")


class Purger:
    """A task of the running event loop that purges, a little at a time.

    `audit_kept_ms` is how long audit events are kept; None: for ever.
    """

    def __init__(
        self,
        *,
        apps: Apps,
        pseudonyms: Pseudonyms,
        store: Store,
        clock: Clock,
        pools: Pools,
        audit_kept_ms: int | None,
    ) -> None:
        self._absolute_ms = {app.app_id: app.limits.absolute_ms for app in apps}
        self._pseudonyms = pseudonyms
        self._store = store
        self._clock = clock
        self._pools = pools
        self._audit_kept_ms = audit_kept_ms
        # Behind which session the look at the old ones goes on.
        self._after = _BEGINNING

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def purge(self) -> None:
        """One round. Raises: StoreUnavailable, Overloaded; what was purged by then is so."""
        now_ms = self._clock.now_ms()
        await self._in_batches(
            "traces of users who left",
            partial(erase_traces, pseudonyms=self._pseudonyms, now_ms=now_ms, limit=ROWS_AT_ONCE),
        )
        await self._finish_ends_of_apps(now_ms)
        await self._purge_sessions(now_ms)
        await self._in_batches(
            "revocations",
            partial(forget_revocations, before_ms=now_ms - REVOCATION_KEPT_MS, limit=ROWS_AT_ONCE),
        )
        for of_names, kept_ms in ((False, FORGET_USER_MS), (True, FORGET_NAME_MS)):
            await self._in_batches(
                "failures on names" if of_names else "failures of users",
                partial(
                    forget_throttles,
                    of_names=of_names,
                    before_ms=now_ms - kept_ms,
                    limit=ROWS_AT_ONCE,
                ),
            )
        if self._audit_kept_ms is not None:
            before_ms = now_ms - self._audit_kept_ms
            await self._in_batches(
                "audit events",
                partial(forget_events, before_ms=before_ms, limit=ROWS_AT_ONCE),
            )

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.purge()
            except AuthError as error:
                log.warning("not purged yet", extra={"reason": error.reason_name()})
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the task
                log.error("not purged", extra={"fault": type(error).__qualname__})  # noqa: TRY400

    async def _in_batches(self, kind: str, batch: Callable[[Transaction], int]) -> None:
        purged = 0
        try:
            for _ in range(MOST_AT_ONCE):
                rows = await self._pools.writer.run(self._store.write, batch)
                purged += rows
                if rows < ROWS_AT_ONCE:
                    break
        finally:
            _tell(kind, purged)

    async def _finish_ends_of_apps(self, now_ms: int) -> None:
        # An operator's command may have been stopped half-way.
        app_ids = await self._pools.readers.run(
            self._store.read,
            partial(apps_with_ended_sessions, now_ms=now_ms, left_ms=END_OF_APP_LEFT_MS),
        )
        for app_id in app_ids:
            await self._in_batches(
                "ends of sessions",
                partial(finish_end_of_app, app_id=app_id, limit=ROWS_AT_ONCE),
            )

    async def _purge_sessions(self, now_ms: int) -> None:
        # A reader looks, by login: apps have limits of their own, and the writer would
        # hold up logins over the rows that stay.
        shortest_ms = min([*self._absolute_ms.values(), LONGEST_ABSOLUTE_MS])
        before_ms = now_ms - shortest_ms - DEAD_SESSION_KEPT_MS
        purged = 0
        try:
            for _ in range(MOST_AT_ONCE):
                page = await self._pools.readers.run(
                    self._store.read,
                    partial(
                        next_old_sessions,
                        after=self._after,
                        before_ms=before_ms,
                        limit=ROWS_AT_ONCE,
                    ),
                )
                dead = [
                    (old.digest, dead_before_ms)
                    for old in page
                    if old.login_at < (dead_before_ms := self._dead_before_ms(old.app_id, now_ms))
                ]
                if dead:
                    purged += await self._pools.writer.run(
                        self._store.write, partial(delete_sessions, dead=dead)
                    )
                if len(page) < ROWS_AT_ONCE:
                    self._after = _BEGINNING
                    break
                self._after = (page[-1].login_at, page[-1].digest)
        finally:
            _tell("sessions", purged)

    def _dead_before_ms(self, app_id: str, now_ms: int) -> int:
        absolute_ms = self._absolute_ms.get(app_id, LONGEST_ABSOLUTE_MS)
        return now_ms - absolute_ms - DEAD_SESSION_KEPT_MS


def _tell(kind: str, rows: int) -> None:
    if rows:
        log.info("purged", extra={"kind": kind, "rows": rows})
