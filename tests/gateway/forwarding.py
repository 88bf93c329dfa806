"""Edges with the configurations of deploy/ in front of a gateway and of a service that echoes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.canary import CANARY
from tests.edge_server import Behind
from tests.envoy_server import running_envoy
from tests.gateway.echo_service import EchoService, echo_service
from tests.nginx_server import NGINX, running_nginx
from tests.running_server import FakeClock, RunningServer
from wxauth_gateway.listening import Server
from wxauth_gateway.serve import uvicorn_config
from wxauth_gateway.settings import GatewaySettings

PATIENCE_S = 10
PASSWORD = "correct horse battery"

Header = tuple[str, str]


@dataclass(frozen=True)
class Answer:
    """What the client gets."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> Mapping[str, Any]:
        """Of a refusal by wxauth."""
        assert self.headers["content-type"] == "application/json"
        return dict(json.loads(self.body)["error"])

    @property
    def seen(self) -> Mapping[str, Any]:
        """The request as the service saw it."""
        assert self.status == 200, self
        return dict(json.loads(self.body))

    @property
    def identity(self) -> Mapping[str, str]:
        """What the service was told, by names as CGI would fold them; each once."""
        told = [
            (name, value)
            for name, value in self.seen["headers"]
            if re.match("x.wxauth", name, re.IGNORECASE) and value
        ]
        assert len(dict(told)) == len(told), told
        return {re.sub("[^a-z0-9]", "-", name.lower()): value for name, value in told}


class Connection:
    """One connection of a client to an edge; ends with the block."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        self._http.connect()
        self.socket = self._http.sock

    def ask(self, method: str, path: str, *headers: Header, body: bytes | None = None) -> Answer:
        """Sends exactly these headers, besides Host and Content-Length, and the path as it is."""
        # http.client decodes nothing; it refuses no header name that a test sends.
        self._http.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            self._http.putheader(name, value)
        if body is not None:
            self._http.putheader("Content-Length", str(len(body)))
        self._http.endheaders(body)
        answer = self._http.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, names, answer.read())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()


@dataclass(frozen=True)
class Forwarding:
    """Envoy, and nginx where there is one, in front of the same gateway and service."""

    ports: Mapping[str, int]
    gateway: GatewayPort
    service: EchoService

    def ask(
        self,
        edge: str,
        method: str,
        path: str,
        *headers: Header,
        body: bytes | None = None,
    ) -> Answer:
        """On a connection of its own."""
        with Connection(self.ports[edge]) as connection:
            return connection.ask(method, path, *headers, body=body)


class GatewayPort:
    """The port at which edges look for the gateway; what is there, a test decides."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # Bound, so that nobody else gets the port; it does not listen, so that whoever
        # connects meanwhile is refused.
        self._reserved = _reusable(0)
        self.port: int = self._reserved.getsockname()[1]

    @contextlib.contextmanager
    def serving(self, server: str) -> Iterator[None]:
        """A gateway of that gRPC server, as the one behind a proxy."""
        settings = GatewaySettings(server=server, trusted_hops=1)
        web = Server(uvicorn_config(settings))
        with self.hanging() as listener:
            done = asyncio.run_coroutine_threadsafe(web.serve(sockets=[listener]), self._loop)
            try:
                yield
            finally:
                web.should_exit = True
                done.result(timeout=20)

    @contextlib.contextmanager
    def hanging(self) -> Iterator[socket.socket]:
        """Somebody who lets others connect, and never says a word."""
        with _reusable(self.port) as listener:
            listener.listen()
            yield listener

    def close(self) -> None:
        self._reserved.close()


def _reusable(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    return bound


@dataclass(frozen=True)
class Company:
    """A service behind two edges, with a real server and a WeChat."""

    forwarding: Forwarding
    server: RunningServer
    clock: FakeClock

    def log_in(self, edge: str, username: str, *headers: Header) -> Header:
        """Log a new user in through that edge; what to send from then on."""
        account_id = f"id-{next(_numbers)}"
        name = f"{username}{account_id}"
        self.server.add_account(name, PASSWORD, account_id=account_id)
        code = self.server.code(self.server.new_user())
        body = json.dumps({"code": code, "username": name, "password": PASSWORD}).encode()
        headers = (("Content-Type", "application/json"), *headers)
        answer = self.forwarding.ask(edge, "POST", "/wxauth/login", *headers, body=body)
        session_id = CANARY.keep(json.loads(answer.body)["sessionId"])
        return ("Authorization", f"Bearer {session_id}")


_numbers = itertools.count(1)


@contextlib.contextmanager
def forwarding(
    directory: Path, loop: asyncio.AbstractEventLoop, replace: Mapping[str, str]
) -> Iterator[Forwarding]:
    """The edges until the block ends, without a gateway yet.

    `replace` are texts of their configurations, and what stands there instead.
    """
    gateway = GatewayPort(loop)
    with contextlib.closing(gateway), echo_service() as service:
        behind = Behind(gateway.port, service.server_address[1], replace)
        edges = {"envoy": running_envoy} | ({"nginx": running_nginx} if NGINX else {})
        with contextlib.ExitStack() as stack:
            ports = {}
            for name, running in edges.items():
                (directory / name).mkdir()
                ports[name] = stack.enter_context(running(directory / name, behind))
            yield Forwarding(ports, gateway, service)
