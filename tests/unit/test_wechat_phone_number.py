"""getuserphonenumber: what is sent, what is believed, and what is sent twice."""

from __future__ import annotations

import json
import logging
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scripted_wechat import HandClock, Refusals, Script, client_of, serving
from wxauth_server.deadline import Deadline
from wxauth_server.errors import (
    AuthError,
    CodeInvalid,
    CodeUsed,
    WeChatMisconfigured,
    WeChatRateLimited,
    WeChatUnavailable,
    WeChatUserBlocked,
)
from wxauth_server.wechat.answers import Nonsense
from wxauth_server.wechat.client import WeChatClient
from wxauth_server.wechat.phone_number import PhoneNumber, read_phone_number

APP = "wx4f4bc4dec97d474b"
SECRET = "SECRET-do-not-print"
TOKEN = "TOKEN-do-not-print"
CODE = "C0DEd0n0tpr1nt" * 4
ERRMSG = "ERRMSG-do-not-print"
NUMBER = "13580006666"
GRANTED = json.dumps({"access_token": TOKEN, "expires_in": 7200}).encode()
REGRANTED = json.dumps({"access_token": TOKEN + "2", "expires_in": 7200}).encode()


def info(**changes: object) -> dict[str, Any]:
    return {
        "phoneNumber": NUMBER,
        "purePhoneNumber": NUMBER,
        "countryCode": 86,
        "watermark": {"timestamp": 1637744274, "appid": APP},
    } | changes


def answer(**changes: object) -> bytes:
    return json.dumps({"errcode": 0, "errmsg": "ok", "phone_info": info(**changes)}).encode()


def refusing(errcode: int) -> bytes:
    return f'{{"errcode":{errcode},"errmsg":"{ERRMSG}"}}'.encode()


def ask(client: WeChatClient, code: str = CODE) -> PhoneNumber:
    return client.get_phone_number(APP, SECRET, code, Deadline(5))


@pytest.fixture
def refusals(caplog: pytest.LogCaptureFixture) -> Refusals:
    return Refusals(caplog, (SECRET, TOKEN, CODE, ERRMSG, NUMBER))


@pytest.mark.parametrize("code", [CODE, '"\\\n\0', "\ud800", "0&access_token=x"])
def test_the_request_is_the_documented_one(code: str) -> None:
    script = Script(stable_token=GRANTED, getuserphonenumber=answer())
    with serving(script) as server, client_of(server.base_url) as client:
        ask(client, code)
    (asked,) = script.calls("getuserphonenumber")
    assert asked.method == "POST"
    assert asked.query == {"access_token": TOKEN}
    assert json.loads(asked.body) == {"code": code}


def test_the_number_and_nothing_of_it_in_a_repr_or_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    script = Script(stable_token=GRANTED, getuserphonenumber=answer())
    with serving(script) as server, client_of(server.base_url) as client:
        number = ask(client)
    assert number == PhoneNumber("+8613580006666", "86", NUMBER)
    assert NUMBER not in repr(number)
    for secret in (SECRET, TOKEN, CODE, NUMBER):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    ("country_code", "national", "e164"),
    [
        (86, "13580006666", "+8613580006666"),
        ("86", "13580006667", "+8613580006667"),
        (852, "51234567", "+85251234567"),
        ("1", "2015550123", "+12015550123"),
        (39, "0612345678", "+390612345678"),  # Italy keeps the 0
        (7, "12345678901234", "+712345678901234"),  # 15 digits
        (683, "4000", "+6834000"),  # Niue
    ],
)
def test_numbers_of_all_countries(country_code: object, national: str, e164: str) -> None:
    changed = info(countryCode=country_code, purePhoneNumber=national)
    number = read_phone_number({"phone_info": changed}, APP)
    assert number == PhoneNumber(e164, str(country_code), national)


