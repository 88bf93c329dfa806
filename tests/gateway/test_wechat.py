"""POST /wechat/phone-number and POST /wechat/user-data."""

from __future__ import annotations

import json
import logging
from typing import Any

import httpx
import pytest

from tests.gateway.scripted_services import DATA, ScriptedWeChatServer
from tests.scripted_server import NOON, SESSION_ID, at, refuse, say
from wxauth.v1 import wechat_service_pb2 as pb

BEARER = {"Authorization": f"Bearer {SESSION_ID}"}
ENCRYPTED = {"encryptedData": "ZW5j+/8=", "iv": "aXY+/w=="}
SIGNED = {"rawData": '{"nickName":"张三"}', "signature": "f" * 40}
OPENED = {"data": DATA, "watermarkTime": "2026-03-01T12:00:00.250Z"}


def user_data(http: httpx.Client, body: Any) -> httpx.Response:
    return http.post("/wechat/user-data", headers=BEARER, json=body)


# --- Phone number ---------------------------------------------------------------


def test_a_phone_number(http: httpx.Client, server: ScriptedWeChatServer) -> None:
    answer = http.post("/wechat/phone-number", headers=BEARER, json={"code": "c" * 64})
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "phoneNumber": "+8613800138000",
            "countryCode": "86",
            "nationalNumber": "13800138000",
        },
    )
    assert server.asked == [
        ("GetPhoneNumber", pb.GetPhoneNumberRequest(session_id=SESSION_ID, code="c" * 64))
    ]


@pytest.mark.parametrize(
    "body", [{}, [], {"code": 1}, {"code": None}, {"code": "c", "phone": "1"}], ids=str
)
def test_a_body_without_a_phone_code(
    http: httpx.Client, server: ScriptedWeChatServer, body: Any
) -> None:
    answer = http.post("/wechat/phone-number", headers=BEARER, json=body)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "REQUEST_INVALID")
    assert server.asked == []


def test_a_spent_phone_code(http: httpx.Client, server: ScriptedWeChatServer) -> None:
    server.answers["GetPhoneNumber"] = refuse("CODE_USED", "UNAUTHENTICATED")
    answer = http.post("/wechat/phone-number", headers=BEARER, json={"code": "c"})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (401, "CODE_USED")


# --- User data ------------------------------------------------------------------


def test_data_to_decrypt(http: httpx.Client, server: ScriptedWeChatServer) -> None:
    answer = user_data(http, ENCRYPTED)
    assert (answer.status_code, answer.json()) == (200, OPENED)
    assert server.asked == [
        (
            "DecryptUserData",
            pb.DecryptUserDataRequest(
                session_id=SESSION_ID, encrypted_data="ZW5j+/8=", iv="aXY+/w=="
            ),
        )
    ]


def test_data_to_verify(http: httpx.Client, server: ScriptedWeChatServer) -> None:
    answer = user_data(http, SIGNED)
    assert (answer.status_code, answer.json()) == (200, {})
    assert server.asked == [
        (
            "VerifyUserData",
            pb.VerifyUserDataRequest(
                session_id=SESSION_ID, raw_data='{"nickName":"张三"}', signature="f" * 40
            ),
        )
    ]


def test_both_are_verified_and_then_decrypted(
    http: httpx.Client, server: ScriptedWeChatServer
) -> None:
    answer = user_data(http, ENCRYPTED | SIGNED)
    assert (answer.status_code, answer.json()) == (200, OPENED)
    assert [method for method, _ in server.asked] == ["VerifyUserData", "DecryptUserData"]


def test_what_is_not_signed_is_not_decrypted(
    http: httpx.Client, server: ScriptedWeChatServer
) -> None:
    server.answers["VerifyUserData"] = refuse("USER_DATA_INVALID", "INVALID_ARGUMENT")
    answer = user_data(http, ENCRYPTED | SIGNED)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "USER_DATA_INVALID")
    assert [method for method, _ in server.asked] == ["VerifyUserData"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"encryptedData": "x"},
        {"iv": "y"},
        {"encryptedData": "", "iv": ""},
        {"encryptedData": "x", "iv": ""},
        {"rawData": "{}"},
        {"signature": "s"},
        {"rawData": "", "signature": "s"},
        {"encryptedData": "x", "signature": "s"},
        {"encryptedData": "x", "iv": "y", "rawData": "{}"},
        {"rawData": "{}", "signature": "s", "iv": "y"},
        {"rawData": {"nickName": "a"}, "signature": "s"},
        {"encryptedData": "x", "iv": None},
        {"encrypted_data": "x", "iv": "y"},
        {"encryptedData": "x", "iv": "y", "cloudID": "z"},
        [],
    ],
    ids=str,
)
def test_a_body_that_is_no_user_data(
    http: httpx.Client, server: ScriptedWeChatServer, body: Any
) -> None:
    answer = user_data(http, body)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "REQUEST_INVALID")
    assert answer.json()["error"]["violations"]
    assert server.asked == []


