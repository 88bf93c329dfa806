"""/readyz, which anybody may ask: what it costs the server behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest

from tests.gateway.conftest import Running, http_client
from tests.gateway.held_connections import PATIENCE_S
from tests.gateway.running import running_gateways, wait_for
from tests.scripted_server import OWN_SESSIONS, ScriptedServer, fail
from wxauth.v1 import auth_service_pb2 as pb
from wxauth_gateway import probes
from wxauth_gateway.settings import GatewaySettings


@pytest.fixture
def fresh(
    running: Running, server: ScriptedServer, server_loop: asyncio.AbstractEventLoop
) -> Iterator[httpx.Client]:
    """Talks to a gateway that nobody has asked yet."""
    settings = GatewaySettings(server=server.address)
    with running_gateways([settings], server_loop) as [address], http_client(address) as http:
        yield http


def questions(server: ScriptedServer) -> int:
    return len(server.requests("ListSessions"))


@pytest.mark.parametrize("status", [200, 503])
def test_the_answer_is_good_for_a_while(
    fresh: httpx.Client,
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    monkeypatch.setattr(probes, "READY_FOR_S", 60.0)
    if status == 503:
        server.answers["ListSessions"] = fail("UNAVAILABLE")
    assert fresh.get("/readyz").status_code == status
    asked = questions(server)  # with the client's retries
    assert asked
    assert [fresh.get("/readyz").status_code for _ in range(10)] == [status] * 10
    assert questions(server) == asked
    told = [message for message in caplog.messages if "no answer from the server" in message]
    assert len(told) == (status == 503)


def test_then_it_asks_again(
    fresh: httpx.Client, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "READY_FOR_S", 0.0)
    assert fresh.get("/readyz").status_code == 200
    server.answers["ListSessions"] = fail("UNAVAILABLE")
    answer = fresh.get("/readyz")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_who_asks_at_once_shares_one_question(
    fresh: httpx.Client, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the first one leaves before it is answered."""
    monkeypatch.setattr(probes, "READY_FOR_S", 0.0)
    go_on = threading.Event()

    def slow(_request: object, _context: object) -> pb.ListSessionsResponse:
        assert go_on.wait(PATIENCE_S)
        return OWN_SESSIONS

    server.answers["ListSessions"] = slow
    arrived = threading.Semaphore(0)
    obstacle = probes._Readiness.obstacle

    async def counted(self: probes._Readiness) -> object:
        arrived.release()
        return await obstacle(self)

    monkeypatch.setattr(probes._Readiness, "obstacle", counted)
    with ThreadPoolExecutor(8) as pool, closing(fresh):
        with pytest.raises(httpx.ReadTimeout):
            fresh.get("/readyz", timeout=0.1)
        wait_for(lambda: questions(server) == 1)
        asking = [pool.submit(fresh.get, "/readyz") for _ in range(8)]
        for _ in range(9):
            assert arrived.acquire(timeout=PATIENCE_S)
        go_on.set()
        assert [asked.result().status_code for asked in asking] == [200] * 8
    assert questions(server) == 1
