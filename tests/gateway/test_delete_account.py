"""POST /account/delete: the user's right to leave."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.scripted_server import SESSION_ID, ScriptedServer, fail, refuse
from wxauth.v1 import auth_service_pb2 as pb

BEARER = {"Authorization": f"Bearer {SESSION_ID}"}


@pytest.mark.parametrize("proof", ["code", "password"])
def test_delete(http: httpx.Client, server: ScriptedServer, proof: str) -> None:
    answer = http.post("/account/delete", headers=BEARER, json={proof: "x"})
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "already": False,
            "account": {"source": "local", "id": "1001"},
            "bindingsEnded": 2,
            "sessionsEnded": 3,
        },
    )
    assert answer.headers["Cache-Control"] == "no-store"
    assert server.requests("DeleteAccount") == [
        pb.DeleteAccountRequest(session_id=SESSION_ID, **{proof: "x"})
    ]


def test_a_repetition_is_success(http: httpx.Client, server: ScriptedServer) -> None:
    metadata = {"cause": "ACCOUNT_DELETED"}
    server.answers["DeleteAccount"] = refuse(
        "SESSION_REVOKED", "UNAUTHENTICATED", metadata=metadata
    )
    answer = http.post("/account/delete", headers=BEARER, json={"code": "x"})
    assert (answer.status_code, answer.json()) == (200, {"already": True})


@pytest.mark.parametrize("cause", ["LOGOUT", "UNBOUND", "ADMIN", ""])
def test_a_session_that_ended_otherwise(
    http: httpx.Client, server: ScriptedServer, cause: str
) -> None:
    server.answers["DeleteAccount"] = refuse(
        "SESSION_REVOKED", "UNAUTHENTICATED", metadata={"cause": cause}
    )
    answer = http.post("/account/delete", headers=BEARER, json={"code": "x"})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (401, "SESSION_REVOKED")


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"code": "a", "password": "b"},
        {"code": "", "password": ""},
        {"code": 1},
        {"password": None},
        {"code": "c", "account": "1002"},
        {"code": "c", "source": "local"},
    ],
    ids=str,
)
def test_it_needs_one_proof_and_nothing_else(
    http: httpx.Client, server: ScriptedServer, body: Any
) -> None:
    answer = http.post("/account/delete", headers=BEARER, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["violations"]
    assert server.asked == []


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (refuse("PROOF_INVALID", "PERMISSION_DENIED"), 403),
        (refuse("THROTTLED", "RESOURCE_EXHAUSTED", retry_after_s=900), 429),
        (refuse("ACCOUNT_SOURCE_UNAVAILABLE", "UNAVAILABLE", retry_after_s=1), 503),
        (fail("UNAVAILABLE"), 503),
        (fail("DEADLINE_EXCEEDED"), 504),
    ],
    ids=["proof", "throttled", "source", "unreachable", "deadline"],
)
def test_refusals_and_failures_are_sent_once(
    http: httpx.Client, server: ScriptedServer, script: Any, code: int
) -> None:
    """The code may be spent: only a new one helps."""
    server.answers["DeleteAccount"] = script
    answer = http.post("/account/delete", headers=BEARER, json={"code": "x"})
    assert answer.status_code == code
    assert ("Retry-After" in answer.headers) == (code != 403)
    assert len(server.requests("DeleteAccount")) == 1
