"""Every field's limit: the longest that passes, and one more."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.running_server import RunningServer, refused
from wxauth.v1.auth_service_pb2 import LogoutRequest, UnbindRequest, ValidateSessionRequest
from wxauth_server.session_id import new_session_id

NO_PHONES = "this mini-program does not bind by phone number (bind_by_phone)"
A_PHONE_CODE = "a code of the phone number button: wx.login gives another one"
A_LOGIN_CODE = "a code of wx.login: the phone number button gives another one"
NO_REQUEST_ID = "not 22 to 128 visible ASCII characters"
REBIND_ALONE = "needs username and password"
PAIR = {"username": "zhangsan", "password": "correct horse battery"}


@pytest.mark.parametrize(
    ("fields", "violations"),
    [
        ({}, {"code": "required"}),
        ({"code": "x" * 129}, {"code": "longer than 128 bytes"}),
        ({"code": "a\0b"}, {"code": "contains NUL"}),
        ({"code": "x", "username": "zhangsan"}, {"password": "required with username"}),
        ({"code": "x", "password": "p" * 9}, {"username": "required with password"}),
        ({"code": "x", **PAIR, "username": "x" * 257}, {"username": "longer than 256 bytes"}),
        ({"code": "x", **PAIR, "username": "a\0"}, {"username": "contains NUL"}),
        ({"code": "x", **PAIR, "password": "a\0"}, {"password": "contains NUL"}),
        ({"code": "x", **PAIR, "password": "x" * 257}, {"password": "longer than 256 characters"}),
        ({"code": "x", **PAIR, "password": "密" * 256}, {}),
        (
            {"code": "x", **PAIR, "password": "😀" * 257},
            {"password": "longer than 256 characters"},
        ),
        ({"code": "x", "app_id": "x" * 65}, {"app_id": "longer than 64 bytes"}),
        (
            {"code": "x", "app_id": "wx0000000000000000"},
            {"app_id": "this server does not serve this mini-program"},
        ),
        ({"code": "x", "phone_code": "0" * 64}, {"phone_code": NO_PHONES}),
        ({"code": "x", "phone_code": "0" * 32}, {"phone_code": A_LOGIN_CODE}),
        ({"code": "0a" * 32}, {"code": A_PHONE_CODE}),
        ({"code": "x", "phone_code": "a" * 129}, {"phone_code": "longer than 128 bytes"}),
        (
            {"code": "x", **PAIR, "phone_code": "0" * 64},
            {"phone_code": "not together with username and password"},
        ),
        ({"code": "x", "rebind": True}, {"rebind": REBIND_ALONE}),
        ({"code": "x", "request_id": "r" * 21}, {"request_id": NO_REQUEST_ID}),
        ({"code": "x", "request_id": "r" * 129}, {"request_id": NO_REQUEST_ID}),
        ({"code": "x", "request_id": "r" * 21 + " "}, {"request_id": NO_REQUEST_ID}),
        ({"code": "x", "request_id": "r" * 21 + "é"}, {"request_id": NO_REQUEST_ID}),
        ({"code": "x", "request_id": "!~" * 11}, {}),
        ({"code": "x", "request_id": "r" * 128}, {}),
        (
            {"code": "x", "client": {"address": "999.1.1.1"}},
            {"client.address": "not an IP address"},
        ),
        (
            {"code": "x", "client": {"address": "x" * 46, "user_agent": "x" * 513}},
            {
                "client.address": "longer than 45 bytes",
                "client.user_agent": "longer than 512 bytes",
            },
        ),
        (
            {"code": "x", "client": {"device": "x" * 129}},
            {"client.device": "longer than 128 bytes"},
        ),
        (
            {"username": "x" * 257},
            {
                "code": "required",
                "username": "longer than 256 bytes",
                "password": "required with username",
            },
        ),
    ],
)
def test_login(server: RunningServer, fields: dict[str, Any], violations: dict[str, str]) -> None:
    refusal = refused(lambda: server.login(**fields))
    if violations:
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert (refusal.reason, refusal.violations) == ("REQUEST_INVALID", violations)
    else:
        assert refusal.reason == "CODE_INVALID", "the request itself was in order"


@pytest.mark.parametrize(
    ("request_", "violations"),
    [
        (ValidateSessionRequest(), {"session_id": "required"}),
        (
            ValidateSessionRequest(session_id=new_session_id(), app_id="x" * 65),
            {"app_id": "longer than 64 bytes"},
        ),
        (LogoutRequest(), {"session_id": "required"}),
        (UnbindRequest(code="x"), {"session_id": "required"}),
        (UnbindRequest(session_id=new_session_id()), {"proof": "required: a code or the password"}),
        (
            UnbindRequest(session_id=new_session_id(), code="x" * 129),
            {"code": "longer than 128 bytes"},
        ),
        (UnbindRequest(session_id=new_session_id(), code="0a" * 32), {"code": A_PHONE_CODE}),
        (
            UnbindRequest(session_id=new_session_id(), password="x" * 257),
            {"password": "longer than 256 characters"},
        ),
    ],
    ids=[
        "validate",
        "validate-app",
        "logout",
        "unbind",
        "unbind-proof",
        "unbind-code",
        "unbind-phone-code",
        "unbind-pw",
    ],
)
def test_the_other_methods(
    server: RunningServer, request_: Any, violations: dict[str, str]
) -> None:
    methods: dict[type, Any] = {
        ValidateSessionRequest: server.stub.ValidateSession,
        LogoutRequest: server.stub.Logout,
        UnbindRequest: server.stub.Unbind,
    }
    refusal = refused(lambda: methods[type(request_)](request_, timeout=5))
    assert (refusal.reason, refusal.violations) == ("REQUEST_INVALID", violations)


def test_nothing_is_kept_of_a_request_that_was_refused(server: RunningServer) -> None:
    refused(lambda: server.login(code="x", rebind=True))
    for table in ("accounts", "bindings", "sessions", "audit_events", "exchanges"):
        assert server.rows(f"SELECT COUNT(*) FROM {table}") == [(0,)]
