"""What a session_key is for, as wechat_sandbox plays it: checks, resets, user data."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from tests.contract.wechat_wire import (
    BANK,
    CHECK,
    RESET,
    SHOP,
    HandClock,
    ask,
    log_in,
    token_of,
)
from tests.sandbox_server import RunningSandbox, running_sandbox
from wechat_sandbox.one_time_codes import Phone
from wechat_sandbox.phone_numbers import phone_fields
from wechat_sandbox.session_key_endpoints import signature_of
from wechat_sandbox.user_data import seal, sign

THREE_DAYS_S = 3 * 24 * 3600


@pytest.fixture(scope="module")
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="module")
def sandbox(clock: HandClock) -> Iterator[RunningSandbox]:
    with running_sandbox([SHOP, BANK], clock=clock) as running:
        yield running


def query_of(sandbox: RunningSandbox, user: dict[str, str], **changes: str | None) -> Any:
    proof = hmac.new(user["session_key"].encode(), b"", hashlib.sha256).hexdigest()
    return {
        "access_token": token_of(sandbox, SHOP),
        "openid": user["openid"],
        "signature": proof,
        "sig_method": "hmac_sha256",
    } | changes


# --- WeChat's own vectors -----------------------------------------------------


@pytest.mark.parametrize(
    ("message", "signature"),
    [
        (b"", "46e043c5525c2d817c44be603d30837a808a1d930d038f6fdc3e62a201fed128"),
        (b'{"foo":"bar"}', "654571f79995b2ce1e149e53c0a33dc39c0a74090db514261454e8dbe432aa0b"),
    ],
)
def test_wechats_vector_of_the_hmac(message: bytes, signature: str) -> None:
    assert signature_of("o0q0otL8aEzpcZL/FT9WsQ==", message) == signature


def test_wechats_vector_of_the_signature() -> None:
    raw_data = (
        '{"nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou",'
        '"province":"Guangdong","country":"CN","avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/'
        "1vZvI39NWFQ9XM4LtQpFrQJ1xlgZxx3w7bQxKARol6503Iuswjjn6nIGBiaycAjAtpujxyzYsrztuuICqIM5ibXQ"
        '/0"}'
    )
    assert sign(raw_data, "HyVFkGl5F5OQWJZZaNzBBg==") == "75e81ceda165f4ffa64f4068af58c64b8f54b88c"


WECHATS_ENCRYPTED_DATA = (
    "CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrDcvSnxIMXFufNstNGTyaGS9uT5geRa0W4oTOb1WT7fJlAC"
    "+oNPdbB+3hVbJSRgv+4lGOETKUQz6OYStslQ142dNCuabNPGBzlooOmB231qMM85d2/fV6ChevvXvQP8Hkue1poO"
    "FtnEtpyxVLW1zAo6/1Xx1COxFvrc2d7UL/lmHInNlxuacJXwu0fjpXfz/YqYzBIBzD6WUfTIF9GRHpOn/Hz7saL8"
    "xz+W//FRAUid1OksQaQx4CMs8LOddcQhULW4ucetDf96JcR3g0gfRK4PC7E/r7Z6xNrXd2UIeorGj5Ef7b1pJAYB"
    "6Y5anaHqZ9J6nKEBvB4DnNLIVWSgARns/8wR2SiRS7MNACwTyrGvt9ts8p12PKFdlqYTopNHR1Vf7XjfhQlVsAJd"
    "NiKdYmYVoKlaRv85IfVunYzO0IKXsyl7JCUjCpoG20f0a04COwfneQAGGwd5oa+T8yO5hzuyDb/XcxxmK01EpqOy"
    "uxINew=="
)
WECHATS_KEY = "tiihtNczf5v6AKRyjwEUhQ=="
WECHATS_IV = "r7BXXKkLb8qrSNn05n0qiA=="


def test_wechats_vector_of_the_sealed_data() -> None:
    plain = opened(WECHATS_ENCRYPTED_DATA, WECHATS_IV, WECHATS_KEY)
    assert json.loads(plain)["openId"] == "oGZUI0egBJY1zhBYw2KhdUfwVJJE"
    sealed = seal(plain, WECHATS_KEY, base64.b64decode(WECHATS_IV))
    assert base64.b64encode(sealed).decode() == WECHATS_ENCRYPTED_DATA


def test_the_vector_of_a_sealed_phone_number() -> None:
    key, iv = "HyVFkGl5F5OQWJZZaNzBBg==", "AAECAwQFBgcICQoLDA0ODw=="
    data = (
        "A9tSD1UlZPDo99Jgs8ev5ckAzt0m4Vu087o89x1K+AbcTp8BFMvHPI6c+cqln+OrMEcpfCrpdVB+z+Q4QKNH"
        "/8GpUYh9kngeQi1IyoDq/+Iyc30BZ8yKgvHD42T2hBzgUsaQ0KCdqOL42+raAvUls+ALnLu6L2kUxG30U1nn"
        "ZtO/r8ondT0YuCD1fAIwJ7mYlfAXdVjp2XND5ZaYNeSvYw=="
    )
    plain = opened(data, iv, key)
    told = json.loads(plain)
    del told["watermark"]
    assert told == phone_fields(Phone("13580006666"))
    assert base64.b64encode(seal(plain, key, base64.b64decode(iv))).decode() == data


def opened(encrypted_data: str, iv: str, session_key: str) -> bytes:
    """The phone's work undone, by the rules of AES-CBC and PKCS#7."""
    key, start = base64.b64decode(session_key), base64.b64decode(iv)
    assert (len(key), len(start)) == (16, 16)
    decryptor = Cipher(AES(key), CBC(start)).decryptor()
    padded = decryptor.update(base64.b64decode(encrypted_data)) + decryptor.finalize()
    length = padded[-1]
    assert 1 <= length <= 16
    assert padded.endswith(bytes([length]) * length)
    return padded[:-length]


