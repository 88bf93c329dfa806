"""Every failure becomes one envelope with the right HTTP status."""

from __future__ import annotations

import logging

import httpx
import pytest

from tests.scripted_server import SESSION_ID, Answer, ScriptedServer, fail, refuse
from wxauth.v1 import auth_service_pb2 as pb
from wxauth.v1.error_reason_pb2 import ErrorReason
from wxauth_client import errors as client_errors
from wxauth_gateway.errors import HTTP_STATUS

BEARER = {"Authorization": f"Bearer {SESSION_ID}"}

# error_reason.proto's statuses through google.rpc.Code.
EXPECTED = {
    "CODE_INVALID": 401,
    "CODE_USED": 401,
    "CREDENTIALS_INVALID": 401,
    "SESSION_INVALID": 401,
    "SESSION_EXPIRED": 401,
    "SESSION_REVOKED": 401,
    "BINDING_REQUIRED": 400,
    "OPENID_ALREADY_BOUND": 409,
    "ACCOUNT_ALREADY_BOUND": 409,
    "ACCOUNT_DISABLED": 403,
    "PROOF_INVALID": 403,
    "WECHAT_USER_BLOCKED": 403,
    "WECHAT_RATE_LIMITED": 429,
    "THROTTLED": 429,
    "OVERLOADED": 429,
    "WECHAT_UNAVAILABLE": 503,
    "STORE_UNAVAILABLE": 503,
    "WECHAT_MISCONFIGURED": 500,
    "CALLER_UNAUTHENTICATED": 503,
    "CALLER_FORBIDDEN": 503,
    "REQUEST_INVALID": 400,
    "DEADLINE_TOO_SHORT": 504,
    "INTERNAL": 500,
    "SESSION_KEY_INVALID": 400,
    "USER_DATA_INVALID": 400,
    "ACCOUNT_SOURCE_UNAVAILABLE": 503,
    "NOT_FOUND": 404,
    "ACCOUNT_EXISTS": 409,
}


def test_every_reason_has_an_http_status() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name, number in ErrorReason.items() if number}
    assert set(EXPECTED) == names


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("reason", EXPECTED)
def test_a_reason(http: httpx.Client, server: ScriptedServer, reason: str, method: str) -> None:
    status = client_errors.OF_THE_CONTRACT[reason].status
    refusal = refuse(reason, status, metadata={"key": "value"})
    server.answers["Login"] = server.answers["ValidateSession"] = refusal
    if method == "POST":
        answer = http.post("/login", json={"code": "c"})
    else:
        answer = http.get("/session", headers=BEARER)
    code = EXPECTED[reason]
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["reason"]) == (code, code, reason)
    assert ("WWW-Authenticate" in answer.headers) == (code == 401)
    if not reason.startswith("CALLER_"):
        assert (error["status"], error["message"]) == (status, "A fixed text.")
        assert error["metadata"] == {"key": "value"}
        assert HTTP_STATUS[status] == code
    else:
        assert (error["status"], error["metadata"]) == ("UNAVAILABLE", {})


@pytest.mark.parametrize(
    ("wait_s", "header"), [(0.2, "1"), (1, "1"), (59.5, "60"), (900, "900"), (None, None)]
)
def test_retry_after_in_whole_seconds(
    http: httpx.Client, server: ScriptedServer, wait_s: float | None, header: str | None
) -> None:
    server.answers["Unbind"] = refuse("THROTTLED", "RESOURCE_EXHAUSTED", retry_after_s=wait_s)
    answer = http.post("/unbind", json={"code": "c"}, headers=BEARER)
    assert (answer.status_code, answer.headers.get("Retry-After")) == (429, header)
    told = answer.json()["error"].get("retryAfter")
    assert told == (f"{header}s" if header else None)


@pytest.mark.parametrize(
    ("answer", "header"),
    [
        pytest.param(fail("UNAVAILABLE"), "1", id="unreachable"),
        pytest.param(fail("DEADLINE_EXCEEDED"), "1", id="deadline"),
        pytest.param(refuse("DEADLINE_TOO_SHORT", "DEADLINE_EXCEEDED"), "1", id="too short"),
        pytest.param(refuse("CALLER_FORBIDDEN", "PERMISSION_DENIED"), "1", id="not admitted"),
        pytest.param(refuse("STORE_UNAVAILABLE", "UNAVAILABLE"), "1", id="the server says none"),
        pytest.param(
            refuse("WECHAT_UNAVAILABLE", "UNAVAILABLE", retry_after_s=60), "60", id="it says 60 s"
        ),
        pytest.param(fail("UNKNOWN"), None, id="a fault"),
    ],
)
def test_every_503_and_504_says_when_to_come_again(
    http: httpx.Client, server: ScriptedServer, answer: Answer, header: str | None
) -> None:
    server.answers = dict.fromkeys(server.answers, answer)
    for got in (
        http.post("/login", json={"code": "c"}),
        http.get("/session", headers=BEARER),
        http.post("/logout", headers=BEARER),
    ):
        assert got.headers.get("Retry-After") == header
        assert got.json()["error"].get("retryAfter") == (f"{header}s" if header else None)
        assert (got.status_code in (503, 504)) == (header is not None)


