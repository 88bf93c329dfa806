"""User data of the mini-program: WeChat's own vectors, and everything that is not WeChat's.

That the times of refusals tell nothing is tests/fault/test_padding_oracle.py.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import partial

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import example, given
from hypothesis import strategies as st

from wxauth_server.errors import RequestInvalid, SessionKeyInvalid, UserDataInvalid
from wxauth_server.wechat.user_data import (
    UserData,
    decrypt,
    problem_of_encrypted_data,
    problem_of_iv,
    problem_of_signature,
    verify,
)

APP = "wx4f4bc4dec97d474b"
OPENID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"
KEY = "tiihtNczf5v6AKRyjwEUhQ=="
IV = "r7BXXKkLb8qrSNn05n0qiA=="
NOW = 1_772_366_400  # 2026-03-01 12:00 UTC
MAX_AGE_S = 300

# WeChat's vector.
OFFICIAL = (
    "CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrDcvSnxIMXFufNstNGTyaGS9uT5geRa0W4oTOb1WT7fJlAC+oNP"
    "dbB+3hVbJSRgv+4lGOETKUQz6OYStslQ142dNCuabNPGBzlooOmB231qMM85d2/fV6ChevvXvQP8Hkue1poOFtnEtpyx"
    "VLW1zAo6/1Xx1COxFvrc2d7UL/lmHInNlxuacJXwu0fjpXfz/YqYzBIBzD6WUfTIF9GRHpOn/Hz7saL8xz+W//FRAUid"
    "1OksQaQx4CMs8LOddcQhULW4ucetDf96JcR3g0gfRK4PC7E/r7Z6xNrXd2UIeorGj5Ef7b1pJAYB6Y5anaHqZ9J6nKEB"
    "vB4DnNLIVWSgARns/8wR2SiRS7MNACwTyrGvt9ts8p12PKFdlqYTopNHR1Vf7XjfhQlVsAJdNiKdYmYVoKlaRv85IfVu"
    "nYzO0IKXsyl7JCUjCpoG20f0a04COwfneQAGGwd5oa+T8yO5hzuyDb/XcxxmK01EpqOyuxINew=="
)
OFFICIAL_TIME_S = 1_477_314_187

# A made one with a phone number.
PHONE_KEY, PHONE_IV = "HyVFkGl5F5OQWJZZaNzBBg==", "AAECAwQFBgcICQoLDA0ODw=="
PHONE = (
    "A9tSD1UlZPDo99Jgs8ev5ckAzt0m4Vu087o89x1K+AbcTp8BFMvHPI6c+cqln+OrMEcpfCrpdVB+z+Q4QKNH/8GpUYh9"
    "kngeQi1IyoDq/+Iyc30BZ8yKgvHD42T2hBzgUsaQ0KCdqOL42+raAvUls+ALnLu6L2kUxG30U1nnZtO/r8ondT0YuCD1"
    "fAIwJ7mYlfAXdVjp2XND5ZaYNeSvYw=="
)


def seal_padded(padded: bytes, key: str = KEY, iv: str = IV) -> str:
    cipher = Cipher(algorithms.AES(base64.b64decode(key)), modes.CBC(base64.b64decode(iv)))
    encryptor = cipher.encryptor()
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def seal(content: bytes | dict[str, object]) -> str:
    """As WeChat does."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    length = 16 - len(data) % 16
    return seal_padded(data + bytes([length]) * length)


def profile(**changes: object) -> dict[str, object]:
    return {
        "openId": OPENID,
        "nickName": "张三",
        "watermark": {"timestamp": NOW, "appid": APP},
    } | changes


def open_it(
    encrypted_data: str,
    key: str = KEY,
    iv: str = IV,
    openid: str = OPENID,
    now_s: float = NOW,
    app_id: str = APP,
) -> UserData:
    return decrypt(
        *(key, encrypted_data, iv),
        app_id=app_id,
        openid=openid,
        now_s=now_s,
        max_age_s=MAX_AGE_S,
    )


def watermark_refused(call: Callable[[], object]) -> str:
    """What the refusal says of the watermark, "" if nothing; the rest is the same for all."""
    with pytest.raises(UserDataInvalid) as caught:
        call()
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert error.args == ()
    assert str(error) == UserDataInvalid.message
    assert set(error.metadata) <= {"watermark"}
    return error.metadata.get("watermark", "")


# --- WeChat's vectors ---------------------------------------------------------


def test_the_official_vector() -> None:
    opened = open_it(OFFICIAL, now_s=OFFICIAL_TIME_S)
    fields = json.loads(opened.json_text)
    assert fields["openId"] == OPENID
    assert fields["unionId"] == "ocMvos6NjeKLIBqg5Mr9QjxrP1FA"
    assert fields["watermark"] == {"timestamp": OFFICIAL_TIME_S, "appid": APP}
    assert opened.watermark_time_s == OFFICIAL_TIME_S
    assert OPENID not in repr(opened)