def test_the_names_of_http_in_a_refusal(http: httpx.Client, server: ScriptedWeChatServer) -> None:
    server.answers["DecryptUserData"] = refuse(
        "REQUEST_INVALID",
        "INVALID_ARGUMENT",
        violations=[("encrypted_data", "a + became a space"), ("raw_data", "x"), ("iv", "y")],
    )
    error = user_data(http, ENCRYPTED).json()["error"]
    assert [violation["field"] for violation in error["violations"]] == [
        "encryptedData",
        "rawData",
        "iv",
    ]


def test_the_watermark_of_a_refusal(http: httpx.Client, server: ScriptedWeChatServer) -> None:
    server.answers["DecryptUserData"] = refuse(
        "USER_DATA_INVALID", "INVALID_ARGUMENT", metadata={"watermark": "STALE"}
    )
    answer = user_data(http, ENCRYPTED)
    assert (answer.status_code, answer.json()["error"]["metadata"]) == (400, {"watermark": "STALE"})


@pytest.mark.parametrize(
    "data",
    [
        '{"nickName": "cut: \\ud83d", "\\udc00": null}',  # a lone half of a surrogate pair
        '{"stepInfoList": [{"timestamp": 1445866601, "step": 100}], "none": null, "x": 1.5}',
        "{}",
    ],
    ids=["half a pair", "steps", "empty"],
)
def test_data_goes_through_as_it_is(
    http: httpx.Client, server: ScriptedWeChatServer, data: str
) -> None:
    server.answers["DecryptUserData"] = say(
        pb.DecryptUserDataResponse(data=data, watermark_time=at(NOON))
    )
    answer = user_data(http, ENCRYPTED)
    assert answer.status_code == 200
    assert answer.json()["data"] == json.loads(data)


def test_only_what_utf8_cannot_hold_is_escaped(
    http: httpx.Client, server: ScriptedWeChatServer
) -> None:
    data = r'{"nickName": "J\u00fcrgen \u5f20\ud83d\ude00 \"\\u00fc\" \ud83d"}'
    server.answers["DecryptUserData"] = say(
        pb.DecryptUserDataResponse(data=data, watermark_time=at(NOON))
    )
    answer = user_data(http, ENCRYPTED)
    written = r'{"nickName":"Jürgen 张😀 \"\\u00fc\" \ud83d"}'
    assert written.encode() in answer.content
    assert answer.json()["data"] == json.loads(data)


# --- Its size, and the log --------------------------------------------------------


@pytest.mark.parametrize(("size", "code"), [(65_536, 200), (65_537, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_its_body_may_be_longer(http: httpx.Client, size: int, code: int, chunked: bool) -> None:
    body = json.dumps(ENCRYPTED).encode().ljust(size)
    answer = http.post(
        "/wechat/user-data",
        content=iter([body[:9_000], body[9_000:]]) if chunked else body,
        headers=BEARER | {"Content-Type": "application/json"},
    )
    assert answer.status_code == code


def test_the_longest_that_the_contract_allows(
    http: httpx.Client, server: ScriptedWeChatServer
) -> None:
    """Even where every byte of rawData is escaped."""
    body = {
        "encryptedData": "+" * 16_384,
        "iv": "aXY+/w==",
        "rawData": '"' * 16_384,
        "signature": "f" * 40,
    }
    assert len(json.dumps(body)) > 48_000
    assert user_data(http, body).status_code == 200
    assert len(server.requests("VerifyUserData")[0].raw_data) == 16_384


def test_only_its_body_may_be_longer(http: httpx.Client) -> None:
    body = b'{"code": "c"}'.ljust(8_193)
    headers = BEARER | {"Content-Type": "application/json"}
    for path in ("/wechat/phone-number", "/login", "/unbind", "/wechat/user-data/", "/nothing"):
        assert http.post(path, content=body, headers=headers).status_code == 413


def test_nothing_personal_is_logged(
    http: httpx.Client, server: ScriptedWeChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    opened = pb.DecryptUserDataResponse(data='{"a": "CANARY"}', watermark_time=at(NOON))
    number = pb.GetPhoneNumberResponse(phone_number="CANARY", national_number="CANARY")
    server.answers["GetPhoneNumber"] = say(number)
    asked = {"encryptedData": "CANARY", "iv": "CANARY", "rawData": "CANARY", "signature": "CANARY"}
    with caplog.at_level(logging.DEBUG):
        server.answers["DecryptUserData"] = say(opened)
        assert user_data(http, asked).status_code == 200
        server.answers["DecryptUserData"] = say(pb.DecryptUserDataResponse(data="CANARY"))
        assert user_data(http, asked).status_code == 500
        assert user_data(http, asked | {"iv": ["CANARY"]}).status_code == 400
        phone = {"code": "CANARY"}
        assert http.post("/wechat/phone-number", headers=BEARER, json=phone).status_code == 200
        http.get("/healthz")  # a line is written just after its answer, before the next one
    assert "CANARY" not in caplog.text
    ours = [
        record.getMessage().rsplit(" ", 2)[0]
        for record in caplog.records
        if record.name == "wxauth.gateway" and record.levelno == logging.INFO
    ]
    assert ours[:4] == [
        "POST /wechat/user-data 200",
        "POST /wechat/user-data 500",
        "POST /wechat/user-data 400",
        "POST /wechat/phone-number 200",
    ]