def test_violations_carry_the_names_of_http(http: httpx.Client, server: ScriptedServer) -> None:
    server.answers["Login"] = refuse(
        "REQUEST_INVALID",
        "INVALID_ARGUMENT",
        message="app_id: too long; client.device: too long",
        violations=[
            ("app_id", "too long"),
            ("client.device", "too long"),
            ("code", "missing"),
            ("phone_code", "too long"),
            ("request_id", "too short"),
            ("rebind", "needs a password"),
            ("session_handle", "unknown"),
        ],
    )
    error = http.post("/login", json={"code": "c"}).json()["error"]
    assert error["violations"] == [
        {"field": "appId", "problem": "too long"},
        {"field": "device", "problem": "too long"},
        {"field": "code", "problem": "missing"},
        {"field": "phoneCode", "problem": "too long"},
        {"field": "requestId", "problem": "too short"},
        {"field": "rebind", "problem": "needs a password"},
        {"field": "sessionHandle", "problem": "unknown"},
    ]
    assert error["message"] == "The request is not valid."


def test_metadata_carry_the_names_of_http(http: httpx.Client, server: ScriptedServer) -> None:
    metadata = {"field": "phone_code", "other": "phone_code"}
    server.answers["Login"] = refuse("CODE_USED", "UNAUTHENTICATED", metadata=metadata)
    error = http.post("/login", json={"code": "c"}).json()["error"]
    assert error["metadata"] == {"field": "phoneCode", "other": "phone_code"}


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        pytest.param(fail("UNAVAILABLE"), 503, "SERVER_UNREACHABLE", id="unavailable"),
        pytest.param(fail("CANCELLED"), 503, "SERVER_UNREACHABLE", id="cancelled"),
        pytest.param(fail("DEADLINE_EXCEEDED"), 504, "DEADLINE_EXCEEDED", id="deadline"),
        pytest.param(fail("UNKNOWN", "CANARY"), 500, "INTERNAL", id="unknown"),
        pytest.param(fail("UNAUTHENTICATED", "CANARY"), 500, "INTERNAL", id="unauthenticated"),
        pytest.param(refuse("MOON", "ABORTED"), 409, "MOON", id="newer"),
    ],
)
def test_other_failures(
    http: httpx.Client, server: ScriptedServer, answer: Answer, code: int, reason: str
) -> None:
    server.answers["Login"] = answer
    got = http.post("/login", json={"code": "c"})
    assert (got.status_code, got.json()["error"]["reason"]) == (code, reason)
    assert "CANARY" not in got.text


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_an_unexpected_exception(
    http: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("CANARY")

    monkeypatch.setattr("wxauth_client.account_calls.login", broken)
    monkeypatch.setattr("wxauth_client.session_calls.validate", broken)
    with caplog.at_level(logging.INFO):
        if method == "POST":
            answer = http.post("/login", json={"code": "c"})
        else:
            answer = http.get("/session", headers=BEARER)
    error = answer.json()["error"]
    assert (answer.status_code, error["status"], error["reason"]) == (500, "INTERNAL", "INTERNAL")
    assert "CANARY" not in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(logged) == 1  # once, and not by uvicorn as well
    assert error["metadata"]["error_id"] in logged[0].getMessage()
    assert logged[0].exc_info


def test_probes(http: httpx.Client, server: ScriptedServer, lost: httpx.Client) -> None:
    assert (http.get("/healthz").status_code, http.get("/readyz").status_code) == (200, 200)
    assert (lost.get("/healthz").status_code, lost.get("/readyz").status_code) == (200, 503)
    # Only whether this gateway is let in, with the session of nobody.
    assert server.requests("ValidateSession") == [pb.ValidateSessionRequest()]
    assert server.requests("ListSessions") == [pb.ListSessionsRequest()]
    assert len(server.asked) == 2


def test_no_server(lost: httpx.Client) -> None:
    for answer in (
        lost.post("/login", json={"code": "c"}),
        lost.get("/session", headers=BEARER),
    ):
        error = answer.json()["error"]
        assert (answer.status_code, error["reason"]) == (503, "SERVER_UNREACHABLE")
        assert "127.0.0.1" not in answer.text
        assert answer.headers["Retry-After"] == "1"
    assert lost.get("/readyz").headers["Retry-After"] == "1"