def test_the_phone_vector() -> None:
    sealed = base64.b64decode(PHONE)
    cipher = Cipher(
        algorithms.AES(base64.b64decode(PHONE_KEY)), modes.CBC(base64.b64decode(PHONE_IV))
    )
    plain = cipher.decryptor().update(sealed)
    now_s = json.loads(plain[: -plain[-1]])["watermark"]["timestamp"]
    fields = json.loads(open_it(PHONE, PHONE_KEY, PHONE_IV, now_s=now_s).json_text)
    assert (fields["purePhoneNumber"], fields["countryCode"]) == ("13580006666", "86")


RAW_DATA = (
    '{"nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou","province":"Guangdong",'
    '"country":"CN","avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/'
    "1vZvI39NWFQ9XM4LtQpFrQJ1xlgZxx3w7bQxKARol6503Iuswjjn6nIGBiaycAjAtpujxyzYsrztuuICqIM5ibXQ/0"
    '"}'
)
SIGNATURE = "75e81ceda165f4ffa64f4068af58c64b8f54b88c"


def test_the_official_signature() -> None:
    verify(PHONE_KEY, RAW_DATA, SIGNATURE)


@pytest.mark.parametrize(
    ("key", "raw_data", "signature"),
    [
        (PHONE_KEY, RAW_DATA + " ", SIGNATURE),
        (PHONE_KEY, RAW_DATA.replace("Band", "band"), SIGNATURE),
        (KEY, RAW_DATA, SIGNATURE),
        ("", RAW_DATA, SIGNATURE),
        (PHONE_KEY, "", SIGNATURE),
        (PHONE_KEY, "\ud800", SIGNATURE),
        (PHONE_KEY, RAW_DATA, "0" * 40),
    ],
)
def test_any_other_signature_is_refused(key: str, raw_data: str, signature: str) -> None:
    assert watermark_refused(lambda: verify(key, raw_data, signature)) == ""


# --- Shapes, before a key is touched ------------------------------------------

SPACE = "contains a space where a + was: it was not URL-encoded on the way"
BLOCKS = "not a whole number of 16-byte blocks: a part of it is missing"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (OFFICIAL, None),
        (OFFICIAL.replace("+", " "), SPACE),
        (OFFICIAL.replace("+", "%2B"), "contains a %: it was URL-encoded once too often"),
        (OFFICIAL.replace("+", "-"), "not standard base64, but its URL-safe form"),
        (OFFICIAL.replace("=", ""), "not standard base64"),
        (OFFICIAL + "\n", "not standard base64"),
        (OFFICIAL[:-4], BLOCKS),
        ("AAAA", BLOCKS),
        ("", BLOCKS),
        ("\N{SNOWMAN}", "not standard base64"),
        ("\ud800", "not standard base64"),
    ],
)
def test_what_is_wrong_with_encrypted_data(text: str, problem: str | None) -> None:
    assert problem_of_encrypted_data(text) == problem
    if problem:
        with pytest.raises(RequestInvalid) as caught:
            open_it(text)
        assert caught.value.violations == (("encrypted_data", problem),)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (IV, None),
        ("+" * 21 + "A==", None),
        (" " * 21 + "A==", SPACE),
        ("AAAA", "not the base64 of 16 bytes"),
        ("A" * 24, "not the base64 of 16 bytes"),
        ("", "not the base64 of 16 bytes"),
        (IV[:-2], "not standard base64"),
    ],
)
def test_what_is_wrong_with_an_iv(text: str, problem: str | None) -> None:
    assert problem_of_iv(text) == problem
    if problem:
        with pytest.raises(RequestInvalid) as caught:
            open_it(OFFICIAL, iv=text)
        assert caught.value.violations == (("iv", problem),)


def test_both_fields_are_named_at_once() -> None:
    with pytest.raises(RequestInvalid) as caught:
        open_it("a b", iv="AAAA")
    assert [field for field, _ in caught.value.violations] == ["encrypted_data", "iv"]


@pytest.mark.parametrize("text", ["", SIGNATURE.upper(), SIGNATURE[:-1], SIGNATURE + "0", "g" * 40])
def test_what_is_wrong_with_a_signature(text: str) -> None:
    assert problem_of_signature(text) == "not 40 lower-case hex digits"
    with pytest.raises(RequestInvalid) as caught:
        verify(PHONE_KEY, RAW_DATA, text)
    assert caught.value.violations == (("signature", "not 40 lower-case hex digits"),)


@pytest.mark.parametrize("key", ["", "k", "A" * 24, "A" * 44])
def test_a_key_that_is_none(key: str) -> None:
    with pytest.raises(SessionKeyInvalid):
        open_it(OFFICIAL, key=key)


# --- The watermark, and whose data it is --------------------------------------


@pytest.mark.parametrize("age_s", [0, MAX_AGE_S, -MAX_AGE_S, 0.5])
def test_fresh_data_opens(age_s: float) -> None:
    opened = open_it(seal(profile()), now_s=NOW + age_s)
    assert json.loads(opened.json_text) == profile()
    assert opened.watermark_time_s == NOW


