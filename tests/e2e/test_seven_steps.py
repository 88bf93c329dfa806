"""The textbook's seven steps through the real gateway, server and sandbox."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.canary import CANARY
from tests.gateway.running import running_gateways
from tests.running_server import RunningServer
from wxauth_gateway.settings import GatewaySettings

PASSWORD = "pwd123456"


@pytest.fixture
def gateway(server: RunningServer, server_loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    settings = GatewaySettings(server=server.address, allow_get_login=True)
    with running_gateways([settings], server_loop) as [(host, port)]:
        yield f"http://{host}:{port}"


def keep(answer: requests.Response) -> dict[str, Any]:
    """The answer's JSON; its SessionId is a secret from now on."""
    body: dict[str, Any] = answer.json()
    if "sessionId" in body:
        CANARY.keep(body["sessionId"])
    else:
        CANARY.hear("gateway", answer.text + repr(answer.headers))
    return body


def bearer(session_id: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {session_id}"}


def test_the_textbooks_request_as_printed(server: RunningServer, gateway: str) -> None:
    """`wx.request` without a method: GET, everything in the query, reads res.data.sessionId."""
    server.add_account("zhangsan", PASSWORD, account_id="10001")
    code = server.code("alice-of-the-textbook")
    first = requests.get(
        f"{gateway}/login?username=zhangsan&password=pwd123456&code={code}", timeout=10
    )
    assert first.status_code == 200
    body = keep(first)
    assert body["sessionId"].startswith("wxs_")
    assert body["account"]["id"] == "10001"

    silent = requests.get(
        f"{gateway}/login?code={server.code('alice-of-the-textbook')}", timeout=10
    )
    assert silent.status_code == 200
    assert keep(silent)["boundNow"] is False


def test_from_the_first_login_to_unbind(server: RunningServer, gateway: str) -> None:
    server.add_account("zhangsan", PASSWORD, account_id="10001")
    user = server.new_user()

    unbound = requests.post(f"{gateway}/login", json={"code": server.code(user)}, timeout=10)
    assert (unbound.status_code, keep(unbound)["error"]["reason"]) == (400, "BINDING_REQUIRED")

    credentials = {"username": "zhangsan", "password": PASSWORD}
    first = requests.post(
        f"{gateway}/login", json={"code": server.code(user), **credentials}, timeout=10
    )
    session_id = keep(first)["sessionId"]

    session = requests.get(f"{gateway}/session", headers=bearer(session_id), timeout=10)
    assert session.status_code == 200
    assert session.headers["X-Wxauth-Account-Id"] == "10001"
    assert session.headers["Cache-Control"] == "no-store"
    assert session_id not in session.text

    out = requests.post(f"{gateway}/logout", headers=bearer(session_id), json={}, timeout=10)
    assert out.status_code == 200
    dead = requests.get(f"{gateway}/session", headers=bearer(session_id), timeout=10)
    assert dead.status_code == 401
    assert keep(dead)["error"]["metadata"] == {"cause": "LOGOUT"}

    again = keep(requests.post(f"{gateway}/login", json={"code": server.code(user)}, timeout=10))[
        "sessionId"
    ]
    gone = requests.post(
        f"{gateway}/unbind", headers=bearer(again), json={"code": server.code(user)}, timeout=10
    )
    assert gone.status_code == 200
    assert keep(gone)["sessionsEnded"] == 2 - 1, "the other one had logged out"


def test_the_database_holds_no_secret(server: RunningServer, gateway: str, tmp_path: Path) -> None:
    """Neither SessionId nor code, password, session_key or AppSecret, in no file of the store."""
    server.add_account("zhangsan", PASSWORD)
    user = server.new_user()
    code = server.code(user)
    answer = requests.get(
        f"{gateway}/login?username=zhangsan&password={PASSWORD}&code={code}", timeout=10
    )
    session_id = keep(answer)["sessionId"]
    key = requests.get(
        "{}/sns/jscode2session?{}".format(
            server.sandbox.base_url,
            urllib.parse.urlencode(
                {
                    "appid": "wxdec0de0000000001",
                    "secret": "0123456789abcdef0123456789abcdef",
                    "js_code": server.code(user),
                    "grant_type": "authorization_code",
                }
            ),
        ),
        timeout=10,
    ).json()["session_key"]
    files = [path for path in (tmp_path / "data").iterdir() if path.name != "keyring.json"]
    assert {path.name for path in files} >= {"wxauth.db", "wxauth.db-wal"}
    for path in files:
        content = path.read_bytes()
        for secret in (session_id, session_id[4:47], code, PASSWORD, key):
            assert secret.encode() not in content, path.name
        assert b"0123456789abcdef0123456789abcdef" not in content