ODD: dict[str, dict[str, object]] = {
    "no phone_info": {},
    "phone_info null": {"phone_info": None},
    "phone_info a list": {"phone_info": [info()]},
    "no watermark": {"phone_info": info(watermark=None)},
    "watermark of another app": {"phone_info": info(watermark={"appid": "wx2"})},
    "watermark appid a list": {"phone_info": info(watermark={"appid": [APP]})},
    **{
        f"countryCode {value!r}": {"phone_info": info(countryCode=value)}
        for value in (None, True, 0, -86, 1000, 86.0, "", "0", "086", "+86", "86 ", "8600", "８６")
    },
    **{
        f"purePhoneNumber {value!r}": {"phone_info": info(purePhoneNumber=value)}
        for value in (
            None,
            13580006666,
            "",
            "123",
            "1358000666a",
            "+13580006666",
            "1" * 15,
            "１３５８",
        )
    },
    "16 digits": {"phone_info": info(countryCode=862, purePhoneNumber="1" * 13)},
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_is_no_number(name: str, refusals: Refusals) -> None:
    body = json.dumps({"errcode": 0, **ODD[name]}).encode()
    script = Script(stable_token=GRANTED, getuserphonenumber=body)
    with serving(script) as server, client_of(server.base_url) as client:
        assert type(refusals.of(ask, client)) is WeChatUnavailable
    assert len(script.calls("getuserphonenumber")) == 1, "a code that is burnt was sent again"
    ((level, text),) = refusals.log
    assert (level, text.endswith("(getuserphonenumber)")) == ("WARNING", True)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(info(), _JSON)))
def test_garbage_is_refused_or_a_proper_number(garbage: dict[str, object]) -> None:
    read = read_phone_number({"phone_info": info(**garbage)}, APP)
    if isinstance(read, PhoneNumber):
        assert read.e164 == f"+{read.country_code}{read.national_number}"
        assert read.e164[1:].isascii()
        assert read.e164[1:].isdigit()
        assert len(read.e164) <= 16
    else:
        assert isinstance(read, Nonsense)


@pytest.mark.parametrize(
    ("errcode", "error"),
    [
        (40029, CodeInvalid),
        (40163, CodeUsed),
        (40226, WeChatUserBlocked),
        (40013, CodeInvalid),  # here: a code of another app, which a user can send
        (45009, WeChatRateLimited),
        (45011, WeChatRateLimited),
        (48001, WeChatMisconfigured),
        (40164, WeChatMisconfigured),
        (-1, WeChatUnavailable),
        (41008, WeChatUnavailable),
        (47001, WeChatUnavailable),
    ],
)
def test_each_errcode_has_its_refusal(
    errcode: int, error: type[AuthError], refusals: Refusals
) -> None:
    script = Script(stable_token=GRANTED, getuserphonenumber=refusing(errcode))
    with serving(script) as server, client_of(server.base_url) as client:
        assert type(refusals.of(ask, client)) is error
    assert len(script.calls("getuserphonenumber")) == (3 if errcode == -1 else 1)
    assert any(level == "ERROR" for level, _ in refusals.log) == (error is WeChatMisconfigured)


def test_what_cannot_have_burnt_the_code_is_tried_again() -> None:
    answers = [refusing(-1), refusing(40001), answer()]
    script = Script(stable_token=[GRANTED, REGRANTED], getuserphonenumber=answers)
    with serving(script) as server, client_of(server.base_url) as client:
        assert ask(client).national_number == NUMBER
    tokens = [asked.query["access_token"] for asked in script.calls("getuserphonenumber")]
    assert tokens == [TOKEN, TOKEN, TOKEN + "2"]
    assert {asked.body for asked in script.calls("getuserphonenumber")} == {
        json.dumps({"code": CODE}).encode()
    }


@pytest.mark.parametrize(
    "lost", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"<html>"]
)
def test_what_may_have_burnt_the_code_is_not_tried_again(lost: bytes, refusals: Refusals) -> None:
    script = Script(stable_token=GRANTED, getuserphonenumber=[lost, answer()])
    with serving(script) as server, client_of(server.base_url, read_timeout_s=0.5) as client:
        assert type(refusals.of(ask, client)) is WeChatUnavailable
    assert len(script.calls("getuserphonenumber")) == 1


def test_its_circuit_is_its_own(refusals: Refusals) -> None:
    script = Script(
        stable_token=GRANTED, getuserphonenumber=b"", checksession=b'{"errcode":0,"errmsg":"ok"}'
    )
    with serving(script) as server, client_of(server.base_url, monotonic=HandClock()) as client:
        for _ in range(6):
            refusals.of(ask, client)
        assert len(script.calls("getuserphonenumber")) == 5
        client.check_session_key(APP, SECRET, "o1", "k", Deadline(5))


def test_a_server_that_is_not_there(refusals: Refusals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with client_of(f"http://127.0.0.1:{port}") as client:
        assert type(refusals.of(ask, client)) is WeChatUnavailable
