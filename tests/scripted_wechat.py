"""A WeChat that says what a test tells it to, over real sockets, and what to look for after.

For what the sandbox cannot be made to say. `Server` has any conversation at all;
`Script` is one in HTTP that knows the paths of WeChat's calls.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

import pytest

from wxauth_server.errors import AuthError
from wxauth_server.wechat.client import WeChatClient

Conversation = Callable[[socket.socket], None]


class Server:
    """Accepts connections and has the same conversation on each, one thread apiece."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(connection)
            thread = threading.Thread(target=self._talk, args=[connection])
            self._threads.append(thread)
            thread.start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._conversation(connection)
            except OSError:
                return  # The client hung up, as it should on a server like this.

    def finish(self) -> None:
        """Wait until the conversations that have begun are over and their connections closed."""
        for thread in self._threads[1:]:
            thread.join()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for connection in self._sockets:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join()


@contextmanager
def serving(conversation: Conversation) -> Iterator[Server]:
    server = Server(conversation)
    try:
        yield server
    finally:
        server.stop()


def request_from(connection: socket.socket) -> bytes:
    """The next request's head, b"" when the client has closed."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        received = connection.recv(4096)
        if not received:
            return b""
        head += received
    return head


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: text/plain", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def answering(*answers: bytes) -> Conversation:
    """Each request in turn, over all connections, gets the next answer; the last one repeats."""
    left = list(answers)

    def converse(connection: socket.socket) -> None:
        while request_from(connection):
            connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    return converse


def saying(*pieces: bytes) -> Conversation:
    """One request gets these bytes, and then the connection ends."""

    def converse(connection: socket.socket) -> None:
        request_from(connection)
        for piece in pieces:
            connection.sendall(piece)

    return converse


@contextmanager
def client_of(
    base_url: str,
    connect_timeout_s: float = 1.0,
    read_timeout_s: float = 2.5,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[WeChatClient]:
    client = WeChatClient(
        base_url,
        connect_timeout_s=connect_timeout_s,
        read_timeout_s=read_timeout_s,
        monotonic=monotonic,
    )
    try:
        yield client
    finally:
        client.close()


# --- Calls by their paths -----------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A request that a Script got. `call` is the last part of its path."""

    call: str
    method: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    path: str


Say = Callable[[Asked], bytes]


class Script:
    """A conversation in which each call gets its answers in turn; the last one repeats.

    An answer is a whole HTTP answer, a JSON body, or what makes one of these of
    the request. b"" closes the connection without a word.
    """

    def __init__(self, **answers: bytes | Say | Sequence[bytes | Say]) -> None:
        self.asked: list[Asked] = []
        self._lock = threading.Lock()
        self._answers = {
            call: [said] if isinstance(said, bytes) or callable(said) else list(said)
            for call, said in answers.items()
        }

    def calls(self, call: str) -> list[Asked]:
        with self._lock:
            return [asked for asked in self.asked if asked.call == call]

    def __call__(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as incoming:
            while asked := _read_request(incoming):
                with self._lock:
                    self.asked.append(asked)
                    left = self._answers[asked.call]
                    said = left.pop(0) if len(left) > 1 else left[0]
                answer = said(asked) if callable(said) else said
                if not answer:
                    return
                connection.sendall(http(answer) if answer.startswith((b"{", b"<")) else answer)


def _read_request(incoming: BinaryIO) -> Asked | None:
    """The next request, None when the client has closed."""
    line = incoming.readline().decode("ascii")
    if not line:
        return None
    method, target, _version = line.split(" ")
    headers: dict[str, str] = {}
    while header := incoming.readline().decode("ascii").rstrip("\r\n"):
        name, _, value = header.partition(": ")
        headers[name.lower()] = value
    body = incoming.read(int(headers.get("content-length", "0")))
    url = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    return Asked(url.path.rpartition("/")[2], method, query, headers, body, url.path)


class HandClock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100_000.0

    def __call__(self) -> float:
        return self.now


class Refusals:
    """Calls, expects a refusal, and looks for secrets in all that it leaves behind."""

    def __init__(self, caplog: pytest.LogCaptureFixture, secrets: Sequence[str]) -> None:
        self._caplog = caplog
        self._secrets = secrets
        caplog.set_level(logging.DEBUG)

    def of(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> AuthError:
        with pytest.raises(AuthError) as caught:
            call(*args, **kwargs)
        error = caught.value
        assert error.__cause__ is None
        assert error.__context__ is None
        text = "".join(
            [str(error), repr(error), repr(error.args), *traceback.format_exception(error)]
        )
        for secret in self._secrets:
            assert secret not in text
        self.search_log()
        return error

    def search_log(self) -> None:
        for secret in self._secrets:
            assert secret not in self._caplog.text

    @property
    def log(self) -> list[tuple[str, str]]:
        return [
            (record.levelname, record.getMessage())
            for record in self._caplog.records
            if record.name.startswith("wxauth_server")
        ]
