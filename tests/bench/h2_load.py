"""A small HTTP/2 load generator for unary gRPC calls: one thread, a few connections.

A gRPC client in Python costs more CPU a call than the server that is measured,
and so cannot keep it busy on the same machine; the usual tools in C are not on
PyPI. This one sends prebuilt frames and looks at no more of the answers than
it must. A call succeeded if a message came before the trailers; trailers alone
are an error status, which grpcio sends without a message.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Frame types and flags of RFC 9113 section 6.
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_FRAME_HEADER_BYTES = 9
_ENABLE_PUSH, _INITIAL_WINDOW_SIZE = 2, 4
_LARGEST_WINDOW = 2**31 - 1
_DEFAULT_WINDOW = 65_535
_LARGEST_FRAME_BYTES = 16_384
#: No answer from any connection for so long ends the run.
_PATIENCE_S = 30.0

# HPACK (RFC 7541): an indexed field, and the literals that follow name an index
# of the static table or, after zero, a name in full.
_METHOD_POST, _SCHEME_HTTP, _SCHEME_HTTPS = b"\x83", b"\x86", b"\x87"
_PATH, _AUTHORITY, _LITERAL = b"\x04", b"\x01", b"\x00"


@dataclass(frozen=True)
class LoadResult:
    """What became of the calls, and how long all of them took together."""

    ok: int
    failed: int
    seconds: float

    @property
    def rate(self) -> float:
        """Successful calls a second."""
        return self.ok / self.seconds


class Load:
    """Some connections to a server, to make calls of one method again and again.

    A context manager; all handshakes are done when it is made.
    """

    def __init__(
        self,
        port: int,
        path: str,
        messages: Iterator[bytes],
        *,
        connections: int = 8,
        streams: int = 8,
        metadata: Sequence[tuple[str, str]] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`messages` are serialised requests; one is taken for each call. `metadata` goes
        with every call. Without `tls` it is plaintext.
        """
        headers = _headers(path, metadata, _SCHEME_HTTP if tls is None else _SCHEME_HTTPS)
        self._streams = streams
        self._pool = [
            _Connection(_connect(port, tls), headers, messages) for _ in range(connections)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._pool:
            connection.socket.close()

    def run(self, calls: int) -> LoadResult:
        """Make so many calls, always as many at a time as there are streams in all."""
        ok_before = self._ok()
        left = calls
        pending = 0
        with selectors.DefaultSelector() as selector:
            started = time.perf_counter()
            for connection in self._pool:
                if connection.closed:
                    continue
                selector.register(connection.socket, selectors.EVENT_READ, connection)
                for _ in range(min(self._streams, left)):
                    connection.call()
                    left -= 1
                    pending += 1
                connection.flush()
            while pending:
                ready = selector.select(_PATIENCE_S)
                if not ready:
                    break
                for key, _ in ready:
                    connection = key.data
                    ended = connection.read()
                    pending -= ended
                    if connection.closed:
                        selector.unregister(connection.socket)
                        continue
                    for _ in range(min(ended, left)):
                        connection.call()
                        left -= 1
                        pending += 1
                    connection.flush()
            seconds = time.perf_counter() - started
        ok = self._ok() - ok_before
        return LoadResult(ok=ok, failed=calls - ok, seconds=seconds)

    def _ok(self) -> int:
        return sum(connection.ok for connection in self._pool)


class _Connection:
    """One HTTP/2 connection: counts how its calls end."""

    def __init__(self, connected: socket.socket, headers: bytes, messages: Iterator[bytes]) -> None:
        self.ok = 0
        self.closed = False
        self.socket = connected
        self._headers = headers
        self._messages = messages
        self._next_stream = 1
        self._with_message: set[int] = set()
        self._open: set[int] = set()
        self._unread = b""
        # Of all streams together: no message is longer than the window of its own stream.
        self._window = _DEFAULT_WINDOW
        self._held: deque[bytes] = deque()
        settings = struct.pack(">HIHI", _ENABLE_PUSH, 0, _INITIAL_WINDOW_SIZE, _LARGEST_WINDOW)
        self._out = [
            _PREFACE,
            _frame(_SETTINGS, 0, 0, settings),
            _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _LARGEST_WINDOW - _DEFAULT_WINDOW)),
        ]

    def call(self) -> None:
        """Put one more call on its way with the next `flush`."""
        stream = self._next_stream
        self._next_stream += 2
        self._open.add(stream)
        message = next(self._messages)
        body = b"\0" + struct.pack(">I", len(message)) + message
        self._out.append(_frame(_HEADERS, _END_HEADERS, stream, self._headers))
        for start in range(0, len(body), _LARGEST_FRAME_BYTES):
            end = start + _LARGEST_FRAME_BYTES
            flags = _END_STREAM if end >= len(body) else 0
            self._held.append(_frame(_DATA, flags, stream, body[start:end]))

    def flush(self) -> None:
        while self._held:
            taken = len(self._held[0]) - _FRAME_HEADER_BYTES
            if taken > self._window:
                break
            self._window -= taken
            self._out.append(self._held.popleft())
        if self._out:
            self.socket.sendall(b"".join(self._out))
            self._out.clear()

    def read(self) -> int:
        """Read what has come; how many calls it ended."""
        received = _receive(self.socket)
        if not received:
            return self._give_up()
        data = self._unread + received
        at, ended = 0, 0
        while len(data) - at >= _FRAME_HEADER_BYTES:
            length = int.from_bytes(data[at : at + 3], "big")
            end = at + _FRAME_HEADER_BYTES + length
            if len(data) < end:
                break
            kind, flags = data[at + 3], data[at + 4]
            stream = int.from_bytes(data[at + 5 : at + 9], "big")
            if kind == _DATA:
                self._with_message.add(stream)
            elif (kind == _HEADERS and flags & _END_STREAM) or kind == _RST_STREAM:
                self.ok += kind == _HEADERS and stream in self._with_message
                self._with_message.discard(stream)
                self._open.discard(stream)
                ended += 1
            elif kind == _WINDOW_UPDATE and not stream:
                self._window += int.from_bytes(data[at + _FRAME_HEADER_BYTES : end], "big")
            elif kind == _SETTINGS and not flags & _ACK:
                self._out.append(_frame(_SETTINGS, _ACK, 0))
            elif kind == _PING and not flags & _ACK:
                self._out.append(_frame(_PING, _ACK, 0, data[at + _FRAME_HEADER_BYTES : end]))
            elif kind == _GOAWAY:
                return ended + self._give_up()
            at = end
        self._unread = data[at:]
        return ended

    def _give_up(self) -> int:
        self.closed = True
        return len(self._open)