# --- checkSessionKey and resetUserSessionKey ----------------------------------


def test_a_live_session_key_is_confirmed(sandbox: RunningSandbox) -> None:
    reply = ask(sandbox, CHECK, query_of(sandbox, log_in(sandbox, SHOP, "alice")))
    assert reply.body == b'{"errcode":0,"errmsg":"ok"}'
    assert reply.content_type == "application/json; encoding=utf-8"


@pytest.mark.parametrize("path", [CHECK, RESET])
@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"openid": None}, 40003),
        ({"openid": "o" + "x" * 27}, 40003),
        ({"sig_method": None}, 87008),
        ({"sig_method": "hmac_sha1"}, 87008),
        ({"signature": None}, 87009),
        ({"signature": "0" * 64}, 87009),
        ({"signature": "\N{GRINNING FACE}"}, 87009),
        ({"access_token": None}, 41001),
    ],
)
def test_a_wrong_question_gets_its_errcode_and_changes_nothing(
    sandbox: RunningSandbox, path: str, changes: dict[str, str | None], errcode: int
) -> None:
    alice = log_in(sandbox, SHOP, "alice")
    assert ask(sandbox, path, query_of(sandbox, alice, **changes)).errcode == errcode
    assert ask(sandbox, CHECK, query_of(sandbox, alice)).errcode == 0


def test_the_signature_is_lower_hex_keyed_with_the_text(sandbox: RunningSandbox) -> None:
    alice = log_in(sandbox, SHOP, "alice")
    right = query_of(sandbox, alice)["signature"]
    with_bytes = hmac.new(base64.b64decode(alice["session_key"]), b"", hashlib.sha256).hexdigest()
    for wrong in (right.upper(), with_bytes):
        assert ask(sandbox, CHECK, query_of(sandbox, alice, signature=wrong)).errcode == 87009


def test_the_next_login_ends_the_session_key(sandbox: RunningSandbox) -> None:
    first, second = (log_in(sandbox, SHOP, "alice") for _ in range(2))
    assert ask(sandbox, CHECK, query_of(sandbox, first)).errcode == 87009
    assert ask(sandbox, CHECK, query_of(sandbox, second)).errcode == 0


def test_a_reset_gives_a_new_key_with_the_end_of_the_old_one(
    sandbox: RunningSandbox, clock: HandClock
) -> None:
    alice = log_in(sandbox, SHOP, "alice")
    clock.now += THREE_DAYS_S - 1
    reply = ask(sandbox, RESET, query_of(sandbox, alice))
    reset = reply.json()
    assert list(reset) == ["errcode", "errmsg", "openid", "session_key"]
    assert (reset["errcode"], reset["openid"]) == (0, alice["openid"])
    assert len(base64.b64decode(reset["session_key"], validate=True)) == 16
    assert ask(sandbox, CHECK, query_of(sandbox, alice)).errcode == 87009
    assert ask(sandbox, CHECK, query_of(sandbox, reset)).errcode == 0

    clock.now += 1
    assert ask(sandbox, CHECK, query_of(sandbox, reset)).errcode == 87009
    assert ask(sandbox, RESET, query_of(sandbox, reset)).errcode == 87009