@pytest.mark.parametrize("age_s", [MAX_AGE_S + 1, -MAX_AGE_S - 1, 10**9])
def test_stale_data(age_s: float) -> None:
    assert watermark_refused(lambda: open_it(seal(profile()), now_s=NOW + age_s)) == "STALE"


def test_the_official_vector_is_stale_by_now() -> None:
    assert watermark_refused(lambda: open_it(OFFICIAL)) == "STALE"


def test_another_apps_data_even_if_stale() -> None:
    for now_s in (NOW, NOW + 10**6):
        call = partial(open_it, seal(profile()), app_id="wx2", now_s=now_s)
        assert watermark_refused(call) == "APP"


def test_another_users_data() -> None:
    assert watermark_refused(lambda: open_it(seal(profile()), openid="oOther")) == "APP"


def test_data_without_an_openid_such_as_a_phone_number() -> None:
    content = profile()
    del content["openId"]
    open_it(seal(content), openid="oOther")


# --- What does not open: one error --------------------------------------------

MARK = {"timestamp": NOW, "appid": APP}
PADDED = json.dumps(profile()).encode().ljust(256)

UNOPENED = {
    "not UTF-8": seal(json.dumps(profile()).encode() + b"\xff"),
    "not JSON": seal(b"hello"),
    "empty": seal(b""),
    "a byte order mark": seal(b"\xef\xbb\xbf" + json.dumps(profile()).encode()),
    "a list": seal(json.dumps([profile()]).encode()),
    "null": seal(b"null"),
    "nested too deep": seal(b"[" * 60_000),
    "an endless number": seal(b'{"a":' + b"1" * 5000 + b"}"),
    "NaN": seal(json.dumps(profile(a=float("nan"))).encode()),
    "no watermark": seal({"openId": OPENID}),
    "watermark null": seal(profile(watermark=None)),
    "watermark a list": seal(profile(watermark=[MARK])),
    "no appid": seal(profile(watermark={"timestamp": NOW})),
    "appid a number": seal(profile(watermark=MARK | {"appid": 1})),
    "no timestamp": seal(profile(watermark={"appid": APP})),
    "timestamp a string": seal(profile(watermark=MARK | {"timestamp": str(NOW)})),
    "timestamp a bool": seal(profile(watermark=MARK | {"timestamp": True})),
    "timestamp a float": seal(profile(watermark=MARK | {"timestamp": float(NOW)})),
    "timestamp negative": seal(profile(watermark=MARK | {"timestamp": -1})),
    "timestamp in the year 10000": seal(profile(watermark=MARK | {"timestamp": 253402300800})),
    "openId a number": seal(profile(openId=7)),
    "openId null": seal(profile(openId=None)),
    # Good content, but for the padding.
    "padding of length 0": seal_padded(PADDED[:-1] + b"\0"),
    "padding of length 17": seal_padded(PADDED[:-17] + b"\x11" * 17),
    "padding of length 255": seal_padded(PADDED[:-1] + b"\xff"),
    "padding with one wrong byte": seal_padded(PADDED[:-4] + b"\x03\x04\x04\x04"),
    "padding wrong at its beginning": seal_padded(PADDED[:-16] + b"\x0f" + b"\x10" * 15),
    "no padding": seal_padded(PADDED),
}


@pytest.mark.parametrize("name", UNOPENED)
def test_what_does_not_open(name: str) -> None:
    assert watermark_refused(lambda: open_it(UNOPENED[name])) == ""


@pytest.mark.parametrize("length", range(1, 17))
def test_every_length_of_padding(length: int) -> None:
    content = json.dumps(profile()).encode()
    content += b" " * ((16 - length - len(content)) % 16)
    assert open_it(seal(content)).json_text == content.decode()


def test_data_cut_or_swapped_at_block_borders() -> None:
    sealed = base64.b64decode(seal(profile()))
    for mangled in (sealed[:-16], sealed[16:], sealed[16:32] + sealed[:16] + sealed[32:]):
        assert watermark_refused(partial(open_it, base64.b64encode(mangled).decode())) == ""


@given(st.binary(min_size=16, max_size=16))
def test_another_key_opens_nothing(key: bytes) -> None:
    text = base64.b64encode(key).decode()
    if text != KEY:
        assert watermark_refused(lambda: open_it(OFFICIAL, key=text, now_s=OFFICIAL_TIME_S)) == ""


@given(st.binary(max_size=100).map(lambda data: data + bytes(-len(data) % 16)))
@example(b"")
def test_garbage_is_refused(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    with pytest.raises((UserDataInvalid, RequestInvalid)):
        open_it(text)


@given(st.text(max_size=60), st.text(max_size=60))
def test_garbage_for_text_is_refused(encrypted_data: str, iv: str) -> None:
    with pytest.raises((UserDataInvalid, RequestInvalid)):
        open_it(encrypted_data, iv=iv)
    with pytest.raises((UserDataInvalid, RequestInvalid)):
        verify(KEY, encrypted_data, iv)