def _connect(port: int, tls: ssl.SSLContext | None) -> socket.socket:
    connected = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected if tls is None else tls.wrap_socket(connected, server_hostname="127.0.0.1")


def _receive(connected: socket.socket) -> bytes:
    """What has come; nothing where the connection is closed, or silent for _PATIENCE_S."""
    try:
        received = connected.recv(65_536)
        # What is decrypted already would wake no selector.
        while isinstance(connected, ssl.SSLSocket) and connected.pending():
            received += connected.recv(65_536)
    except OSError:
        return b""
    return received


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    length = struct.pack(">I", len(payload))[1:]
    return length + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _headers(path: str, metadata: Sequence[tuple[str, str]], scheme: bytes) -> bytes:
    fields = [
        _PATH + _string(path.encode()),
        _AUTHORITY + _string(b"127.0.0.1"),
        _LITERAL + _string(b"content-type") + _string(b"application/grpc"),
        _LITERAL + _string(b"te") + _string(b"trailers"),
        _LITERAL + _string(b"grpc-timeout") + _string(b"20S"),
        *(_LITERAL + _string(key.encode()) + _string(value.encode()) for key, value in metadata),
    ]
    return _METHOD_POST + scheme + b"".join(fields)


def _string(value: bytes) -> bytes:
    if len(value) > 126:  # longer ones have another form of length
        raise ValueError("too long a header for this load generator")
    return bytes((len(value),)) + value
