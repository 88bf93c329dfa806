"""Counts the refusals that came before any work, for the audit log, in the background.

A row for each of them would let whoever floods the server fill its disk. They are
noted in memory, and written every few seconds as one event for each minute and
whatever is told about them, with a count.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
import socket
from dataclasses import dataclass, field
from typing import NamedTuple

from wxauth_server.clock import Clock
from wxauth_server.errors import AuthError
from wxauth_server.pools import BoundedPool
from wxauth_server.store.audit import Event, count_refusals
from wxauth_server.store.interface import Store, Transaction

log = logging.getLogger("wxauth.store")

#: Seconds between two flushes: what a crash can lose.
FLUSH_INTERVAL_S = 5.0
#: WeChat users and addresses told apart in one minute. What is beyond is counted by
#: event, reason and app alone. A row takes 250 bytes of the database with its indexes
#: (measured), so that a flood adds 0.25 MB a minute and no more.
MOST_APART = 1_000
#: The same for all that waits while the store fails; 340 bytes of memory each (measured).
MOST_WAITING = 10_000
#: Rows of one transaction, some 10 ms, so that a login never waits long.
_AT_ONCE = 250

_MINUTE_MS = 60_000
# RFC 4291 section 2.5.5.2.
_IPV4_MAPPED = bytes(10) + b"\xff\xff"


class _Refusal(NamedTuple):
    """What is told about a refusal. Texts are empty where nothing is known."""

    event: Event
    reason: str
    app_id: str
    openid: str
    client_address: str


@dataclass(eq=False)
class _Minute:
    """A minute's refusals. A clock that is set back makes another one of the same minute."""

    begin_ms: int
    counts: dict[_Refusal, int] = field(default_factory=dict)
    # Nobody else writes these rows: not another server, not this one after a restart.
    # So a write sets the count and may be repeated, however the first one ended.
    nonce: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    def key_of(self, refusal: _Refusal) -> bytes:
        told = "\0".join((str(self.begin_ms), *refusal))
        return hashlib.sha256(self.nonce + told.encode()).digest()


class RefusalCounts:
    """Refusals of this minute, and those that are due to be written. For one event loop."""

    def __init__(self, store: Store, writer_pool: BoundedPool, clock: Clock) -> None:
        self._store = store
        self._writer_pool = writer_pool
        self._clock = clock
        self._minute = _Minute(0)
        self._due: dict[tuple[_Minute, _Refusal], int] = {}
        self._task: asyncio.Task[None] | None = None

    def note(
        self,
        event: Event,
        *,
        reason: str,
        app_id: str = "",
        openid: str = "",
        client_address: str = "",
    ) -> None:
        """Count a refusal that has no audit event of its own; 3 to 9 microseconds.

        `app_id` is one that is configured: what a caller makes up would be told
        apart without end. Of an IPv6 address the network is kept.
        """
        now_ms = self._clock.now_ms()
        begin_ms = now_ms - now_ms % _MINUTE_MS
        if begin_ms != self._minute.begin_ms:
            self._minute = _Minute(begin_ms)
        counts = self._minute.counts
        refusal = _Refusal(event, reason, app_id, openid, network_of(client_address))
        if refusal not in counts and (len(counts) >= MOST_APART or len(self._due) >= MOST_WAITING):
            refusal = _Refusal(event, reason, app_id, "", "")
        counts[refusal] = self._due[self._minute, refusal] = counts.get(refusal, 0) + 1

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
        due = list(self._due.items())
        for begin in range(0, len(due), _AT_ONCE):
            batch = due[begin : begin + _AT_ONCE]
            try:
                await self._writer_pool.run(
                    self._store.write, lambda tx, batch=batch: _write(tx, batch)
                )
            except AuthError as error:
                log.warning("refusals not counted yet", extra={"reason": error.reason_name()})
                return
            for noted, count in batch:
                if self._due.get(noted) == count:
                    del self._due[noted]

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            try:
                await self.flush()
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the task
                log.error("refusals not counted", extra={"fault": type(error).__qualname__})  # noqa: TRY400


def network_of(address: str) -> str:
    """The address itself, or the /64 of an IPv6 address: one subscriber has all of those.

    An IPv4 address that is written as an IPv6 one is that IPv4 address; of what looks
    like an IPv6 address and is none, nothing is kept.
    """
    if ":" not in address:
        return address
    # Ten times as fast as ipaddress: this runs on the event loop for every refusal.
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):
        return ""
    if packed.startswith(_IPV4_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return f"{socket.inet_ntop(socket.AF_INET6, packed[:8] + bytes(8))}/64"


def _write(tx: Transaction, batch: list[tuple[tuple[_Minute, _Refusal], int]]) -> None:
    for (minute, refusal), count in batch:
        count_refusals(
            tx,
            refusal.event,
            count_key=minute.key_of(refusal),
            minute_ms=minute.begin_ms,
            count=count,
            reason=refusal.reason,
            app_id=refusal.app_id,
            openid=refusal.openid,
            client_address=refusal.client_address,
        )
