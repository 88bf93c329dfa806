"""A TCP proxy before the server that loses the first answer of every login.

It reads HTTP/2 frames as they pass, so that it knows which bytes are a login and
its answer; what else passes on the connection passes. For one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Iterator
from typing import NamedTuple

from google.protobuf.message import DecodeError

from wxauth.v1.auth_service_pb2 import LoginRequest, LoginResponse

# RFC 9113, sections 3.4, 4.1 and 6.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD_BYTES = 9
_DATA, _RST_STREAM = 0x0, 0x3
_END_STREAM = 0x1
# The gRPC message in the DATA: a flag and four bytes of length come first.
_PREFIX_BYTES = 5


class Cut(enum.Enum):
    """When the connection of a login's first attempt is cut."""

    #: The whole answer has come; not a byte of it is passed on.
    AFTER_THE_ANSWER = "after the answer"
    #: The whole request has been passed on. The server hears of the cut when the
    #: client is back with a second attempt.
    AFTER_THE_REQUEST = "after the request"


class DroppingProxy:
    """Serves between `start` and `close`. `dropped` has the codes whose first attempt was cut,
    and the SessionId that the answer held: "" for a refusal and for an answer never seen.
    """

    def __init__(self, server_port: int, cut: Cut) -> None:
        self.dropped: dict[str, str] = {}
        self._server_port = server_port
        self._cut = cut
        self._connections: set[asyncio.Task[None]] = set()
        self._abandoned: dict[str, asyncio.StreamWriter] = {}  # to the server, by code

    async def start(self) -> int:
        """Listen; the port."""
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        self._listener.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        for to_server in self._abandoned.values():
            to_server.close()
        await self._listener.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
            try:
                await self._pass_on(reader, writer, from_server, to_server)
            finally:
                writer.close()
                if to_server not in self._abandoned.values():
                    to_server.close()

    async def _pass_on(
        self,
        from_client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        """Until either side ends, or a login is to be lost."""
        logins: dict[int, str] = {}  # the code by the stream
        both = [
            asyncio.create_task(self._requests(from_client, to_server, logins)),
            asyncio.create_task(self._answers(from_server, to_client, logins)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in both:
                direction.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, logins: dict[int, str]
    ) -> None:
        writer.write(await reader.readexactly(len(_PREFACE)))
        messages: dict[int, bytes] = {}
        while True:
            frame = await _read_frame(reader)
            code = ""
            if frame.kind == _DATA:
                messages[frame.stream] = messages.get(frame.stream, b"") + frame.payload
                if frame.flags & _END_STREAM:
                    code = _code_of(messages.pop(frame.stream))
            if code:
                logins[frame.stream] = code
                if code in self._abandoned:
                    self._abandoned.pop(code).close()
            writer.write(frame.raw)
            await writer.drain()
            if code and self._cut is Cut.AFTER_THE_REQUEST and code not in self.dropped:
                self.dropped[code] = ""
                self._abandoned[code] = writer
                return

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, logins: dict[int, str]
    ) -> None:
        messages: dict[int, bytes] = {}
        while True:
            frame = await _read_frame(reader)
            code = logins.get(frame.stream)
            if code is None or code in self.dropped:
                writer.write(frame.raw)
                await writer.drain()
                continue
            if frame.kind == _DATA:
                messages[frame.stream] = messages.get(frame.stream, b"") + frame.payload
            if frame.flags & _END_STREAM or frame.kind == _RST_STREAM:
                answer = messages.get(frame.stream, b"")[_PREFIX_BYTES:]
                self.dropped[code] = LoginResponse.FromString(answer).session_id
                return


class _Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes
    raw: bytes


async def _read_frame(reader: asyncio.StreamReader) -> _Frame:
    head = await reader.readexactly(_HEAD_BYTES)
    payload = await reader.readexactly(int.from_bytes(head[:3]))
    return _Frame(head[3], head[4], int.from_bytes(head[5:]), payload, head + payload)


def _code_of(message: bytes) -> str:
    """The code of a Login; "" for a message of another method."""
    try:
        return LoginRequest.FromString(message[_PREFIX_BYTES:]).code
    except DecodeError:
        return ""


@contextlib.contextmanager
def dropping_proxy(
    server_port: int, cut: Cut, loop: asyncio.AbstractEventLoop
) -> Iterator[tuple[str, DroppingProxy]]:
    """Its address and the proxy, which serves on the running `loop` until the block ends."""
    proxy = DroppingProxy(server_port, cut)
    port = asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(timeout=10)
    try:
        yield f"127.0.0.1:{port}", proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.close(), loop).result(timeout=10)
