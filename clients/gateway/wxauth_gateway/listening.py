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

#: TLS handshakes included. Of a client that keeps its connection this is about 100 KB.
MAX_CONNECTIONS = 2_000
#: Two round trips and a signature; asyncio's default is 60 s.
TLS_HANDSHAKE_TIMEOUT_S = 10.0
#: For what is unsent and the client's goodbye; asyncio's default is 30 s.
TLS_SHUTDOWN_TIMEOUT_S = 5.0

# The part of them that is for handshakes alone, however many connections there are.
_HANDSHAKES_SHARE = 4

# Descriptors that are left for everything else: files, the gRPC server, the log.
_OTHER_DESCRIPTORS = 128
# As asyncio waits when it is out of descriptors.
_ACCEPT_AGAIN_S = 1.0
_WARN_AGAIN_S = 60.0
_BUSY = "%d connections are open and busy: new ones are closed. Told once a minute."
_HANDSHAKES = "%d TLS handshakes are under way: a new one ends the oldest. Told once a minute."


class Connections(ServerState):
    """uvicorn's state of a server, which each connection gets, and what it leaves out of it."""

    def __init__(self) -> None:
        super().__init__()
        #: How many there may be in `connections`: those that are made.
        self.limit = MAX_CONNECTIONS
        #: Those that are not made yet, for their handshake; the longest under way first.
        self.opening: dict[Any, asyncio.Task[None]] = {}
        #: Those between two requests, the longest idle first.
        self.idle: dict[Any, None] = {}
        self._warned: dict[str, float] = {}

    def admit(self, protocol: Any) -> bool:
        """Whether there is room for a connection that has just been made, or was made for it."""
        self.opening.pop(protocol, None)
        if len(self.connections) <= self.limit:
            return True
        for idle in self.idle:
            if idle.make_room():
                # At once, not when it is told: until then it would be one too many.
                del self.idle[idle]
                self.connections.discard(idle)
                return True
        self.warn(_BUSY, self.limit)
        return False

    def warn(self, message: str, number: int) -> None:
        now = time.monotonic()
        if now - self._warned.get(message, -_WARN_AGAIN_S) >= _WARN_AGAIN_S:
            self._warned[message] = now
            logger.warning(message, number)


class Server(uvicorn.Server):
    """uvicorn as it is, but that it accepts connections within bounds, on given sockets only.

    When there are as many as there may be, a new one takes the place of the one that
    has been idle longest: clients open those again by themselves. If none is idle,
    the new one is closed without an answer. One would cost a TLS handshake first;
    and a proxy in front takes this for what it is, and tries the next gateway.

    Handshakes have the places that connections leave, at least a quarter of all; a
    new one takes that of the one that has been under way longest. None takes that
    of a connection before it is done: anybody can begin one, and say nothing.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state: Connections = Connections()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._places = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if sockets is None:
            raise ValueError("give the sockets to listen on")
        await super().startup(sockets=[])  # on none: it would accept without bounds
        self._places = _max_connections()
        reserved = max(1, self._places // _HANDSHAKES_SHARE) if self.config.is_ssl else 0
        self.server_state.limit = max(1, self._places - reserved)
        # uvicorn closes them, and waits for them to be closed.
        self.servers = [_Listener(self, each) for each in sockets]  # type: ignore[misc]

    def take(self, connection: socket.socket) -> None:
        """Serve a connection that was accepted, or close it."""
        state = self.server_state
        if len(state.connections) >= state.limit and not state.idle:
            connection.close()
            state.warn(_BUSY, state.limit)
            return
        if self.config.is_ssl and len(state.connections) + len(state.opening) >= self._places:
            self._end_oldest_handshake()
        # As uvicorn makes it.
        protocol = self.config.http_protocol_class(
            config=self.config,  # type: ignore[call-arg]
            server_state=state,
            app_state=self.lifespan.state,
        )
        task = asyncio.create_task(self._open(connection, protocol))
        state.opening[protocol] = task
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
            self.server_state.opening.pop(protocol, None)

    def _end_oldest_handshake(self) -> None:
        opening = self.server_state.opening
        oldest = next(iter(opening), None)
        if oldest is not None:
            self.server_state.warn(_HANDSHAKES, len(opening))
            opening.pop(oldest).cancel()


class _Listener:
    """Accepts from one socket; what uvicorn asks of an asyncio.Server."""

    def __init__(self, server: Server, listener: socket.socket) -> None:
        listener.setblocking(False)
        self._server = server
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept())
        self._accepting.add_done_callback(self._ended)

    def close(self) -> None:
        self._accepting.cancel()

    async def wait_closed(self) -> None:
        await asyncio.wait([self._accepting])
        await self._server.end_handshakes()

    def _ended(self, accepting: asyncio.Task[None]) -> None:
        """Better no gateway than one that listens and takes nobody."""
        if not accepting.cancelled():
            reason = type(accepting.exception()).__name__
            logger.critical("no more connections can be accepted: %s", reason)
            self._server.should_exit = True

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
            # What was closed for it is closed before the next one is accepted.
            await asyncio.sleep(0)


def _max_connections() -> int:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(1, min(MAX_CONNECTIONS, descriptors - _OTHER_DESCRIPTORS))
