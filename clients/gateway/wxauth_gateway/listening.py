"""Accepting connections within bounds: how many there are, how long a TLS handshake takes.

asyncio's own servers know no number of connections, and uvicorn leaves them their
60 s for a handshake.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import ssl
import time
from typing import Any

import uvicorn
from uvicorn.server import ServerState

logger = logging.getLogger("wxauth.gateway")

#: Handshakes included. Of a client that keeps its connection this is about 100 KB.
MAX_CONNECTIONS = 2_000
#: Two round trips and a signature; asyncio's default is 60 s.
TLS_HANDSHAKE_TIMEOUT_S = 10.0
#: For what is unsent and the client's goodbye; asyncio's default is 30 s.
TLS_SHUTDOWN_TIMEOUT_S = 5.0

# Descriptors that are left for everything else: files, the gRPC server, the log.
_OTHER_DESCRIPTORS = 128
# As asyncio waits when it is out of descriptors.
_ACCEPT_AGAIN_S = 1.0
_WARN_AGAIN_S = 60.0


class Connections(ServerState):
    """uvicorn's state of a server, which each connection gets, and what it leaves out of it."""

    def __init__(self) -> None:
        super().__init__()
        #: Those that are not made yet, for their handshake.
        self.opening: set[Any] = set()
        #: Those between two requests, the longest idle first.
        self.idle: dict[Any, None] = {}


class Server(uvicorn.Server):
    """uvicorn as it is, but that it accepts connections within bounds, on given sockets only.

    When there are MAX_CONNECTIONS, a new one takes the place of the one that has
    been idle longest: clients open those again by themselves. If none is idle, the
    new one is closed without an answer. One would cost a TLS handshake first; and a
    proxy in front takes this for what it is, and tries the next gateway.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state: Connections = Connections()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._max_connections = _max_connections()
        self._warned_at = -_WARN_AGAIN_S

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if sockets is None:
            raise ValueError("give the sockets to listen on")
        await super().startup(sockets=[])  # on none: it would accept without bounds
        # uvicorn closes them, and waits for them to be closed.
        self.servers = [_Listener(self, each) for each in sockets]  # type: ignore[misc]

    def take(self, connection: socket.socket) -> None:
        """Serve a connection that was accepted, or close it."""
        state = self.server_state
        if len(state.connections) + len(state.opening) >= self._max_connections:
            if not state.idle:
                connection.close()
                self._warn()
                return
            next(iter(state.idle)).make_room()
        # As uvicorn makes it.
        protocol = self.config.http_protocol_class(
            config=self.config,  # type: ignore[call-arg]
            server_state=state,
            app_state=self.lifespan.state,
        )
        state.opening.add(protocol)
        task = asyncio.create_task(self._open(connection, protocol))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def end_handshakes(self) -> None:
        """Of those that are under way."""
        for task in self._handshakes:
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    async def _open(self, connection: socket.socket, protocol: asyncio.Protocol) -> None:
        timeouts = {}
        if self.config.ssl is not None:
            timeouts["ssl_handshake_timeout"] = TLS_HANDSHAKE_TIMEOUT_S
            timeouts["ssl_shutdown_timeout"] = TLS_SHUTDOWN_TIMEOUT_S
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, connection, ssl=self.config.ssl, **timeouts
            )
        except OSError as error:
            # As whoever looks for the wrong certificate needs it; nothing that was sent.
            reason = getattr(error, "reason", None) if isinstance(error, ssl.SSLError) else None
            logger.info("no TLS handshake: %s", reason or type(error).__name__)
        finally:
            self.server_state.opening.discard(protocol)

    def _warn(self) -> None:
        now = time.monotonic()
        if now - self._warned_at >= _WARN_AGAIN_S:
            self._warned_at = now
            logger.warning(
                "%d connections are open and busy: new ones are closed. Told once a minute.",
                self._max_connections,
            )


class _Listener:
    """Accepts from one socket; what uvicorn asks of an asyncio.Server."""

    def __init__(self, server: Server, listener: socket.socket) -> None:
        listener.setblocking(False)
        self._server = server
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept())

    def close(self) -> None:
        self._accepting.cancel()

    async def wait_closed(self) -> None:
        await asyncio.wait([self._accepting])
        await self._server.end_handshakes()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except ConnectionAbortedError:  # by the client, while it waited
                continue
            except OSError as error:
                reason = os.strerror(error.errno or 0)
                logger.error("no connection can be accepted: %s", reason)  # noqa: TRY400
                await asyncio.sleep(_ACCEPT_AGAIN_S)
                continue
            self._server.take(connection)


def _max_connections() -> int:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(1, min(MAX_CONNECTIONS, descriptors - _OTHER_DESCRIPTORS))
