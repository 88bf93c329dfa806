"""Phone codes of wechat_sandbox, and getPhoneNumber."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.contract.wechat_wire import (
    BANK,
    PHONE,
    SHOP,
    HandClock,
    Reply,
    ask,
    exchange,
    log_in,
    token_of,
)
from tests.sandbox_server import RunningSandbox, running_sandbox


@pytest.fixture(scope="module")
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="module")
def sandbox(clock: HandClock) -> Iterator[RunningSandbox]:
    with running_sandbox([SHOP, BANK], clock=clock) as running:
        yield running


def number_of(sandbox: RunningSandbox, body: object) -> Reply:
    return ask(sandbox, PHONE, {"access_token": token_of(sandbox, SHOP)}, body)


def test_a_code_gives_the_number_it_was_made_for(sandbox: RunningSandbox, clock: HandClock) -> None:
    code = sandbox.phone_code(SHOP.app_id, "alice", phone="13580006666")
    assert re.fullmatch("[0-9a-f]{64}", code)
    reply = number_of(sandbox, {"code": code})
    assert reply.content_type == "application/json; encoding=utf-8"
    assert reply.body == (
        b'{"errcode":0,"errmsg":"ok","phone_info":{"phoneNumber":"13580006666",'
        b'"purePhoneNumber":"13580006666","countryCode":86,'
        b'"watermark":{"timestamp":%d,"appid":"%b"}}}' % (clock.now, SHOP.app_id.encode())
    )


def test_everybody_has_a_number_of_their_own(sandbox: RunningSandbox) -> None:
    def number(user: str) -> str:
        code = sandbox.phone_code(SHOP.app_id, user)
        return str(number_of(sandbox, {"code": code}).json()["phone_info"]["purePhoneNumber"])

    assert re.fullmatch("13[0-9]{9}", number("alice"))
    assert number("alice") == number("alice") != number("bob")


def test_a_number_abroad(sandbox: RunningSandbox) -> None:
    code = sandbox.phone_code(SHOP.app_id, "alice", phone="61234567", countryCode="852")
    info = number_of(sandbox, {"code": code}).json()["phone_info"]
    assert info["phoneNumber"] == "+85261234567"
    assert (info["purePhoneNumber"], info["countryCode"]) == ("61234567", 852)


def test_a_code_works_once(sandbox: RunningSandbox) -> None:
    code = sandbox.phone_code(SHOP.app_id, "alice")
    assert [number_of(sandbox, {"code": code}).errcode for _ in range(2)] == [0, 40163]
    assert [call["errcode"] for call in sandbox.calls(path=PHONE, user="alice")][-2:] == [0, 40163]


def test_a_code_lives_for_five_minutes(sandbox: RunningSandbox, clock: HandClock) -> None:
    in_time, late = (sandbox.phone_code(SHOP.app_id, "alice") for _ in range(2))
    clock.now += 299
    assert number_of(sandbox, {"code": in_time}).errcode == 0
    clock.now += 1
    assert number_of(sandbox, {"code": late}).errcode == 40029


def test_codes_of_another_app_or_kind_are_none(sandbox: RunningSandbox) -> None:
    theirs = sandbox.phone_code(BANK.app_id, "alice")
    login = sandbox.mint(SHOP.app_id, "alice")
    phone = sandbox.phone_code(SHOP.app_id, "alice")
    assert [number_of(sandbox, {"code": code}).errcode for code in (theirs, login)] == [40029] * 2
    assert exchange(sandbox, SHOP, phone).errcode == 40029
    # And none of them is burnt by it.
    assert number_of(sandbox, {"code": phone}).errcode == 0
    assert "openid" in exchange(sandbox, SHOP, login).json()


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (b"{", 47001),
        ([], 47001),
        ({}, 41008),
        ({"code": ""}, 41008),
        ({"code": 7}, 41008),
        ({"code": "0" * 64}, 40029),
    ],
)
def test_a_wrong_body_gets_its_errcode(sandbox: RunningSandbox, body: object, errcode: int) -> None:
    assert number_of(sandbox, body).errcode == errcode


def test_the_code_belongs_in_the_body(sandbox: RunningSandbox) -> None:
    code = sandbox.phone_code(SHOP.app_id, "alice")
    query: dict[str, str | None] = {"access_token": token_of(sandbox, SHOP), "code": code}
    assert ask(sandbox, PHONE, query, {}).errcode == 41008
    assert ask(sandbox, PHONE, query).status == 405


def test_a_phone_button_needs_no_login(sandbox: RunningSandbox) -> None:
    code = sandbox.phone_code(SHOP.app_id, "who never logged in")
    assert number_of(sandbox, {"code": code}).errcode == 0
    log_in(sandbox, SHOP, "who never logged in")
