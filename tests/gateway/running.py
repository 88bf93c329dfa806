"""Gateways on free ports of the loopback, served by uvicorn as in production."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from wxauth_gateway.listening import Server
from wxauth_gateway.serve import uvicorn_config
from wxauth_gateway.settings import GatewaySettings


@contextmanager
def running_gateways(
    settings: Sequence[GatewaySettings],
    loop: asyncio.AbstractEventLoop,
    *,
    send_buffer: int | None = None,
) -> Iterator[list[tuple[str, int]]]:
    """Serve one gateway for each on `loop` until the block ends; gives the addresses.

    `send_buffer` are the bytes that the kernel keeps for a client that does not read.
    """
    with ExitStack() as stack:
        # They listen already: whoever connects early waits in the backlog.
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in settings]
        if send_buffer is not None:
            for listener in listeners:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        servers = [Server(uvicorn_config(each)) for each in settings]
        serving = [
            asyncio.run_coroutine_threadsafe(server.serve(sockets=[listener]), loop)
            for server, listener in zip(servers, listeners, strict=True)
        ]
        try:
            yield [listener.getsockname() for listener in listeners]
        finally:
            for server in servers:
                server.should_exit = True
            for done in serving:
                done.result(timeout=20)


def wait_for(what: Callable[[], bool]) -> None:
    """Look every 20 ms until it is so, for 10 s."""
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline, "not within 10 s"
        time.sleep(0.02)
