"""Health follows the store, and says so before the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.running_server import RunningServer, running_server
from tests.sandbox_server import RunningSandbox
from wxauth_server import wiring
from wxauth_server.errors import StoreUnavailable

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


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
