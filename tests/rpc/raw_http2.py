"""As much of HTTP/2 (RFC 9113) as it takes to misbehave towards a server."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, END_HEADERS = 1, 1, 4
MAX_CONCURRENT_STREAMS, MAX_HEADER_LIST_SIZE = 3, 6


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes


class RawConnection:
    """A connection to 127.0.0.1 that sends what it is told to and nothing else."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._received = b""

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send_frame(self, kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> None:
        head = struct.pack(">I", len(payload))[1:] + bytes((kind, flags))
        self.send(head + struct.pack(">I", stream) + payload)

    def open_stream(self, stream: int, path: str) -> None:
        """Headers of a call whose message never comes."""
        named = b"".join(
            b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value
            for name, value in ((b"content-type", b"application/grpc"), (b"te", b"trailers"))
        )
        raw = path.encode()
        block = b"\x83\x86\x04" + bytes((len(raw),)) + raw + b"\x01\x09127.0.0.1" + named
        self.send_frame(HEADERS, END_HEADERS, stream, block)

    def frames(self) -> Iterator[Frame]:
        """What the server sends, until it closes the connection.

        Raises: TimeoutError when it is silent for 20 s.
        """
        while True:
            while len(self._received) >= 9:
                length = int.from_bytes(self._received[:3], "big")
                if len(self._received) < 9 + length:
                    break
                head, payload = self._received[:9], self._received[9 : 9 + length]
                self._received = self._received[9 + length :]
                yield Frame(head[3], head[4], int.from_bytes(head[5:9], "big"), payload)
            try:
                data = self._socket.recv(65_536)
            except ConnectionResetError:
                return
            if not data:
                return
            self._received += data

    def wait_closed(self) -> list[Frame]:
        """Everything that came before the server closed the connection."""
        return list(self.frames())


def settings_of(frame: Frame) -> dict[int, int]:
    """The parameters of a SETTINGS frame by their number."""
    return dict(struct.iter_unpack(">HI", frame.payload))
