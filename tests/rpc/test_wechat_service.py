"""WeChatService over a socket: what holds for all its methods."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import pytest

from tests.canary import CANARY
from tests.rpc.mini_program import BLOCK, CHECK, PATHS, PHONE, RESET, Phone
from tests.running_server import FakeClock, refused
from wxauth.v1 import admin_service_pb2, auth_service_pb2, wechat_service_pb2
from wxauth.v1.auth_service_pb2 import LogoutRequest
from wxauth.v1.wechat_service_pb2 import (
    CheckSessionKeyRequest,
    DecryptUserDataRequest,
    GetPhoneNumberRequest,
    ResetSessionKeyRequest,
    VerifyUserDataRequest,
)
from wxauth_server.rpc.guard import LEAST_TIME_S
from wxauth_server.session_id import new_session_id


def every_method(phone: Phone, session_id: str, phone_code: str) -> list[tuple[Any, Any]]:
    stub = phone.server.wechat
    return [
        (
            stub.DecryptUserData,
            DecryptUserDataRequest(session_id=session_id, encrypted_data=BLOCK, iv=BLOCK),
        ),
        (
            stub.VerifyUserData,
            VerifyUserDataRequest(session_id=session_id, raw_data="{}", signature="a" * 40),
        ),
        (stub.GetPhoneNumber, GetPhoneNumberRequest(session_id=session_id, code=phone_code)),
        (stub.CheckSessionKey, CheckSessionKeyRequest(session_id=session_id)),
        (stub.ResetSessionKey, ResetSessionKeyRequest(session_id=session_id)),
    ]


def untouched(phone: Phone, phone_code: str) -> None:
    """WeChat was not asked anything; the phone code is good for who may use it."""
    assert phone.calls(CHECK) + phone.calls(RESET) + phone.calls(PHONE) == 0
    session_id = phone.server.login(code=phone.server.code(phone.user)).session_id
    Phone(phone.server, phone.user, session_id).phone_number(phone_code)


def test_every_method_is_here(phone: Phone) -> None:
    service = wechat_service_pb2.DESCRIPTOR.services_by_name["WeChatService"]
    requests_ = {request.DESCRIPTOR for _, request in every_method(phone, "", "")}
    assert {method.input_type for method in service.methods} == requests_


@pytest.mark.parametrize("dead", ["never", "malformed", "logout", "idle"])
def test_a_dead_session_allows_nothing(phone: Phone, clock: FakeClock, dead: str) -> None:
    """Refused as ValidateSession refuses it, before anything is spent."""
    session_id, reason = phone.session_id, "SESSION_INVALID"
    code = phone.server.phone_code(phone.user, "13912345678")
    if dead == "never":
        session_id = new_session_id()
    elif dead == "malformed":
        session_id = "x" * 300
    elif dead == "logout":
        phone.server.stub.Logout(LogoutRequest(session_id=session_id), timeout=10)
        reason = "SESSION_REVOKED"
    else:
        clock.ms += 7 * 86_400_000
        reason = "SESSION_EXPIRED"
    for method, request in every_method(phone, session_id, code):
        refusal = refused(method, request, timeout=10)
        assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
        assert refusal.reason == reason
    untouched(phone, code)


def test_a_session_is_required(phone: Phone) -> None:
    for method, request in every_method(phone, "", "0" * 64):
        refusal = refused(method, request, timeout=10)
        assert refusal.violations == {"session_id": "required"}


def test_another_users_session_allows_nothing_of_mine(phone: Phone) -> None:
    """The session says whose session_key it is, and nothing else does."""
    got = phone.got()
    other = phone.server.bound("lisi", "correct horse battery")
    session_id = phone.server.login(code=phone.server.code(other)).session_id
    theirs = Phone(phone.server, other, session_id)
    assert refused(lambda: theirs.decrypt(got)).reason == "USER_DATA_INVALID"
    assert refused(lambda: theirs.verify(got["rawData"], got["signature"])).reason == (
        "USER_DATA_INVALID"
    )
    theirs.reset()
    phone.decrypt(got)


@pytest.mark.parametrize("method", PATHS)
def test_a_deadline_that_leaves_no_time(phone: Phone, method: str) -> None:
    """Under the least time nothing is begun, so no code is spent."""
    code = phone.server.phone_code(phone.user, "13912345678")
    calls: dict[str, Callable[..., object]] = {
        "phone": partial(phone.phone_number, code),
        "check": phone.check,
        "reset": phone.reset,
    }
    refusal = refused(calls[method], timeout=0.018)
    assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
    untouched(phone, code)


def test_every_method_has_a_least_time() -> None:
    methods = {
        f"/{service.full_name}/{method.name}"
        for file in (
            admin_service_pb2.DESCRIPTOR,
            auth_service_pb2.DESCRIPTOR,
            wechat_service_pb2.DESCRIPTOR,
        )
        for service in file.services_by_name.values()
        for method in service.methods
    }
    assert methods == LEAST_TIME_S.keys()


def test_user_data_is_in_no_log_and_no_error(phone: Phone) -> None:
    """The canary looks through all that was said: what the user has told nobody else."""
    secret = CANARY.keep(f"nickname-{secrets.token_hex(8)}")
    got = phone.got(data={"nickName": secret, "openId": "o" + "9" * 27})
    assert refused(lambda: phone.decrypt(got)).metadata == {"watermark": "APP"}
    assert refused(lambda: phone.verify(got["rawData"], "a" * 40)).reason == "USER_DATA_INVALID"
