"""The limits of the gRPC server, each by what it does.

grpcio accepts a misspelt option in silence, so reading the table proves nothing.
Where the real value is minutes, the test lowers that very entry of the table
and waits for the same behaviour.
"""

from __future__ import annotations

import asyncio
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.rpc import raw_http2
from tests.rpc.raw_http2 import RawConnection
from tests.running_server import ANYBODY, RunningServer, refused
from wxauth.v1.auth_service_pb2 import (
    LoginRequest,
    LoginResponse,
    ValidateSessionRequest,
    ValidateSessionResponse,
)
from wxauth.v1.auth_service_pb2_grpc import AuthServiceServicer, AuthServiceStub
from wxauth.v1.wechat_service_pb2_grpc import WeChatServiceServicer
from wxauth_server.rpc.server import CHANNEL_OPTIONS, MAX_CONCURRENT_RPCS, PortInUse, RpcServer
from wxauth_server.settings import GrpcSettings

VALIDATE = "/wxauth.v1.AuthService/ValidateSession"

Serving = Callable[..., AbstractContextManager[int]]


# Each of its methods is UNIMPLEMENTED.
_NO_WECHAT = WeChatServiceServicer()  # type: ignore[abstract]


class _Servicer(AuthServiceServicer):
    """Answers at once; Login waits until it is released."""

    def __init__(self) -> None:
        self.arrived = threading.Semaphore(0)
        self.release = asyncio.Event()
        self.answer = ValidateSessionResponse()

    async def ValidateSession(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self.answer

    async def Login(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.arrived.release()
        await self.release.wait()
        return LoginResponse()

    async def Unbind(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise AssertionError("not called")

    async def Logout(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise AssertionError("not called")

    async def BatchValidateSessions(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise AssertionError("not called")

    async def ListSessions(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise AssertionError("not called")

    async def RevokeSession(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise AssertionError("not called")

    async def DeleteAccount(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise AssertionError("not called")


@pytest.fixture
def serving(server_loop: asyncio.AbstractEventLoop) -> Serving:
    """A server with our limits, some of them lowered."""

    @contextmanager
    def serve(
        servicer: AuthServiceServicer | None = None,
        *,
        listen: str = "127.0.0.1:0",
        rpcs: int = MAX_CONCURRENT_RPCS,
        **lowered: int,
    ) -> Iterator[int]:
        names = {name.replace(".", "_"): name for name, _ in CHANNEL_OPTIONS}
        values = dict(CHANNEL_OPTIONS) | {names[key]: value for key, value in lowered.items()}
        settings = GrpcSettings(listen=listen, lame_duck_s=0, stop_grace_s=0)

        async def start() -> tuple[RpcServer, int]:
            server = RpcServer(
                servicer or _Servicer(),
                _NO_WECHAT,
                settings,
                callers=ANYBODY,
                options=tuple(values.items()),
                maximum_concurrent_rpcs=rpcs,
            )
            return server, await server.start()

        server, port = asyncio.run_coroutine_threadsafe(start(), server_loop).result(10)
        try:
            yield port
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), server_loop).result(10)

    return serve


@contextmanager
def stub_of(port: int, **options: int) -> Iterator[AuthServiceStub]:
    arguments = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    arguments += [(f"grpc.{name}", value) for name, value in options.items()]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=arguments) as channel:
        yield AuthServiceStub(channel)


@pytest.mark.parametrize("name", [name for name, _ in CHANNEL_OPTIONS])
def test_grpcio_knows_the_name(name: str) -> None:
    library = Path(import_module("grpc._cython.cygrpc").__file__ or "").read_bytes()
    assert name.encode() + b"\0" in library


def test_settings_of_a_new_connection(serving: Serving) -> None:
    with serving() as port, RawConnection(port) as connection:
        connection.send(raw_http2.PREFACE)
        connection.send_frame(raw_http2.SETTINGS)
        first = next(iter(connection.frames()))
        settings = raw_http2.settings_of(first)
        assert settings[raw_http2.MAX_CONCURRENT_STREAMS] == 250
        assert settings[raw_http2.MAX_HEADER_LIST_SIZE] == 8_192


def test_a_request_over_64_kib(server: RunningServer) -> None:
    request = LoginRequest(code="x" * 65_536)
    refusal = refused(lambda: server.stub.Login(request, timeout=5))
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("megabytes", [1, 100])
def test_a_bomb(server: RunningServer, megabytes: int) -> None:
    call: Any = server.channel.unary_unary(
        VALIDATE, request_serializer=lambda _: bytes(megabytes << 20), response_deserializer=None
    )
    refusal = refused(lambda: call(None, timeout=10, compression=grpc.Compression.Gzip))
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("size", [8_500, 15_000])
def test_metadata_over_8_kib_is_refused_every_time(serving: Serving, size: int) -> None:
    with serving() as port, stub_of(port) as stub:
        for _ in range(8):
            refusal = refused(
                lambda: stub.ValidateSession(
                    ValidateSessionRequest(), metadata=(("x-long", "x" * size),), timeout=5
                )
            )
            assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        stub.ValidateSession(
            ValidateSessionRequest(), metadata=(("x-long", "x" * 7_000),), timeout=5
        )


def test_an_answer_over_1_mib(serving: Serving) -> None:
    servicer = _Servicer()
    servicer.answer = ValidateSessionResponse(openid="x" * 1_048_577)
    with serving(servicer) as port, stub_of(port) as stub:
        refusal = refused(lambda: stub.ValidateSession(ValidateSessionRequest(), timeout=5))
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_two_servers_do_not_share_a_port(serving: Serving) -> None:
    with (
        serving() as port,
        pytest.raises(PortInUse, match=f"127.0.0.1:{port} is in use"),
        serving(listen=f"127.0.0.1:{port}"),
    ):
        raise AssertionError("listened twice")


def test_calls_beyond_the_limit_are_refused(
    serving: Serving, server_loop: asyncio.AbstractEventLoop
) -> None:
    servicer = _Servicer()
    with serving(servicer, rpcs=2) as port, stub_of(port) as stub:
        waiting = [stub.Login.future(LoginRequest(code="x"), timeout=10) for _ in range(2)]
        for _ in waiting:
            assert servicer.arrived.acquire(timeout=10)
        refusal = refused(lambda: stub.ValidateSession(ValidateSessionRequest(), timeout=5))
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        server_loop.call_soon_threadsafe(servicer.release.set)
        assert all(call.result() == LoginResponse() for call in waiting)
        stub.ValidateSession(ValidateSessionRequest(), timeout=5)


def test_a_silent_connection_is_closed(serving: Serving) -> None:
    with (
        serving(grpc_server_handshake_timeout_ms=200) as port,
        RawConnection(port) as connection,
    ):
        connection.wait_closed()


def test_a_preface_without_settings_is_closed(serving: Serving) -> None:
    with (
        serving(grpc_http2_settings_timeout=200, grpc_server_handshake_timeout_ms=200) as port,
        RawConnection(port) as connection,
    ):
        connection.send(raw_http2.PREFACE)
        connection.wait_closed()


def test_an_idle_connection_is_closed(serving: Serving) -> None:
    with serving(grpc_max_connection_idle_ms=200) as port, RawConnection(port) as connection:
        connection.send(raw_http2.PREFACE)
        connection.send_frame(raw_http2.SETTINGS)
        assert raw_http2.GOAWAY in {frame.kind for frame in connection.wait_closed()}


def test_a_half_open_stream_does_not_outlive_the_age_of_its_connection(serving: Serving) -> None:
    with (
        serving(grpc_max_connection_age_ms=200, grpc_max_connection_age_grace_ms=200) as port,
        RawConnection(port) as connection,
    ):
        connection.send(raw_http2.PREFACE)
        connection.send_frame(raw_http2.SETTINGS)
        connection.open_stream(1, VALIDATE)
        assert raw_http2.GOAWAY in {frame.kind for frame in connection.wait_closed()}


def test_a_peer_that_does_not_answer_pings_is_closed(serving: Serving) -> None:
    with (
        serving(grpc_keepalive_time_ms=1_000, grpc_keepalive_timeout_ms=200) as port,
        RawConnection(port) as connection,
    ):
        connection.send(raw_http2.PREFACE)
        connection.send_frame(raw_http2.SETTINGS)
        connection.open_stream(1, VALIDATE)
        assert raw_http2.PING in {frame.kind for frame in connection.wait_closed()}


def test_a_flood_of_pings_is_closed(serving: Serving) -> None:
    with serving() as port, RawConnection(port) as connection:
        connection.send(raw_http2.PREFACE)
        connection.send_frame(raw_http2.SETTINGS)
        ping = b"\0\0\x08" + bytes((raw_http2.PING, 0)) + bytes(4) + bytes(8)
        connection.send(ping * 10)  # at once: it closes after the third
        frames = connection.wait_closed()
        assert any(
            frame.kind == raw_http2.GOAWAY and b"too_many_pings" in frame.payload
            for frame in frames
        )


@pytest.mark.parametrize("why", ["the limit of connections", "the limit of open files"])
def test_connections_beyond_the_limit_are_closed(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    lowered = {}
    if why == "the limit of connections":
        lowered = {"grpc_max_allowed_incoming_connections": 2}
    else:  # not lowered for real: the tests of this process need theirs
        monkeypatch.setattr(resource, "getrlimit", lambda _limit: (4, 4))
    with serving(**lowered) as port:
        kept = [RawConnection(port) for _ in range(2)]
        for connection in kept:
            connection.send(raw_http2.PREFACE)
            connection.send_frame(raw_http2.SETTINGS)
            assert next(iter(connection.frames())).kind == raw_http2.SETTINGS
        with RawConnection(port) as one_more:
            one_more.wait_closed()
        for connection in kept:
            with connection:
                connection.send_frame(raw_http2.PING, payload=bytes(8))
                assert any(
                    frame.kind == raw_http2.PING and frame.flags == raw_http2.ACK
                    for frame in connection.frames()
                )


def test_a_stop_lets_running_calls_end(
    serving: Serving, server_loop: asyncio.AbstractEventLoop
) -> None:
    servicer = _Servicer()
    settings = GrpcSettings(listen="127.0.0.1:0", lame_duck_s=0, stop_grace_s=10)

    async def start() -> tuple[RpcServer, int]:
        server = RpcServer(servicer, _NO_WECHAT, settings, callers=ANYBODY)
        return server, await server.start()

    server, port = asyncio.run_coroutine_threadsafe(start(), server_loop).result(10)
    with stub_of(port) as stub:
        call = stub.Login.future(LoginRequest(code="x"), timeout=10)
        assert servicer.arrived.acquire(timeout=10)
        stopped = asyncio.run_coroutine_threadsafe(server.stop(), server_loop)
        server_loop.call_soon_threadsafe(servicer.release.set)
        assert call.result(10) == LoginResponse()
        stopped.result(10)