def test_a_session_key_can_be_made_to_end(sandbox: RunningSandbox) -> None:
    alice, bob = log_in(sandbox, SHOP, "alice"), log_in(sandbox, SHOP, "bob")
    assert sandbox.expire_session_key(SHOP.app_id, "alice")
    assert not sandbox.expire_session_key(SHOP.app_id, "alice")
    assert not sandbox.expire_session_key(SHOP.app_id, "a stranger")
    assert ask(sandbox, CHECK, query_of(sandbox, alice)).errcode == 87009
    assert ask(sandbox, CHECK, query_of(sandbox, bob)).errcode == 0
    later = log_in(sandbox, SHOP, "alice")
    assert ask(sandbox, CHECK, query_of(sandbox, later)).errcode == 0


# --- User data ----------------------------------------------------------------


def data_of(handed_out: dict[str, str], session_key: str) -> dict[str, Any]:
    plain = opened(handed_out["encryptedData"], handed_out["iv"], session_key)
    data: dict[str, Any] = json.loads(plain)
    return data


def test_the_profile_as_the_phone_hands_it_out(sandbox: RunningSandbox, clock: HandClock) -> None:
    user = log_in(sandbox, BANK, "小明")
    handed_out = sandbox.user_data(BANK.app_id, "小明")
    assert set(handed_out) == {"encryptedData", "iv", "rawData", "signature"}

    data = data_of(handed_out, user["session_key"])
    assert data["openId"] == user["openid"]
    assert data["unionId"] == user["unionid"]
    assert data["nickName"] == "小明"
    assert data["watermark"] == {"timestamp": int(clock.now), "appid": BANK.app_id}
    told = json.loads(handed_out["rawData"])
    assert data == told | {name: data[name] for name in ("openId", "unionId", "watermark")}
    assert not {"openId", "unionId", "watermark"} & set(told)
    signed = (handed_out["rawData"] + user["session_key"]).encode()
    assert handed_out["signature"] == hashlib.sha1(signed).hexdigest()


def test_two_handouts_differ_in_their_iv(sandbox: RunningSandbox) -> None:
    log_in(sandbox, SHOP, "alice")
    first, second = (sandbox.user_data(SHOP.app_id, "alice") for _ in range(2))
    assert first["iv"] != second["iv"]
    assert first["encryptedData"] != second["encryptedData"]
    assert first["signature"] == second["signature"]


def test_data_of_ones_own_with_a_wrong_watermark(sandbox: RunningSandbox) -> None:
    key = log_in(sandbox, SHOP, "alice")["session_key"]
    watermark = {"appid": BANK.app_id, "timestamp": 1_477_314_187}
    handed_out = sandbox.user_data(
        SHOP.app_id, "alice", data={"openGId": "\N{GRINNING FACE}"}, watermark=watermark
    )
    assert handed_out["rawData"] == '{"openGId":"\N{GRINNING FACE}"}'
    assert data_of(handed_out, key) == {"openGId": "\N{GRINNING FACE}", "watermark": watermark}


def test_a_phone_number_sealed_the_old_way(sandbox: RunningSandbox) -> None:
    key = log_in(sandbox, SHOP, "alice")["session_key"]
    data = data_of(sandbox.user_data(SHOP.app_id, "alice", kind="phone", phone="13580006666"), key)
    del data["watermark"]
    assert data == {
        "phoneNumber": "13580006666",
        "purePhoneNumber": "13580006666",
        "countryCode": "86",
    }


@pytest.mark.parametrize("user", ["nobody yet", "somebody whose key has ended"])
def test_without_a_session_key_there_is_no_data(sandbox: RunningSandbox, user: str) -> None:
    if user != "nobody yet":
        log_in(sandbox, SHOP, user)
        sandbox.expire_session_key(SHOP.app_id, user)
    asked = {"appid": SHOP.app_id, "user": user}
    answer = requests.post(sandbox.base_url + "/_control/user-data", json=asked, timeout=10)
    told = "user: has no session_key in this app: exchange a code first"
    assert (answer.status_code, answer.json()) == (400, {"error": told})
