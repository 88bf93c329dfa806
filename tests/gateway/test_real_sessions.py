"""A user's own sessions and account with the real server and sandbox behind the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.canary import CANARY
from tests.gateway.running import running_gateways
from tests.running_server import RunningServer, running_server
from tests.sandbox_server import RunningSandbox
from wxauth_gateway.settings import GatewaySettings

PASSWORD = "correct horse battery"


@pytest.fixture
def server(
    tmp_path: Path, sandbox: RunningSandbox, server_loop: asyncio.AbstractEventLoop
) -> Iterator[RunningServer]:
    with running_server(tmp_path / "data", sandbox, server_loop) as server:
        server.add_account("zhangsan", PASSWORD)
        yield server


@pytest.fixture
def http(server: RunningServer, server_loop: asyncio.AbstractEventLoop) -> Iterator[httpx.Client]:
    """Talks to a gateway as the one proxy in front of it."""
    settings = GatewaySettings(server=server.address, trusted_hops=1)
    with (
        running_gateways([settings], server_loop) as [(host, port)],
        httpx.Client(base_url=f"http://{host}:{port}", trust_env=False, verify=False) as http,
    ):
        yield http


def log_in(http: httpx.Client, code: str, forwarded: str, **more: Any) -> dict[str, str]:
    """The headers of a session that came from there."""
    headers = {"X-Forwarded-For": forwarded, "User-Agent": "MicroMessenger"}
    answer = http.post("/login", json={"code": code} | more, headers=headers)
    answer.raise_for_status()
    return {"Authorization": f"Bearer {CANARY.keep(answer.json()['sessionId'])}"}


def test_devices(server: RunningServer, http: httpx.Client) -> None:
    phone = log_in(
        http,
        server.code("ann"),
        "198.51.100.9, 203.0.113.7",
        username="zhangsan",
        password=PASSWORD,
        device="iPhone 15",
    )
    tablet = log_in(http, server.code("ann"), "[2001:db8:1:2::3]:5060", device="iPad")

    own = http.get("/sessions", headers=phone).json()["sessions"]
    assert [(each["device"], each["current"], each["network"]) for each in own] == [
        ("iPad", False, "2001:db8:1::/48"),
        ("iPhone 15", True, "203.0.113.0/24"),
    ]
    assert {each["userAgent"] for each in own} == {"MicroMessenger"}

    path = f"/sessions/{own[0]['sessionHandle']}/revoke"
    for _ in range(2):
        answer = http.post(path, headers=phone)
        assert (answer.status_code, answer.json()) == (200, {})
    refusal = http.get("/session", headers=tablet).json()["error"]
    assert (refusal["reason"], refusal["metadata"]) == ("SESSION_REVOKED", {"cause": "LOGOUT"})
    assert len(http.get("/sessions", headers=phone).json()["sessions"]) == 1


def test_the_handle_of_somebody_else(server: RunningServer, http: httpx.Client) -> None:
    server.add_account("lisi", PASSWORD)
    anns, bobs = (
        log_in(http, server.code(user), "203.0.113.7", username=name, password=PASSWORD)
        for user, name in (("ann", "zhangsan"), ("bob", "lisi"))
    )
    handle = http.get("/session", headers=bobs).json()["sessionHandle"]
    error = http.post(f"/sessions/{handle}/revoke", headers=anns).json()["error"]
    assert (error["code"], error["violations"][0]["field"]) == (400, "sessionHandle")
    assert http.get("/session", headers=bobs).status_code == 200


@pytest.mark.parametrize("proof", ["code", "password"])
def test_leaving(server: RunningServer, http: httpx.Client, proof: str) -> None:
    bearer = log_in(http, server.code("ann"), "203.0.113.7", username="zhangsan", password=PASSWORD)
    log_in(http, server.code("ann"), "203.0.113.7")
    wrong = {"code": server.code("bob")} if proof == "code" else {"password": "wrong"}
    refusal = http.post("/account/delete", headers=bearer, json=wrong).json()["error"]
    assert (refusal["code"], refusal["reason"]) == (403, "PROOF_INVALID")

    right = {"code": server.code("ann")} if proof == "code" else {"password": PASSWORD}
    assert http.post("/account/delete", headers=bearer, json=right).json() == {
        "already": False,
        "account": {"source": "local", "id": "id-zhangsan"},
        "bindingsEnded": 1,
        "sessionsEnded": 2,
    }
    again = http.post("/account/delete", headers=bearer, json=right)
    assert (again.status_code, again.json()) == (200, {"already": True})
    assert http.get("/sessions", headers=bearer).json()["error"]["metadata"] == {
        "cause": "ACCOUNT_DELETED"
    }
    silent = http.post("/login", json={"code": server.code("ann")})
    assert silent.json()["error"]["reason"] == "BINDING_REQUIRED"


def test_guessing_is_told_how_long_to_wait(server: RunningServer, http: httpx.Client) -> None:
    """Not a login, which would wait by itself: after 5 failures 1 s, then twice as long."""
    bearer = log_in(http, server.code("ann"), "203.0.113.7", username="zhangsan", password=PASSWORD)
    answers = []
    for _ in range(9):
        answers.append(http.post("/account/delete", headers=bearer, json={"password": "guess"}))
        if answers[-1].status_code == 429:
            break
    assert len(answers) > 5
    error = answers[-1].json()["error"]
    assert (error["code"], error["reason"]) == (429, "THROTTLED")
    assert error["retryAfter"] == f"{answers[-1].headers['Retry-After']}s"
    assert int(answers[-1].headers["Retry-After"]) >= 1
