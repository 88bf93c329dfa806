"""GET /sessions and POST /sessions/{handle}/revoke: the user's own devices."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.scripted_server import HANDLES, SESSION_ID, ScriptedServer, refuse, say
from wxauth.v1 import auth_service_pb2 as pb

BEARER = {"Authorization": f"Bearer {SESSION_ID}"}
NOON = "2026-03-01T12:00:00.250Z"


def test_the_users_sessions(http: httpx.Client, server: ScriptedServer) -> None:
    answer = http.get("/sessions", headers=BEARER)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "sessions": [
                {
                    "sessionHandle": HANDLES[0],
                    "current": True,
                    "device": "iPhone 15",
                    "userAgent": "agent",
                    "network": "192.0.2.0/24",
                    "loginTime": NOON,
                    "lastSeenTime": NOON,
                    "idleExpireTime": NOON,
                    "absoluteExpireTime": "2026-03-01T12:00:00Z",
                },
                {
                    "sessionHandle": HANDLES[1],
                    "current": False,
                    "device": "",
                    "userAgent": "",
                    "network": "",
                    "loginTime": NOON,
                    "lastSeenTime": NOON,
                    "idleExpireTime": NOON,
                    "absoluteExpireTime": NOON,
                },
            ]
        },
    )
    assert answer.headers["Cache-Control"] == "no-store"
    assert server.requests("ListSessions") == [pb.ListSessionsRequest(session_id=SESSION_ID)]


def test_no_sessions(http: httpx.Client, server: ScriptedServer) -> None:
    server.answers["ListSessions"] = say(pb.ListSessionsResponse())
    assert http.get("/sessions", headers=BEARER).json() == {"sessions": []}


@pytest.mark.parametrize("body", [None, {}])
@pytest.mark.parametrize("handle", HANDLES)
def test_revoke(http: httpx.Client, server: ScriptedServer, handle: str, body: Any) -> None:
    answer = http.post(f"/sessions/{handle}/revoke", headers=BEARER, json=body)
    assert (answer.status_code, answer.json()) == (200, {})
    assert server.requests("RevokeSession") == [
        pb.RevokeSessionRequest(session_id=SESSION_ID, session_handle=handle)
    ]


@pytest.mark.parametrize(
    "handle",
    [
        "A" * 21,
        "A" * 23,
        "A" * 21 + "=",
        "A" * 21 + "+",
        "A" * 21 + ".",
        "A" * 21 + "%0A",
        "A" * 22 + "%0A",
        "A" * 21 + "%00",
        "A" * 21 + "%C3%A9",
        "%D9%A4" * 22,
        "%2e%2e",
        SESSION_ID,
        "CANARY",
    ],
)
def test_a_handle_that_is_none(http: httpx.Client, server: ScriptedServer, handle: str) -> None:
    answer = http.post(f"/sessions/{handle}/revoke", headers=BEARER)
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (400, "REQUEST_INVALID")
    assert [violation["field"] for violation in error["violations"]] == ["sessionHandle"]
    assert handle not in answer.text
    assert server.asked == []


def test_a_handle_of_somebody_else(http: httpx.Client, server: ScriptedServer) -> None:
    problem = "no session of this account"
    server.answers["RevokeSession"] = refuse(
        "REQUEST_INVALID", "INVALID_ARGUMENT", violations=[("session_handle", problem)]
    )
    answer = http.post(f"/sessions/{HANDLES[0]}/revoke", headers=BEARER)
    assert answer.status_code == 400
    assert answer.json()["error"]["violations"] == [{"field": "sessionHandle", "problem": problem}]


def test_revoke_takes_no_fields(http: httpx.Client, server: ScriptedServer) -> None:
    path = f"/sessions/{HANDLES[0]}/revoke"
    assert http.post(path, headers=BEARER, json={"all": True}).status_code == 400
    assert http.post(path, headers=BEARER, content=b"all=true").status_code == 415
    assert server.asked == []


@pytest.mark.parametrize("cause", ["LOGOUT", "ADMIN"])
def test_a_dead_session_revokes_nothing(
    http: httpx.Client, server: ScriptedServer, cause: str
) -> None:
    refusal = refuse("SESSION_REVOKED", "UNAUTHENTICATED", metadata={"cause": cause})
    server.answers["RevokeSession"] = server.answers["ListSessions"] = refusal
    for answer in (
        http.post(f"/sessions/{HANDLES[1]}/revoke", headers=BEARER),
        http.get("/sessions", headers=BEARER),
    ):
        error = answer.json()["error"]
        assert (answer.status_code, error["metadata"]) == (401, {"cause": cause})
