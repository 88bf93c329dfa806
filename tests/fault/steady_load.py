"""Clients that call without a pause while something is changed under them, and what they saw."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from tests.certificates import Issued
from tests.fault.calls import ended
from wxauth.v1.auth_service_pb2 import ValidateSessionRequest
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub

#: What is awaited takes a second or two; on a machine that is busy, longer.
PATIENCE_S = 30.0
#: Long: a call that fails is to fail by what the test does, not by a busy machine.
CALL_TIMEOUT_S = 10.0
#: Between two looks at what is awaited.
POLL_S = 0.01

#: Makes one call; "OK", or the reason of its failure.
OneCall = Callable[[], Awaitable[str]]


@dataclass
class SteadyLoad:
    """What became of the calls of each client."""

    calls: Counter[str] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        return self.failures.total()

    def __str__(self) -> str:
        return (
            f"{self.calls.total()} calls {dict(self.calls)}, {self.failed} failed "
            f"{dict(self.failures)}"
        )

    async def another_call_of_each(self) -> None:
        """Wait until every client has made a call that began after this."""
        before = self.calls.copy()
        # The second to end from now on is one that began later.
        await until(
            lambda: all(self.calls[client] >= before[client] + 2 for client in before),
            "every client calls",
        )


@contextlib.asynccontextmanager
async def steady_load(clients: Mapping[str, OneCall]) -> AsyncIterator[SteadyLoad]:
    """Each client calls, and calls again as soon as it has its answer, until the block ends."""
    load = SteadyLoad(Counter(dict.fromkeys(clients, 0)))

    ending = False

    async def call(name: str, once: OneCall) -> None:
        while not ending:
            reason = await once()
            if reason != "OK":
                load.failures[name, reason] += 1
            load.calls[name] += 1

    tasks = [asyncio.create_task(call(name, once)) for name, once in clients.items()]
    try:
        await load.another_call_of_each()
        yield load
    finally:
        ending = True  # not cancelled: how the last calls end counts too
        await asyncio.gather(*tasks)


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until it holds; looks a hundred times a second, gives up after PATIENCE_S."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"not within {PATIENCE_S} s: {what}"
        await asyncio.sleep(POLL_S)


def channel_credentials(ca: Path, own: Issued | None = None) -> grpc.ChannelCredentials:
    if own is None:
        return grpc.ssl_channel_credentials(ca.read_bytes())
    return grpc.ssl_channel_credentials(
        ca.read_bytes(), own.key.read_bytes(), own.certificate.read_bytes()
    )


def open_channel(address: str, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
    """With a connection of its own, and no second attempt at a call that failed."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    return grpc.aio.secure_channel(address, credentials, options=options)


def validation(channel: grpc.aio.Channel, session_id: str, token: str = "") -> OneCall:
    """A validation over this channel; it sends the token if there is one."""
    stub = AuthServiceStub(channel)
    request = ValidateSessionRequest(session_id=session_id)
    metadata = (("authorization", f"Bearer {token}"),) if token else ()

    async def once() -> str:
        answer = await ended(
            lambda: stub.ValidateSession(request, timeout=CALL_TIMEOUT_S, metadata=metadata)
        )
        return answer.reason

    return once


def validation_reconnecting(
    address: str, credentials: grpc.ChannelCredentials, session_id: str, token: str = ""
) -> OneCall:
    """A validation over a connection, and so by a handshake, of its own each time."""

    async def once() -> str:
        async with open_channel(address, credentials) as channel:
            return await validation(channel, session_id, token)()

    return once
