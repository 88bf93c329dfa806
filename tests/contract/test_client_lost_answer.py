"""An answer that is lost on the way: the login asks for it again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest

from tests.contract.client_twins import asker
from tests.scripted_server import (
    SESSION_ID,
    ScriptedServer,
    in_turn,
    scripted_server,
)
from wxauth_client import (
    ServerUnreachable,
    retrying,
)
from wxauth_client.retrying import LOGIN, ONCE

# Logs in with a client of either kind.
LogIn = Callable[..., Any]


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def server(running: ScriptedServer) -> ScriptedServer:
    running.reset()
    return running


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy, but for its first delay of 0.1 s."""
    monkeypatch.setattr(retrying, "LOGIN", replace(LOGIN, first_delay_s=0.001))


@pytest.fixture(params=["sync", "aio"])
def log_in(
    request: pytest.FixtureRequest, server: ScriptedServer, server_loop: asyncio.AbstractEventLoop
) -> LogIn:
    def ask(address: str = server.address, **kwargs: Any) -> Any:
        return asker(request.param, address, server_loop)("login", "code", **kwargs)

    return ask


class LossyProxy:
    """Hands bytes on between a client and the server, until it is told to lose an answer."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._ends: list[socket.socket] = []
        self._losing = False
        self.connections = 0
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def lose(self) -> None:
        """Cut the connection instead of handing on what the server says next."""
        self._losing = True

    def close(self) -> None:
        # A close alone wakes no thread that is in accept or recv.
        _hang_up(self._listener, *self._ends)
        for thread in self._threads:
            thread.join(timeout=10)
            assert not thread.is_alive()
        for end in (self._listener, *self._ends):
            end.close()

    def _start(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.connections += 1
                far = socket.create_connection(self._target)
                self._ends += (near, far)
                self._start(self._hand_on, near, far)
                self._start(self._hand_back, far, near)

    def _hand_on(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                server.sendall(data)
        _hang_up(client, server)

    def _hand_back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                if self._losing:
                    self._losing = False
                    break
                client.sendall(data)
        _hang_up(client, server)


def _hang_up(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):  # it is gone already
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(server: ScriptedServer) -> Iterator[LossyProxy]:
    between = LossyProxy(server.address)
    yield between
    between.close()


def lose_the_first_answer(server: ScriptedServer, proxy: LossyProxy) -> set[str]:
    """From now on; gives the request_ids for which the server has begun a session."""
    sessions: set[str] = set()
    good = server.answers["Login"]

    def logged_in(request: Any, context: grpc.ServicerContext) -> Any:
        if not sessions:
            proxy.lose()
        sessions.add(request.request_id)
        return good(request, context)

    server.answers["Login"] = logged_in
    return sessions


@pytest.mark.usefixtures("quick")
def test_a_connection_that_is_cut_under_the_answer(
    log_in: LogIn, server: ScriptedServer, proxy: LossyProxy
) -> None:
    sessions = lose_the_first_answer(server, proxy)
    assert log_in(proxy.address, timeout_s=20).session_id == SESSION_ID
    first, second = server.requests("Login")
    assert first == second
    assert sessions == {first.request_id}
    assert proxy.connections == 2


def test_without_retries_such_an_answer_is_lost(
    log_in: LogIn, server: ScriptedServer, proxy: LossyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: the proxy does lose it, and gRPC does not send it again."""
    monkeypatch.setattr(retrying, "LOGIN", ONCE)
    sessions = lose_the_first_answer(server, proxy)
    with pytest.raises(ServerUnreachable):
        log_in(proxy.address, timeout_s=20)
    assert len(sessions) == len(server.requests("Login")) == 1


def test_an_answer_that_does_not_come(
    log_in: LogIn, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt ends long before the call, which then asks again."""
    monkeypatch.setattr(retrying, "LOGIN", replace(LOGIN, attempt_timeout_s=0.5))
    good = server.answers["Login"]
    given_up = threading.Event()

    def silent(request: Any, context: grpc.ServicerContext) -> Any:
        context.add_callback(given_up.set)
        assert given_up.wait(10)
        return good(request, context)

    server.answers["Login"] = in_turn(silent, good)
    assert log_in(timeout_s=20).session_id == SESSION_ID
    first, second = server.requests("Login")
    assert first == second
