"""A store whose reads can be held, and scenarios of those who wait for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import pytest
import uvloop

from wxauth_server.store.interface import Store
from wxauth_server.store.sessions import SessionRecord
from wxauth_server.store.shared_reads import SharedReads


def record(digest: bytes) -> SessionRecord:
    return SessionRecord(
        digest=digest,
        handle=digest.hex(),
        app_id="wx1",
        openid="o",
        login_at=1,
        last_seen_at=1,
        ended_at=None,
        ended_cause=None,
        account_source="local",
        account_id="1",
        username=None,
        display_name=None,
        unionid=None,
    )


LOOPS = pytest.mark.parametrize(
    "loop_factory",
    [
        pytest.param(asyncio.new_event_loop, id="asyncio"),
        pytest.param(uvloop.new_event_loop, id="uvloop"),
    ],
)


class HeldStore:
    """A store whose reads can be held: they have seen what they see, and do not return."""

    def __init__(self) -> None:
        self.known: set[bytes] = set()
        self.calls: list[list[bytes]] = []
        self.failures: list[Exception] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.go.set()

    def read_sessions(self, digests: Sequence[bytes]) -> Mapping[bytes, SessionRecord]:
        self.calls.append(list(digests))
        found = {digest: record(digest) for digest in digests if digest in self.known}
        self.begun.release()
        assert self.go.wait(10)
        if self.failures:
            raise self.failures.pop(0)
        return found

    async def has_begun(self) -> None:
        """One more read has."""
        assert await asyncio.to_thread(self.begun.acquire, timeout=10)


Scenario = Callable[[HeldStore, SharedReads], Awaitable[None]]


def run(scenario: Scenario, *, loop_factory: Callable[[], Any] | None = None) -> HeldStore:
    """Play a scenario to its end; the store that it was played on."""
    store = HeldStore()

    async def play() -> None:
        reads = SharedReads(cast("Store", store))
        try:
            await scenario(store, reads)
        finally:
            store.go.set()
            await reads.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(play())
    return store


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")
