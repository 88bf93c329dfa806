"""Erases what has served its time: exchanges after five minutes, and each session_key
with the last live session of its WeChat user.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from wxauth_server.apps import App, Apps
from wxauth_server.clock import Clock
from wxauth_server.errors import AuthError
from wxauth_server.pools import Pools
from wxauth_server.store.exchanges import forget_exchanges
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.session_keys import erase_session_key_without_session, next_session_keys

log = logging.getLogger("wxauth.server")

#: As long as WeChat's codes live (wechat-api.md section 2): a later replay is 40029 there.
EXCHANGE_KEPT_MS = 300_000
#: Seconds between two rounds. OWASP ASVS 5.0 6.5.5 allows a code ten minutes.
INTERVAL_S = 30.0
#: Rows of one transaction: some milliseconds. All exchanges whose time has come go in
#: one round; of the session_keys of an app so many are looked at in each, so that a
#: million WeChat users take 4 hours. A logout or an unbind erases at once by itself.
ROWS_AT_ONCE = 2_000
#: session_keys erased in one transaction: on PostgreSQL each is a way there and back,
#: and logins of those users wait.
ERASED_AT_ONCE = 200


class SecretEraser:
    """A task of the running event loop that erases, a little at a time."""

    def __init__(self, *, apps: Apps, store: Store, clock: Clock, pools: Pools) -> None:
        self._apps = apps
        self._store = store
        self._clock = clock
        self._pools = pools
        # Where the next round goes on, by app.
        self._after: dict[str, str] = {}

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def erase(self) -> None:
        """One round. Raises: StoreUnavailable, Overloaded."""
        before_ms = self._clock.now_ms() - EXCHANGE_KEPT_MS
        forgotten = ROWS_AT_ONCE
        while forgotten == ROWS_AT_ONCE:  # a little at a time: logins write in between
            forgotten = await self._pools.writer.run(
                self._store.write,
                lambda tx: forget_exchanges(tx, before_ms=before_ms, limit=ROWS_AT_ONCE),
            )
        for app in self._apps:
            await self._erase_session_keys(app)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.erase()
            except AuthError as error:
                log.warning("secrets not erased yet", extra={"reason": error.reason_name()})
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the task
                log.error("secrets not erased", extra={"fault": type(error).__qualname__})  # noqa: TRY400

    async def _erase_session_keys(self, app: App) -> None:
        now_ms = self._clock.now_ms()
        limits = app.limits
        found = await self._pools.readers.run(
            self._store.read,
            lambda tx: next_session_keys(
                tx,
                app.app_id,
                after_openid=self._after.get(app.app_id, ""),
                idle_ms=limits.idle_ms,
                absolute_ms=limits.absolute_ms,
                now_ms=now_ms,
                limit=ROWS_AT_ONCE,
            ),
        )
        self._after[app.app_id] = found[-1][0] if len(found) == ROWS_AT_ONCE else ""
        without = [openid for openid, live in found if not live]

        def transaction(tx: Transaction, openids: list[str]) -> None:
            for openid in openids:  # looked at again: they may have logged in meanwhile
                erase_session_key_without_session(
                    tx,
                    app.app_id,
                    openid,
                    idle_ms=limits.idle_ms,
                    absolute_ms=limits.absolute_ms,
                    now_ms=now_ms,
                )

        for begin in range(0, len(without), ERASED_AT_ONCE):
            batch = partial(transaction, openids=without[begin : begin + ERASED_AT_ONCE])
            await self._pools.writer.run(self._store.write, batch)
