"""What the outermost wrapper makes of faults: nothing of theirs reaches a caller."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any, NoReturn

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.canary import CANARY
from tests.rpc import raw_http2
from tests.running_server import ANYBODY, RunningServer, refused
from wxauth.v1.auth_service_pb2 import (
    LoginRequest,
    LogoutRequest,
    UnbindRequest,
    ValidateSessionRequest,
    ValidateSessionResponse,
)
from wxauth.v1.auth_service_pb2_grpc import AuthServiceServicer, AuthServiceStub
from wxauth.v1.wechat_service_pb2_grpc import WeChatServiceServicer
from wxauth_server.rpc.guard import deadline_of
from wxauth_server.rpc.server import RpcServer
from wxauth_server.settings import GrpcSettings

SECRET = CANARY.keep("CANARY-exception-text-of-ours")


# Each of its methods is UNIMPLEMENTED.
_NO_WECHAT = WeChatServiceServicer()  # type: ignore[abstract]


class _Faulty(AuthServiceServicer):
    """Each method fails in a way of its own."""

    def __init__(self) -> None:
        self.began = 0
        self.left_s: list[float] = []

    async def Login(self, request: Any, context: Any) -> NoReturn:  # noqa: N802
        raise RuntimeError(f"https://api.weixin.qq.com/?secret={SECRET}")

    async def Logout(self, request: Any, context: Any) -> NoReturn:  # noqa: N802
        raise asyncio.CancelledError(SECRET)

    async def Unbind(self, request: Any, context: Any) -> Any:  # noqa: N802
        return None

    async def ValidateSession(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.began += 1
        self.left_s.append(deadline_of(context).left_s())
        return ValidateSessionResponse()

    async def BatchValidateSessions(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise AssertionError("not called")

    async def ListSessions(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise AssertionError("not called")

    async def RevokeSession(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise AssertionError("not called")

    async def DeleteAccount(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise AssertionError("not called")


@pytest.fixture(scope="module")
def faulty() -> _Faulty:
    return _Faulty()


@pytest.fixture(scope="module")
def port(server_loop: asyncio.AbstractEventLoop, faulty: _Faulty) -> Iterator[int]:
    settings = GrpcSettings(listen="127.0.0.1:0", lame_duck_s=0, stop_grace_s=0)

    async def start() -> tuple[RpcServer, int]:
        server = RpcServer(faulty, _NO_WECHAT, settings, callers=ANYBODY)
        return server, await server.start()

    server, number = asyncio.run_coroutine_threadsafe(start(), server_loop).result(10)
    yield number
    asyncio.run_coroutine_threadsafe(server.stop(), server_loop).result(10)


@pytest.fixture(scope="module")
def channel(port: int) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> AuthServiceStub:
    return AuthServiceStub(channel)


def test_an_exceptions_text_goes_nowhere(
    stub: AuthServiceStub, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        refusal = refused(lambda: stub.Login(LoginRequest(), timeout=5))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert SECRET not in repr(refusal)
    [record] = [record for record in caplog.records if record.name == "wxauth.rpc"]
    assert vars(record)["error_id"] == refusal.metadata["error_id"]
    assert SECRET not in repr(vars(record))
    assert vars(record)["trace"][-1] == "RuntimeError"


def test_a_cancellation_of_ours_ends_the_call_at_once(stub: AuthServiceStub) -> None:
    refusal = refused(lambda: stub.Logout(LogoutRequest(), timeout=5))
    assert refusal.reason == "OVERLOADED", "not the caller's deadline"


def test_an_answer_that_is_none(stub: AuthServiceStub) -> None:
    refusal = refused(lambda: stub.Unbind(UnbindRequest(), timeout=5))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "SerializeToString" not in repr(refusal)


@pytest.mark.parametrize(
    "message", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\x0a\x05ab"], ids=["tag", "utf-8", "short"]
)
@pytest.mark.parametrize(
    "method", ["Login", "ValidateSession", "BatchValidateSessions", "Unbind", "Logout"]
)
def test_malformed_messages(channel: grpc.Channel, method: str, message: bytes) -> None:
    call: Any = channel.unary_unary(f"/wxauth.v1.AuthService/{method}", lambda _: message, None)
    refusal = refused(lambda: call(None, timeout=5))
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "REQUEST_INVALID",
    )
    assert refusal.violations == {"request": "not the message that this method takes"}


@pytest.mark.parametrize(
    "path",
    ["/wxauth.v1.AuthService/NoSuch", "/no.such.Service/Login", "/", "/wxauth.v1.AuthService/"],
)
def test_unknown_methods(channel: grpc.Channel, path: str) -> None:
    call: Any = channel.unary_unary(path, lambda _: b"", None)
    refusal = refused(lambda: call(None, timeout=5))
    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED


def test_a_call_without_time_does_not_begin(stub: AuthServiceStub, faulty: _Faulty) -> None:
    began = faulty.began
    refusal = refused(lambda: stub.ValidateSession(ValidateSessionRequest(), timeout=0.001))
    assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert faulty.began == began


def test_without_a_deadline_there_is_one(stub: AuthServiceStub, faulty: _Faulty) -> None:
    stub.ValidateSession(ValidateSessionRequest())
    assert 4 < faulty.left_s[-1] <= 5
    stub.ValidateSession(ValidateSessionRequest(), timeout=60)
    assert 50 < faulty.left_s[-1] < 61, "the caller's own"


def test_health(channel: grpc.Channel) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    for service in ("", "wxauth.v1.AuthService"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    unknown = refused(
        lambda: health.Check(health_pb2.HealthCheckRequest(service="no.such"), timeout=5)
    )
    assert unknown.code is grpc.StatusCode.NOT_FOUND
    watch = health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=5)
    assert next(iter(watch)).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()


def test_a_plain_http_client_gets_no_answer(server: RunningServer) -> None:
    """The wrong content-type; gRPC's PROTOCOL-HTTP2.md allows it no more than an HTTP error."""
    with raw_http2.RawConnection(server.port) as connection:
        connection.send(raw_http2.PREFACE)
        connection.send_frame(raw_http2.SETTINGS)
        path = b"/wxauth.v1.AuthService/Login"
        block = b"\x83\x86\x04" + bytes((len(path),)) + path + b"\x01\x09127.0.0.1"
        block += b"\x00\x0ccontent-type\x10application/json"
        connection.send_frame(raw_http2.HEADERS, raw_http2.END_HEADERS, 1, block)
        connection.send_frame(raw_http2.DATA, raw_http2.END_STREAM, 1, b'{"code":"x"}')
        for frame in connection.frames():
            if frame.stream == 1:
                break
        assert frame.kind in {raw_http2.RST_STREAM, raw_http2.HEADERS}
        assert frame.flags & raw_http2.END_STREAM or frame.kind == raw_http2.RST_STREAM
    assert refused(lambda: server.validate("x")).reason == "SESSION_INVALID"
