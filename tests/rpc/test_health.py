"""Health follows the store; whoever reaches the port may ask, within limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.rpc.busy_server import wait_until
from tests.rpc.known_callers import a_token, bearer, caller, write_callers
from tests.running_server import RunningServer, refused, running_server
from tests.sandbox_server import RunningSandbox
from wxauth.v1.auth_service_pb2 import ValidateSessionRequest
from wxauth_server import wiring
from wxauth_server.callers.caller import Role
from wxauth_server.errors import StoreUnavailable
from wxauth_server.rpc import health

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
TOKEN = a_token()
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


@pytest.fixture
def watched(
    tmp_path: Path,
    sandbox: RunningSandbox,
    server_loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[RunningServer]:
    """A server that looks at its store every 20 ms."""
    monkeypatch.setattr(wiring, "READINESS_INTERVAL_S", 0.02)
    with running_server(tmp_path / "data", sandbox, server_loop) as running:
        yield running


def states(server: RunningServer) -> Iterator[int]:
    """What a caller who watches the health of AuthService is told, as it changes."""
    stub: Any = health_pb2_grpc.HealthStub(server.channel)
    request = health_pb2.HealthCheckRequest(service="wxauth.v1.AuthService")
    for answer in stub.Watch(request, timeout=20):
        yield answer.status


def test_not_serving_while_the_store_cannot_be_read(
    watched: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = states(watched)
    assert next(seen) == SERVING

    def fail(_: object) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as broken:  # a disk that cannot be read is hard to come by
        broken.setattr(watched.store, "read_sessions", fail)
        assert next(seen) == NOT_SERVING
    assert next(seen) == SERVING


def test_wechat_being_away_does_not_make_the_server_unready(
    tmp_path: Path,
    sandbox: RunningSandbox,
    server_loop: asyncio.AbstractEventLoop,
) -> None:
    nowhere = {"base_url": "http://127.0.0.1:9"}
    with running_server(tmp_path / "data", sandbox, server_loop, wechat=nowhere) as server:
        assert next(states(server)) == SERVING


@pytest.fixture
def guarded(
    tmp_path: Path, sandbox: RunningSandbox, server_loop: asyncio.AbstractEventLoop
) -> Iterator[RunningServer]:
    """A server that asks every caller who it is."""
    file = tmp_path / "callers.json"
    write_callers(file, caller("orders", Role.SERVICE, token=TOKEN))
    with running_server(
        tmp_path / "data",
        sandbox,
        server_loop,
        grpc={"require_callers": True},
        callers={"file": file},
    ) as running:
        yield running


def health_of(server: RunningServer) -> Any:
    return health_pb2_grpc.HealthStub(server.channel)


def test_nobody_is_asked_who_they_are(guarded: RunningServer) -> None:
    request = health_pb2.HealthCheckRequest(service="wxauth.v1.AuthService")
    assert health_of(guarded).Check(request, timeout=10).status == SERVING
    assert next(states(guarded)) == SERVING


def test_known_callers_may_list(guarded: RunningServer) -> None:
    messages: Any = health_pb2
    refusal = refused(lambda: health_of(guarded).List(messages.HealthListRequest(), timeout=10))
    assert refusal.reason == "CALLER_UNAUTHENTICATED"
    listed = health_of(guarded).List(
        messages.HealthListRequest(), timeout=10, metadata=bearer(TOKEN)
    )
    assert {name: status.status for name, status in listed.statuses.items()} == {
        "": SERVING,
        "wxauth.v1.AuthService": SERVING,
        "wxauth.v1.WeChatService": SERVING,
        "wxauth.v1.AdminService": SERVING,
    }


def test_a_flood_of_checks(guarded: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one connection: it is told so; others and calls of services are not touched."""
    now_s = [time.monotonic() + 10]
    monkeypatch.setattr(guarded.server._rpc._health, "_monotonic_s", lambda: now_s[0])

    def check() -> Any:
        return health_of(guarded).Check(health_pb2.HealthCheckRequest(), timeout=10)

    for _ in range(health.CALLS_PER_S):
        check()
    for _ in range(3):
        refusal = refused(check)
        assert (refusal.code, refusal.reason, refusal.retry_after_s) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "OVERLOADED",
            1.0,
        )
    assert refused(lambda: next(states(guarded))).reason == "OVERLOADED"
    request = ValidateSessionRequest(session_id="x")
    with grpc.insecure_channel(guarded.address, options=OWN_CONNECTION) as other:
        stub: Any = health_pb2_grpc.HealthStub(other)
        stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
    validate: Any = guarded.stub.ValidateSession
    refusal = refused(lambda: validate(request, timeout=10, metadata=bearer(TOKEN)))
    assert refusal.reason == "SESSION_INVALID", "a validation goes on"
    now_s[0] += 1 / health.CALLS_PER_S
    check()
    assert refused(check).reason == "OVERLOADED"


@pytest.mark.parametrize("limit", ["WATCHES_OF_CONNECTION", "MOST_WATCHES"])
def test_there_is_an_end_of_watches(
    guarded: RunningServer, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(health, limit, 2)
    request = health_pb2.HealthCheckRequest(service="no.such.Service")
    watches = [health_of(guarded).Watch(request, timeout=20) for _ in range(2)]
    assert [next(watch).status for watch in watches] == [UNKNOWN, UNKNOWN]
    assert refused(lambda: next(states(guarded))).reason == "OVERLOADED"
    with grpc.insecure_channel(guarded.address, options=OWN_CONNECTION) as other:
        stub: Any = health_pb2_grpc.HealthStub(other)
        watch = stub.Watch(request, timeout=20)
        if limit == "MOST_WATCHES":
            assert refused(lambda: next(watch)).reason == "OVERLOADED"
        else:
            assert next(watch).status == UNKNOWN
    watches[0].cancel()
    wait_until(lambda: guarded.server._rpc._health._watches.total() == 1)
    assert next(states(guarded)) == SERVING


@pytest.mark.parametrize("method", ["Check", "Watch"])
def test_a_watch_keeps_no_long_name(guarded: RunningServer, method: str) -> None:
    request = health_pb2.HealthCheckRequest(service="x" * 257)
    bare: Any = guarded.channel.unary_stream(
        f"/grpc.health.v1.Health/{method}", health_pb2.HealthCheckRequest.SerializeToString
    )
    refusal = refused(lambda: next(bare(request, timeout=10)))
    assert refusal.violations == {"service": "longer than 256 characters"}
