"""DecryptUserData and VerifyUserData over a socket: what opens, and every refusal."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from pathlib import Path

import grpc
import pytest

from tests.rpc.mini_program import BLOCK, NO_BASE64, SPACE, Phone
from tests.running_server import FakeClock, refused, running_server
from tests.sandbox_server import RunningSandbox
from wxauth.v1.wechat_service_pb2 import DecryptUserDataRequest
from wxauth_server.config import DEMO_APP_ID

# --- DecryptUserData -----------------------------------------------------------


def test_decrypt(phone: Phone) -> None:
    """The JSON as WeChat wrote it, and when."""
    answer = phone.decrypt(phone.got())
    data = json.loads(answer.data)
    assert (data["nickName"], data["country"]) == (phone.user, "中国")
    assert data["openId"] == phone.server.validate(phone.session_id).openid
    assert data["watermark"]["appid"] == DEMO_APP_ID
    assert answer.watermark_time.ToSeconds() == data["watermark"]["timestamp"]


def test_decrypt_a_phone_number(phone: Phone) -> None:
    data = json.loads(phone.decrypt(phone.got(kind="phone", phone="13912345678")).data)
    assert (data["phoneNumber"], data["countryCode"]) == ("13912345678", "86")


def test_decrypt_again(phone: Phone) -> None:
    """It spends nothing."""
    got = phone.got()
    assert phone.decrypt(got) == phone.decrypt(got)


@pytest.mark.parametrize("field", ["encryptedData", "iv"])
def test_a_plus_that_became_a_space(phone: Phone, field: str) -> None:
    """The classic mistake is named: not everybody knows what a form does to a plus sign."""
    got = phone.got()
    while "+" not in got[field]:
        got = phone.got()
    mangled = got | {field: got[field].replace("+", " ")}
    refusal = refused(lambda: phone.decrypt(mangled))
    name = {"encryptedData": "encrypted_data", "iv": "iv"}[field]
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (refusal.reason, refusal.violations) == ("REQUEST_INVALID", {name: SPACE})
    phone.decrypt(got)


@pytest.mark.parametrize(
    ("encrypted_data", "iv", "violations"),
    [
        ("", "", {"encrypted_data": "required", "iv": "required"}),
        ("*", BLOCK, {"encrypted_data": NO_BASE64}),
        ("AAA", BLOCK, {"encrypted_data": NO_BASE64}),
        (BLOCK.replace("A", "é"), BLOCK, {"encrypted_data": NO_BASE64}),
        ("_" * 22 + "==", BLOCK, {"encrypted_data": f"{NO_BASE64}, but its URL-safe form"}),
        (
            BLOCK.replace("=", "%3D"),
            BLOCK,
            {"encrypted_data": "contains a %: it was URL-encoded once too often"},
        ),
        (
            base64.b64encode(bytes(17)).decode(),
            BLOCK,
            {"encrypted_data": "not a whole number of 16-byte blocks: a part of it is missing"},
        ),
        ("A" * 16_388, BLOCK, {"encrypted_data": "longer than 16384 bytes"}),
        (BLOCK + "\0", BLOCK, {"encrypted_data": "contains NUL"}),
        (BLOCK, "AAAA", {"iv": "not the base64 of 16 bytes"}),
        (BLOCK, base64.b64encode(bytes(17)).decode(), {"iv": "not the base64 of 16 bytes"}),
        (BLOCK, "*", {"iv": NO_BASE64}),
        ("*", "*", {"encrypted_data": NO_BASE64, "iv": NO_BASE64}),
    ],
)
def test_decrypt_what_cannot_be_tried(
    phone: Phone, encrypted_data: str, iv: str, violations: dict[str, str]
) -> None:
    got = {"encryptedData": encrypted_data, "iv": iv}
    refusal = refused(lambda: phone.decrypt(got))
    assert (refusal.reason, refusal.violations) == ("REQUEST_INVALID", violations)


def test_a_large_but_honest_one(phone: Phone) -> None:
    """As large as the contract allows for: 12288 bytes of ciphertext."""
    answer = phone.decrypt(phone.got(data={"text": "x" * 12_180}))
    assert len(answer.data) > 12_180


def test_what_does_not_open_is_refused_alike(phone: Phone) -> None:
    """Bad padding, good padding around nonsense, no JSON: the caller cannot tell one apart.

    One random block in 256 has good padding.
    """
    refusals = set()
    for _ in range(20):  # no more at a time than a server takes from one caller
        calls = [
            phone.server.wechat.DecryptUserData.future(
                DecryptUserDataRequest(
                    session_id=phone.session_id,
                    encrypted_data=base64.b64encode(secrets.token_bytes(32)).decode(),
                    iv=BLOCK,
                ),
                timeout=10,
            )
            for _ in range(40)
        ]
        refusals |= {repr(refused(call.result)) for call in calls}
    assert len(refusals) == 1
    other_key = phone.got()
    phone.log_in()
    refusal = refused(lambda: phone.decrypt(other_key))
    assert {repr(refusal)} == refusals
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (refusal.reason, refusal.metadata) == ("USER_DATA_INVALID", {})


def test_the_watermark_of_another_app(phone: Phone) -> None:
    refusal = refused(lambda: phone.decrypt(phone.got(watermark={"appid": "wx" + "9" * 16})))
    assert (refusal.reason, refusal.metadata) == ("USER_DATA_INVALID", {"watermark": "APP"})


def test_the_open_id_of_another_user(phone: Phone) -> None:
    got = phone.got(data={"openId": "o" + "9" * 27})
    refusal = refused(lambda: phone.decrypt(got))
    assert (refusal.reason, refusal.metadata) == ("USER_DATA_INVALID", {"watermark": "APP"})


@pytest.mark.parametrize(
    ("age_s", "stale"), [(299, False), (301, True), (-299, False), (-301, True)]
)
def test_a_watermark_has_its_time(phone: Phone, clock: FakeClock, age_s: int, stale: bool) -> None:
    """Five minutes by default; one from the future is as little of now."""
    got = phone.got(watermark={"timestamp": clock.ms // 1000 - age_s})
    if stale:
        refusal = refused(lambda: phone.decrypt(got))
        assert (refusal.reason, refusal.metadata) == ("USER_DATA_INVALID", {"watermark": "STALE"})
    else:
        phone.decrypt(got)


def test_how_old_a_watermark_may_be_is_configured(
    tmp_path: Path,
    sandbox: RunningSandbox,
    server_loop: asyncio.AbstractEventLoop,
    clock: FakeClock,
) -> None:
    wechat = {"base_url": sandbox.base_url, "user_data_max_age_s": 3600}
    with running_server(
        tmp_path / "data", sandbox, server_loop, clock=clock, wechat=wechat
    ) as server:
        user = server.bound()
        phone = Phone(server, user, server.login(code=server.code(user)).session_id)
        phone.decrypt(phone.got(watermark={"timestamp": clock.ms // 1000 - 3599}))
        got = phone.got(watermark={"timestamp": clock.ms // 1000 - 3601})
        assert refused(lambda: phone.decrypt(got)).metadata == {"watermark": "STALE"}


def test_data_of_another_session_key(phone: Phone) -> None:
    """WeChat has a newer one than we: a login brings it, and then new data opens."""
    phone.log_in_elsewhere()
    refusal = refused(lambda: phone.decrypt(phone.got()))
    assert (refusal.reason, refusal.metadata) == ("USER_DATA_INVALID", {})
    phone.log_in()
    phone.decrypt(phone.got())


def test_data_of_another_user(phone: Phone) -> None:
    server = phone.server
    other = server.bound("lisi", "correct horse battery")
    theirs = server.sandbox.user_data(DEMO_APP_ID, other)
    assert refused(lambda: phone.decrypt(theirs)).reason == "USER_DATA_INVALID"


# --- VerifyUserData ------------------------------------------------------------


def test_verify(phone: Phone) -> None:
    got = phone.got()
    phone.verify(got["rawData"], got["signature"])


@pytest.mark.parametrize("changed", [" ", "\n", "x"])
def test_raw_data_counts_byte_for_byte(phone: Phone, changed: str) -> None:
    got = phone.got()
    refusal = refused(lambda: phone.verify(got["rawData"] + changed, got["signature"]))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (refusal.reason, refusal.metadata) == ("USER_DATA_INVALID", {})


def test_a_signature_of_another_session_key(phone: Phone) -> None:
    got = phone.got()
    phone.log_in()
    refusal = refused(lambda: phone.verify(got["rawData"], got["signature"]))
    assert refusal.reason == "USER_DATA_INVALID"
    again = phone.got()
    phone.verify(again["rawData"], again["signature"])


@pytest.mark.parametrize(
    ("raw_data", "signature", "violations"),
    [
        ("", "", {"raw_data": "required", "signature": "required"}),
        ("{}", "a" * 39, {"signature": "not 40 lower-case hex digits"}),
        ("{}", "A" * 40, {"signature": "not 40 lower-case hex digits"}),
        ("{}", "g" * 40, {"signature": "not 40 lower-case hex digits"}),
        ("x" * 16_385, "a" * 40, {"raw_data": "longer than 16384 bytes"}),
        ("\0", "a" * 40, {"raw_data": "contains NUL"}),
    ],
)
def test_verify_what_cannot_be_tried(
    phone: Phone, raw_data: str, signature: str, violations: dict[str, str]
) -> None:
    refusal = refused(lambda: phone.verify(raw_data, signature))
    assert (refusal.reason, refusal.violations) == ("REQUEST_INVALID", violations)
