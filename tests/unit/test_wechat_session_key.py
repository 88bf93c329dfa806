"""checksession and resetusersessionkey: the proof that is sent, and what is believed."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging

import pytest

from tests.scripted_wechat import Refusals, Script, client_of, serving
from wxauth_server.deadline import Deadline
from wxauth_server.errors import (
    AuthError,
    SessionKeyInvalid,
    WeChatMisconfigured,
    WeChatRateLimited,
    WeChatUnavailable,
)
from wxauth_server.wechat.client import WeChatClient
from wxauth_server.wechat.session_key import read_aes_key, signed_query

APP = "wx4f4bc4dec97d474b"
SECRET = "SECRET-do-not-print"
TOKEN = "TOKEN-do-not-print"
OPENID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"
ERRMSG = "ERRMSG-do-not-print"
# WeChat's vector.
KEY = "o0q0otL8aEzpcZL/FT9WsQ=="
SIGNATURE = "46e043c5525c2d817c44be603d30837a808a1d930d038f6fdc3e62a201fed128"
NEW_KEY = "HyVFkGl5F5OQWJZZaNzBBg=="

GRANTED = json.dumps({"access_token": TOKEN, "expires_in": 7200}).encode()
REGRANTED = json.dumps({"access_token": TOKEN + "2", "expires_in": 7200}).encode()
OK = b'{"errcode":0,"errmsg":"ok"}'


def reset_answer(**changes: object) -> bytes:
    fields = {"errcode": 0, "errmsg": "ok", "openid": OPENID, "session_key": NEW_KEY} | changes
    return json.dumps(fields).encode()


def refusing(errcode: int) -> bytes:
    return f'{{"errcode":{errcode},"errmsg":"{ERRMSG}"}}'.encode()


def check(client: WeChatClient, session_key: str = KEY) -> None:
    client.check_session_key(APP, SECRET, OPENID, session_key, Deadline(5))


def reset(client: WeChatClient, session_key: str = KEY) -> str:
    return client.reset_session_key(APP, SECRET, OPENID, session_key, Deadline(5))


@pytest.fixture
def refusals(caplog: pytest.LogCaptureFixture) -> Refusals:
    return Refusals(caplog, (SECRET, TOKEN, KEY, NEW_KEY, OPENID, ERRMSG, SIGNATURE))


def test_wechats_vectors() -> None:
    assert signed_query("t", "o", KEY) == {
        "access_token": "t",
        "openid": "o",
        "signature": SIGNATURE,
        "sig_method": "hmac_sha256",
    }
    # The vector with a message, which no call of ours has: the same key, used the same way.
    signed = hmac.new(KEY.encode(), b'{"foo":"bar"}', hashlib.sha256).hexdigest()
    assert signed == "654571f79995b2ce1e149e53c0a33dc39c0a74090db514261454e8dbe432aa0b"


@pytest.mark.parametrize("call", ["checksession", "resetusersessionkey"])
def test_the_request_is_the_documented_one(call: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    script = Script(stable_token=GRANTED, checksession=OK, resetusersessionkey=reset_answer())
    with serving(script) as server, client_of(server.base_url) as client:
        if call == "checksession":
            check(client)
        else:
            assert reset(client) == NEW_KEY
    (asked,) = script.calls(call)
    assert (asked.method, asked.body) == ("GET", b"")
    assert asked.query == {
        "access_token": TOKEN,
        "openid": OPENID,
        "signature": SIGNATURE,
        "sig_method": "hmac_sha256",
    }
    for secret in (SECRET, TOKEN, KEY, NEW_KEY, SIGNATURE):
        assert secret not in caplog.text


@pytest.mark.parametrize("method", [check, reset])
@pytest.mark.parametrize(
    ("errcode", "error"),
    [
        (87009, SessionKeyInvalid),
        (87008, WeChatMisconfigured),
        (40013, WeChatMisconfigured),
        (48001, WeChatMisconfigured),
        (45009, WeChatRateLimited),
        (45011, WeChatRateLimited),
        (-1, WeChatUnavailable),
        (40003, WeChatUnavailable),
    ],
)
def test_each_errcode_has_its_refusal(
    method: object, errcode: int, error: type[AuthError], refusals: Refusals
) -> None:
    assert callable(method)
    said = refusing(errcode)
    script = Script(stable_token=GRANTED, checksession=said, resetusersessionkey=said)
    with serving(script) as server, client_of(server.base_url) as client:
        assert type(refusals.of(method, client)) is error


@pytest.mark.parametrize(
    "body", [b"{}", b'{"errmsg":"ok"}', b'{"errcode":null}', b'{"errcode":"0"}', b"<html>"]
)
def test_only_errcode_0_says_that_a_key_is_good(body: bytes, refusals: Refusals) -> None:
    script = Script(stable_token=GRANTED, checksession=body)
    with serving(script) as server, client_of(server.base_url) as client:
        assert type(refusals.of(check, client)) is WeChatUnavailable


@pytest.mark.parametrize(
    "changes",
    [
        {"openid": "oSomebodyElse"},
        {"openid": None},
        {"session_key": None},
        {"session_key": 7},
        {"session_key": ""},
        {"session_key": "HyVFkGl5F5OQWJZZaNzBBg"},
        {"session_key": "HyVFkGl5F5OQWJZZaNzBBg== "},
        {"session_key": "AAAA"},
        {"session_key": "A" * 44},
        {"session_key": "\N{SNOWMAN}"},
    ],
)
def test_an_odd_new_key_is_not_taken(changes: dict[str, object], refusals: Refusals) -> None:
    script = Script(stable_token=GRANTED, resetusersessionkey=reset_answer(**changes))
    with serving(script) as server, client_of(server.base_url) as client:
        assert type(refusals.of(reset, client)) is WeChatUnavailable
    assert len(script.calls("resetusersessionkey")) == 1


def test_a_lost_answer_is_not_asked_for_again(refusals: Refusals) -> None:
    """The old key may be dead: a second reset would say that it is wrong."""
    script = Script(stable_token=GRANTED, resetusersessionkey=[b"", reset_answer()])
    with serving(script) as server, client_of(server.base_url) as client:
        assert type(refusals.of(reset, client)) is WeChatUnavailable
    assert len(script.calls("resetusersessionkey")) == 1


def test_a_refused_token_is_replaced() -> None:
    script = Script(
        stable_token=[GRANTED, REGRANTED],
        resetusersessionkey=[refusing(42001), reset_answer()],
    )
    with serving(script) as server, client_of(server.base_url) as client:
        assert reset(client) == NEW_KEY


@pytest.mark.parametrize(
    ("text", "length"),
    [(KEY, 16), ("", 0), ("A" * 24, 0), ("A" * 20, 0), ("a b", 0), ("\N{SNOWMAN}" * 24, 0)],
)
def test_what_is_an_aes_128_key(text: str, length: int) -> None:
    key = read_aes_key(text)
    assert len(key or b"") == length
