"""Connections that never finish a TLS handshake are closed and hold nobody up (row 38).

The limits are minutes or seconds in the server; here those very entries of its
table are lowered, see test_limits.py.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.fault.steady_load import (
    SteadyLoad,
    channel_credentials,
    open_channel,
    steady_load,
    validation,
    validation_reconnecting,
)
from tests.running_server import RunningServer, running_server
from tests.sandbox_server import RunningSandbox
from wxauth_server import wiring
from wxauth_server.rpc.server import CHANNEL_OPTIONS, RpcServer

SOCKETS = 300
TIMEOUT_S = 2.0
#: A server that is busy with so many closes them a little later.
LATEST_S = 3 * TIMEOUT_S


class Hello:
    """A TLS client up to the end of its first flight."""

    def __init__(self, ca: Path) -> None:
        self._context = ssl.create_default_context(cafile=ca)
        self._context.set_alpn_protocols(["h2"])

    def first_flight(self) -> bytes:
        outgoing = ssl.MemoryBIO()
        connection = self._context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
        with pytest.raises(ssl.SSLWantReadError):
            connection.do_handshake()
        return outgoing.read()

    def finish(self, connection: socket.socket) -> socket.socket:
        return self._context.wrap_socket(connection, server_hostname="127.0.0.1")


def _silent(connection: socket.socket, hello: Hello) -> socket.socket:
    return connection


def _half_a_hello(connection: socket.socket, hello: Hello) -> socket.socket:
    flight = hello.first_flight()
    connection.sendall(flight[: len(flight) // 2])
    return connection


def _no_answer_to_the_certificate(connection: socket.socket, hello: Hello) -> socket.socket:
    connection.sendall(hello.first_flight())
    return connection


def _tls_and_no_http2(connection: socket.socket, hello: Hello) -> socket.socket:
    return hello.finish(connection)


Way = Callable[[socket.socket, Hello], socket.socket]
WAYS: tuple[Way, ...] = (_silent, _half_a_hello, _no_answer_to_the_certificate, _tls_and_no_http2)


class Hanging:
    """Connections that went as far as one of `ways`. Seconds count from each one's beginning."""

    def __init__(self, port: int, hello: Hello, ways: Sequence[Way]) -> None:
        self.closed_s: list[float] = []
        self._selector = selectors.DefaultSelector()
        self._sockets = ExitStack()
        for way in ways:
            began = time.monotonic()
            raw = socket.create_connection(("127.0.0.1", port), timeout=LATEST_S)
            connection = self._sockets.enter_context(way(raw, hello))
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ, began)

    @property
    def open(self) -> int:
        return len(self._selector.get_map())

    def watch(self, seconds: float) -> None:
        """Note who is closed, until all are or the time is over."""
        end = time.monotonic() + seconds
        while self.open and (left := end - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                assert isinstance(key.fileobj, socket.socket)
                if _is_closed(key.fileobj):
                    self._selector.unregister(key.fileobj)
                    self.closed_s.append(time.monotonic() - key.data)

    def close(self) -> None:
        self._selector.close()
        self._sockets.close()


def _is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed it; what it still said before is read and dropped."""
    try:
        while connection.recv(65_536):
            pass
    except (ssl.SSLWantReadError, BlockingIOError):
        return False
    except OSError:
        return True
    return True


@contextmanager
def _tls_server(
    directory: Path,
    sandbox: RunningSandbox,
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
    *,
    timeout_s: float = TIMEOUT_S,
    connections: int = 4_000,
) -> Iterator[tuple[RunningServer, Path]]:
    """The server with this much patience for handshakes and room for so many connections,
    and its authority.
    """
    changed = {
        "grpc.server_handshake_timeout_ms": int(timeout_s * 1000),
        "grpc.http2.settings_timeout": int(timeout_s * 1000),
        "grpc.max_allowed_incoming_connections": connections,
    }
    assert set(changed) < set(dict(CHANNEL_OPTIONS))
    options = tuple((dict(CHANNEL_OPTIONS) | changed).items())
    monkeypatch.setattr(wiring, "RpcServer", partial(RpcServer, options=options))
    authority = Authority(directory)
    issued = authority.issue("server", "127.0.0.1")
    tls = {"certificate_file": issued.certificate, "key_file": issued.key}
    with running_server(
        directory / "data",
        sandbox,
        loop,
        credentials=channel_credentials(authority.ca),
        grpc={"tls": tls},
    ) as server:
        yield server, authority.ca


async def _validations_while(
    address: str, ca: Path, session_id: str, work: Callable[[], None]
) -> SteadyLoad:
    """Clients that keep their connection and one that has a handshake for each call."""
    credentials = channel_credentials(ca)
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(open_channel(address, credentials))
        load = await stack.enter_async_context(
            steady_load(
                {
                    "keeps": validation(channel, session_id),
                    "reconnects": validation_reconnecting(address, credentials, session_id),
                }
            )
        )
        await asyncio.to_thread(work)
        await load.another_call_of_each()
        return load


def _hang_under_load(
    server: RunningServer, ca: Path, loop: asyncio.AbstractEventLoop, ways: Sequence[Way]
) -> tuple[SteadyLoad, Hanging]:
    """One connection hangs in each way until it is closed; what became of validations meanwhile."""
    hanging: list[Hanging] = []

    def hang() -> None:
        hanging.append(Hanging(server.port, Hello(ca), ways))
        hanging[0].watch(LATEST_S)
        hanging[0].close()

    session_id = server.login(code=server.code(server.bound())).session_id
    load = asyncio.run_coroutine_threadsafe(
        _validations_while(server.address, ca, session_id, hang), loop
    ).result()
    return load, hanging[0]


def test_300_unfinished_handshakes_are_closed_and_validations_go_on(
    tmp_path: Path,
    sandbox: RunningSandbox,
    server_loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _tls_server(tmp_path, sandbox, server_loop, monkeypatch) as (server, ca):
        load, hanging = _hang_under_load(server, ca, server_loop, WAYS * (SOCKETS // len(WAYS)))
    print(f"{load}; closed after {min(hanging.closed_s):.2f} to {max(hanging.closed_s):.2f} s")
    assert len(hanging.closed_s) == SOCKETS
    assert min(hanging.closed_s) > TIMEOUT_S * 0.9
    assert not load.failures


def test_control_a_longer_timeout_leaves_them_open(
    tmp_path: Path,
    sandbox: RunningSandbox,
    server_loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _tls_server(tmp_path, sandbox, server_loop, monkeypatch, timeout_s=60) as (server, ca):
        hanging = Hanging(server.port, Hello(ca), WAYS)
        hanging.watch(1.5 * TIMEOUT_S)
        assert hanging.open == len(WAYS)
        hanging.close()


def test_control_a_server_without_room_for_them_fails_validations(
    tmp_path: Path,
    sandbox: RunningSandbox,
    server_loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So the check sees it when unfinished handshakes keep others out."""
    room = SOCKETS // 3
    with _tls_server(tmp_path, sandbox, server_loop, monkeypatch, connections=room) as (server, ca):
        load, hanging = _hang_under_load(server, ca, server_loop, [_silent] * SOCKETS)
    assert load.failed
    assert min(hanging.closed_s) < TIMEOUT_S / 2
