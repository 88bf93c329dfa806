"""GET /session, POST /logout and POST /unbind: what a SessionId opens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from tests.scripted_server import HANDLES, NOON, SESSION_ID, VALID, ScriptedServer, refuse, say
from wxauth.v1 import auth_service_pb2 as pb
from wxauth_gateway.messages.mapping import rfc3339, seconds

BEARER = {"Authorization": f"Bearer {SESSION_ID}"}
ACCOUNT = {"source": "local", "id": "1001", "username": "张三", "displayName": "Zhang San"}


def test_who_am_i(http: httpx.Client, server: ScriptedServer) -> None:
    answer = http.get("/session", headers=BEARER)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "account": ACCOUNT,
            "appId": "wx0123456789abcdef",
            "openid": "openid-1",
            "unionid": "",
            "sessionHandle": "handle-1",
            "loginTime": "2026-03-01T12:00:00.250Z",
            "expireTime": "2026-03-01T12:00:00.250Z",
            "absoluteExpireTime": "2026-03-01T12:00:00.250Z",
            "reuseFor": "300s",
        },
    )
    assert {name: value for name, value in answer.headers.items() if "wxauth" in name} == {
        "x-wxauth-account-source": "local",
        "x-wxauth-account-id": "1001",
        "x-wxauth-username": "%E5%BC%A0%E4%B8%89",
        "x-wxauth-app-id": "wx0123456789abcdef",
        "x-wxauth-openid": "openid-1",
        "x-wxauth-unionid": "",
        "x-wxauth-session-handle": "handle-1",
        "x-wxauth-login-time": "2026-03-01T12:00:00.250Z",
        "x-wxauth-expire-time": "2026-03-01T12:00:00.250Z",
    }
    assert SESSION_ID not in answer.text
    assert server.requests("ValidateSession") == [pb.ValidateSessionRequest(session_id=SESSION_ID)]


@pytest.mark.parametrize(
    "name",
    ["zhang@example.com", "a b", "a\r\nX-Wxauth-Openid: other", "100%", "%41", "张三", "\x7f"],
)
def test_no_name_breaks_out_of_its_header(
    http: httpx.Client, server: ScriptedServer, name: str
) -> None:
    account = pb.Account(source="local", id=name, username=name)
    valid = pb.ValidateSessionResponse()
    valid.CopyFrom(VALID)
    valid.account.CopyFrom(account)
    server.answers["ValidateSession"] = say(valid)
    answer = http.get("/session", headers=BEARER)
    assert answer.status_code == 200
    for header in ("X-Wxauth-Account-Id", "X-Wxauth-Username"):
        assert unquote(answer.headers[header]) == name
    assert answer.headers["X-Wxauth-Openid"] == "openid-1"


def test_a_plain_name_stays_readable_in_its_header(
    http: httpx.Client, server: ScriptedServer
) -> None:
    valid = pb.ValidateSessionResponse()
    valid.CopyFrom(VALID)
    valid.account.id = "user:7@example.com"
    server.answers["ValidateSession"] = say(valid)
    answer = http.get("/session", headers=BEARER)
    assert answer.headers["X-Wxauth-Account-Id"] == "user:7@example.com"


def test_the_caller_names_the_app_it_expects(http: httpx.Client, server: ScriptedServer) -> None:
    assert http.get("/session?appId=wx1", headers=BEARER).status_code == 200
    assert server.requests("ValidateSession")[0].app_id == "wx1"


@pytest.mark.parametrize("query", ["appId=a&appId=b", "app_id=a", "x=1", "appId", "appId=%FF", "&"])
def test_another_query_is_refused(http: httpx.Client, server: ScriptedServer, query: str) -> None:
    assert http.get(f"/session?{query}", headers=BEARER).status_code == 400
    assert server.asked == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/session", None),
        ("POST", "/logout", None),
        ("POST", "/unbind", {"code": "c"}),
        ("GET", "/sessions", None),
        ("POST", f"/sessions/{HANDLES[0]}/revoke", None),
        ("POST", "/account/delete", {"code": "c"}),
        ("POST", "/wechat/phone-number", {"code": "c"}),
        ("POST", "/wechat/user-data", {"encryptedData": "x", "iv": "y"}),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", SESSION_ID)],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer =")],
        [("Authorization", f"Basic {SESSION_ID}")],
        [("Authorization", f"Bearer {SESSION_ID} x")],
        [("Authorization", f"Bearer {SESSION_ID},{SESSION_ID}")],
        [("Authorization", "Bearer wxs_\xff")],
        [("Authorization", "Bearer " + "a" * 300)],
        [("Authorization", f"Bearer {SESSION_ID}"), ("Authorization", f"Bearer {SESSION_ID}")],
        [("Cookie", f"session={SESSION_ID}")],
    ],
    ids=range(12),
)
def test_without_one_well_formed_bearer(
    http: httpx.Client,
    server: ScriptedServer,
    headers: list[tuple[str, str]],
    method: str,
    path: str,
    body: Any,
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    answer = http.request(method, path, headers=raw, json=body)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["error"]["reason"] == "SESSION_INVALID"
    assert server.asked == []


def test_the_scheme_is_case_insensitive(http: httpx.Client) -> None:
    headers = {"Authorization": f"bearer {SESSION_ID}"}
    assert http.get("/session", headers=headers).status_code == 200


@pytest.mark.parametrize("body", [None, {}])
def test_logout(http: httpx.Client, server: ScriptedServer, body: Any) -> None:
    answer = http.post("/logout", headers=BEARER, json=body)
    assert (answer.status_code, answer.json()) == (200, {})
    assert server.requests("Logout") == [pb.LogoutRequest(session_id=SESSION_ID)]


def test_logout_takes_no_fields(http: httpx.Client, server: ScriptedServer) -> None:
    assert http.post("/logout", headers=BEARER, json={"all": True}).status_code == 400
    assert server.asked == []


@pytest.mark.parametrize("proof", ["code", "password"])
def test_unbind(http: httpx.Client, server: ScriptedServer, proof: str) -> None:
    answer = http.post("/unbind", headers=BEARER, json={proof: "x"})
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "already": False,
            "appId": "wx0123456789abcdef",
            "openid": "openid-1",
            "account": ACCOUNT,
            "sessionsEnded": 2,
        },
    )
    (request,) = server.requests("Unbind")
    assert (request.session_id, getattr(request, proof)) == (SESSION_ID, "x")


def test_repetitions_are_success(http: httpx.Client, server: ScriptedServer) -> None:
    for rpc, cause in (("Unbind", "UNBOUND"), ("Logout", "LOGOUT")):
        server.answers[rpc] = refuse(
            "SESSION_REVOKED", "UNAUTHENTICATED", metadata={"cause": cause}
        )
    answer = http.post("/unbind", headers=BEARER, json={"code": "x"})
    assert (answer.status_code, answer.json()) == (200, {"already": True})
    assert http.post("/logout", headers=BEARER).status_code == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"code": "a", "password": "b"}, {"code": ""}, {"session": "x", "code": "c"}],
    ids=str,
)
def test_unbind_needs_one_proof(http: httpx.Client, server: ScriptedServer, body: Any) -> None:
    answer = http.post("/unbind", headers=BEARER, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["violations"]
    assert server.asked == []


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, ""), (250_000, ".250"), (1_000, ".001"), (1, ".000001"), (123_456, ".123456")],
)
def test_times_as_protobuf_writes_them(micros: int, text: str) -> None:
    assert rfc3339(NOON.replace(microsecond=micros)) == f"2026-03-01T12:00:00{text}Z"
    assert seconds(timedelta(seconds=300, microseconds=micros)) == f"300{text}s"
