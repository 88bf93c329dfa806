"""POST /login and GET /login."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.scripted_server import SESSION_ID, ScriptedServer, fail, in_turn, refuse
from wxauth.v1 import auth_service_pb2 as pb

ANSWER = {
    "sessionId": SESSION_ID,
    "expireTime": "2026-03-01T12:00:00.250Z",
    "absoluteExpireTime": "2026-03-01T12:00:00Z",
    "account": {
        "source": "local",
        "id": "1001",
        "username": "张三",
        "displayName": "Zhang San",
    },
    "boundNow": True,
}
APP = "wx0123456789abcdef"


def test_a_login_with_everything(http: httpx.Client, server: ScriptedServer) -> None:
    answer = http.post(
        "/login",
        json={
            "appId": "wx1",
            "code": "c",
            "username": "张三",
            "password": "p",
            "phoneCode": "f",
            "rebind": True,
            "requestId": "r" * 22,
            "device": "d",
        },
        headers={"User-Agent": "agent"},
    )
    assert (answer.status_code, answer.json()) == (200, ANSWER)
    assert server.requests("Login") == [
        pb.LoginRequest(
            app_id="wx1",
            code="c",
            username="张三",
            password="p",
            phone_code="f",
            rebind=True,
            request_id="r" * 22,
            client=pb.ClientInfo(address="127.0.0.1", user_agent="agent", device="d"),
        )
    ]


def test_without_a_request_id_the_gateway_makes_one(
    http: httpx.Client, server: ScriptedServer
) -> None:
    for _ in range(2):
        http.post("/login", json={"code": "c"}).raise_for_status()
    first, second = (request.request_id for request in server.requests("Login"))
    assert len(first) == len(second) == 32
    assert first != second


def test_a_login_whose_answer_was_lost_is_repeated_as_it_is(
    http: httpx.Client, server: ScriptedServer
) -> None:
    """Within the gateway; and by the mini-program, where the gateway's own answer was lost."""
    server.answers["Login"] = in_turn(fail("UNAVAILABLE"), server.answers["Login"])
    body = {"code": "c", "requestId": "r" * 22}
    for _ in range(2):
        http.post("/login", json=body).raise_for_status()
    requests = server.requests("Login")
    assert len(requests) == 3
    assert all(request == requests[0] for request in requests)
    assert requests[0].request_id == "r" * 22


def test_a_short_throttling_is_waited_for(http: httpx.Client, server: ScriptedServer) -> None:
    throttled = refuse("THROTTLED", "RESOURCE_EXHAUSTED", retry_after_s=0.01)
    server.answers["Login"] = in_turn(*[throttled] * 5, server.answers["Login"])
    answer = http.post("/login", json={"code": "c"})
    assert (answer.status_code, answer.json()) == (200, ANSWER)
    assert len(server.requests("Login")) == 6


def test_a_long_throttling_is_told_at_once(http: httpx.Client, server: ScriptedServer) -> None:
    server.answers["Login"] = refuse("THROTTLED", "RESOURCE_EXHAUSTED", retry_after_s=899.2)
    answer = http.post("/login", json={"code": "c"})
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (429, "THROTTLED")
    assert (answer.headers["Retry-After"], error["retryAfter"]) == ("900", "900s")
    assert len(server.requests("Login")) == 1


@pytest.mark.parametrize(
    ("referer", "app_id"),
    [
        (f"https://servicewechat.com/{APP}/0/page-frame.html", APP),
        (f"https://servicewechat.com/{APP}/devtools/page-frame.html", APP),
        (f"https://servicewechat.com/{APP}", ""),
        (f"http://servicewechat.com/{APP}/0/page-frame.html", ""),
        (f"https://servicewechat.com.example.org/{APP}/0/", ""),
        (f"https://example.org/https://servicewechat.com/{APP}/0/", ""),
        ("https://servicewechat.com/wx0123456789ABCDEF/0/", ""),
        ("https://servicewechat.com/wx0123/0/", ""),
        ("", ""),
    ],
)
def test_the_referer_selects_the_app(
    http: httpx.Client, server: ScriptedServer, referer: str, app_id: str
) -> None:
    http.post("/login", json={"code": "c"}, headers={"Referer": referer}).raise_for_status()
    assert server.requests("Login")[0].app_id == app_id


