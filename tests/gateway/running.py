"""Gateways on free ports of the loopback, served by uvicorn as in production."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import uvicorn

from wxauth_gateway.serve import uvicorn_config
from wxauth_gateway.settings import GatewaySettings


@contextmanager
def running_gateways(
    settings: Sequence[GatewaySettings], loop: asyncio.AbstractEventLoop
) -> Iterator[list[tuple[str, int]]]:
    """Serve one gateway for each on `loop` until the block ends; gives the addresses."""
    with ExitStack() as stack:
        # They listen already: whoever connects early waits in the backlog.
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in settings]
        servers = [uvicorn.Server(uvicorn_config(each)) for each in settings]
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