def test_the_body_selects_the_app_before_the_referer(
    http: httpx.Client, server: ScriptedServer
) -> None:
    referer = f"https://servicewechat.com/{APP}/0/page-frame.html"
    http.post("/login", json={"code": "c", "appId": "wx1"}, headers={"Referer": referer})
    assert server.requests("Login")[0].app_id == "wx1"


def test_two_referers_select_nothing(http: httpx.Client, server: ScriptedServer) -> None:
    referer = ("Referer", f"https://servicewechat.com/{APP}/0/page-frame.html")
    http.post("/login", json={"code": "c"}, headers=[referer, referer]).raise_for_status()
    assert server.requests("Login")[0].app_id == ""


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"a" * 600, "a" * 512),
        ("微".encode() * 200, "微" * 170),  # cut between characters
        (b"a\xffb", "ab"),
    ],
    ids=["long", "long Chinese", "not UTF-8"],
)
def test_the_user_agent_is_cut_to_512_bytes(
    http: httpx.Client, server: ScriptedServer, sent: bytes, kept: str
) -> None:
    http.post("/login", json={"code": "c"}, headers=[(b"User-Agent", sent)]).raise_for_status()
    assert server.requests("Login")[0].client.user_agent == kept


@pytest.mark.parametrize(
    ("body", "field", "problem"),
    [
        ({}, "code", "required"),
        ({"code": "c", "app_id": "wx1"}, "app_id", "not known here"),
        ({"code": "c", "appId": "wx1", "app_id": "wx1"}, "app_id", "not known here"),
        ({"code": "c", "more": 1}, "more", "not known here"),
        ({"code": 1}, "code", "must be a text"),
        ({"code": None}, "code", "must be a text"),
        ({"code": "c", "password": True}, "password", "must be a text"),
        ({"code": "c", "username": ["a"]}, "username", "must be a text"),
        ({"code": "c", "appId": {}}, "appId", "must be a text"),
        ({"code": "c", "phone_code": "f"}, "phone_code", "not known here"),
        ({"code": "c", "phoneCode": 1}, "phoneCode", "must be a text"),
        ({"code": "c", "request_id": "r"}, "request_id", "not known here"),
        ({"code": "c", "requestId": None}, "requestId", "must be a text"),
        ({"code": "c", "rebind": "true"}, "rebind", "must be true or false"),
        ({"code": "c", "rebind": 1}, "rebind", "must be true or false"),
        ({"code": "c", "k" * 70: 1}, "k" * 64, "not known here"),
    ],
    ids=str,
)
def test_a_body_that_is_not_a_login(
    http: httpx.Client, server: ScriptedServer, body: dict[str, Any], field: str, problem: str
) -> None:
    answer = http.post("/login", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert error["reason"] == "REQUEST_INVALID"
    assert error["violations"] == [{"field": field, "problem": problem}]
    assert server.asked == []


def test_a_refusal_quotes_no_value(http: httpx.Client) -> None:
    answer = http.post("/login", json={"code": ["CANARY"], "password": 1, "x": "CANARY"})
    assert answer.status_code == 400
    assert "CANARY" not in answer.text


@pytest.mark.parametrize("path", ["/login", "/unbind", "/account/delete", "/wechat/phone-number"])
@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/json"}], ids=str)
def test_without_a_body(http: httpx.Client, path: str, headers: dict[str, str]) -> None:
    answer = http.post(path, headers=headers | {"Authorization": f"Bearer {SESSION_ID}"})
    assert answer.status_code == 400
    assert answer.json()["error"]["violations"] == [
        {"field": "", "problem": "the body is missing: a JSON object is required"}
    ]
