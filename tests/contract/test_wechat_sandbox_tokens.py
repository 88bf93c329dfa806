"""access_tokens of wechat_sandbox: stable_token, the old token interface, and their errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.wechat_wire import (
    BANK,
    CHECK,
    PHONE,
    RESET,
    SHOP,
    STABLE_TOKEN,
    TOKEN,
    HandClock,
    ask,
    log_in,
    stable_token,
    token_of,
)
from tests.sandbox_server import RunningSandbox, running_sandbox

FORM = {"grant_type": "client_credential", "appid": SHOP.app_id, "secret": SHOP.secret}


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def sandbox(clock: HandClock) -> Iterator[RunningSandbox]:
    with running_sandbox([SHOP, BANK], clock=clock) as running:
        yield running


def errcode_of(sandbox: RunningSandbox, token: str | None) -> int:
    """What the phone interface says of a token: 41008 (no code) if the token is good."""
    errcode = ask(sandbox, PHONE, {"access_token": token}, {}).errcode
    return 0 if errcode == 41008 else errcode


def test_the_answer_is_json_with_a_token_as_long_as_wechat_allows(sandbox: RunningSandbox) -> None:
    reply = ask(sandbox, STABLE_TOKEN, body=FORM)
    assert (reply.status, reply.content_type) == (200, "application/json; encoding=utf-8")
    assert re.fullmatch(
        rb'\{"access_token":"[0-9]{2}_[A-Za-z0-9_-]{509}","expires_in":7200\}', reply.body
    )


def test_the_same_token_until_its_last_five_minutes_then_both_work(
    sandbox: RunningSandbox, clock: HandClock
) -> None:
    first = stable_token(sandbox, SHOP)["access_token"]
    clock.now += 6_899
    assert stable_token(sandbox, SHOP) == {"access_token": first, "expires_in": 301}

    clock.now += 1  # 300 s left
    second = stable_token(sandbox, SHOP)
    assert second["access_token"] != first
    assert second["expires_in"] == 7200
    assert [errcode_of(sandbox, str(token)) for token in (first, second["access_token"])] == [0, 0]
    assert stable_token(sandbox, SHOP) == second  # and only one new one

    clock.now += 299
    assert errcode_of(sandbox, str(first)) == 0
    clock.now += 1
    assert errcode_of(sandbox, str(first)) == 42001
    assert errcode_of(sandbox, str(second["access_token"])) == 0


def test_a_forced_refresh_voids_the_token_before(sandbox: RunningSandbox) -> None:
    first = token_of(sandbox, SHOP)
    assert stable_token(sandbox, SHOP, force_refresh=False)["access_token"] == first
    second = str(stable_token(sandbox, SHOP, force_refresh=True)["access_token"])
    assert (errcode_of(sandbox, first), errcode_of(sandbox, second)) == (40001, 0)
    assert token_of(sandbox, SHOP) == second


def test_the_old_interface_voids_its_former_token_at_every_call(sandbox: RunningSandbox) -> None:
    stable = token_of(sandbox, SHOP)
    first, second = (str(ask(sandbox, TOKEN, dict(FORM)).json()["access_token"]) for _ in range(2))
    assert errcode_of(sandbox, first) == 40001
    assert errcode_of(sandbox, second) == 0
    assert errcode_of(sandbox, stable) == 0  # a world of its own


@pytest.mark.parametrize("path", [STABLE_TOKEN, TOKEN])
@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"appid": ""}, 41002),
        ({"secret": ""}, 41004),
        ({"appid": "wx9999999999999999"}, 40013),
        ({"secret": BANK.secret}, 40125),
        ({"grant_type": "authorization_code"}, 40002),
        ({"grant_type": ""}, 40002),
    ],
)
def test_a_wrong_question_gets_its_errcode(
    sandbox: RunningSandbox, path: str, changes: dict[str, str], errcode: int
) -> None:
    asked: dict[str, Any] = FORM | changes
    reply = ask(sandbox, path, asked) if path == TOKEN else ask(sandbox, path, body=asked)
    assert (reply.status, reply.errcode) == (200, errcode)
    assert re.search(r", rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$", reply.json()["errmsg"])


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"[" * 5_000, b'"' + b"x" * 70_000])
def test_a_body_that_is_no_json_object(sandbox: RunningSandbox, body: bytes) -> None:
    assert ask(sandbox, STABLE_TOKEN, body=body).errcode == 47001


def test_fields_of_other_types_are_missing_ones(sandbox: RunningSandbox) -> None:
    assert stable_token(sandbox, SHOP, appid=["x"])["errcode"] == 41002
    assert stable_token(sandbox, SHOP, secret=7)["errcode"] == 41004


@pytest.mark.parametrize("path", [CHECK, RESET, PHONE])
@pytest.mark.parametrize(
    ("token", "errcode"),
    [
        (None, 41001),
        ("", 41001),
        ("nonsense", 40014),
        ("73_" + "a" * 600, 40014),
        ("73_" + "a" * 133, 40001),
    ],
)
def test_a_token_that_is_none(
    sandbox: RunningSandbox, path: str, token: str | None, errcode: int
) -> None:
    body: object = {} if path == PHONE else None
    assert ask(sandbox, path, {"access_token": token}, body).errcode == errcode


def test_tokens_are_of_their_app(sandbox: RunningSandbox) -> None:
    openid = log_in(sandbox, SHOP, "alice")["openid"]
    query: dict[str, str | None] = {"access_token": token_of(sandbox, BANK), "openid": openid}
    assert ask(sandbox, CHECK, query).errcode == 40003


def test_tokens_can_be_made_to_end(sandbox: RunningSandbox, clock: HandClock) -> None:
    token, other = token_of(sandbox, SHOP), token_of(sandbox, BANK)
    assert sandbox.expire_access_tokens(SHOP.app_id, left_s=310) == 1
    assert stable_token(sandbox, SHOP) == {"access_token": token, "expires_in": 310}
    assert sandbox.expire_access_tokens(SHOP.app_id) == 1
    assert errcode_of(sandbox, token) == 42001
    assert sandbox.expire_access_tokens(SHOP.app_id) == 0

    token = token_of(sandbox, SHOP)
    assert errcode_of(sandbox, token) == 0
    assert sandbox.revoke_access_tokens(SHOP.app_id) == 1
    assert errcode_of(sandbox, token) == 40001
    assert errcode_of(sandbox, token_of(sandbox, SHOP)) == 0

    assert errcode_of(sandbox, other) == 0


def test_a_refresh_can_be_counted(sandbox: RunningSandbox, clock: HandClock) -> None:
    token_of(sandbox, SHOP)
    stable_token(sandbox, SHOP, secret="x")
    token_of(sandbox, BANK)
    call = {"time": clock.now, "path": STABLE_TOKEN, "user": None, "fault": None}
    assert sandbox.calls(path=STABLE_TOKEN, appid=SHOP.app_id) == [
        call | {"appid": SHOP.app_id, "errcode": 0},
        call | {"appid": SHOP.app_id, "errcode": 40125},
    ]
    assert len(sandbox.calls(path=STABLE_TOKEN)) == 3


def test_an_app_has_ten_thousand_tokens_a_minute(sandbox: RunningSandbox) -> None:
    """Counted without sockets: ten thousand of them take longer than they are worth."""
    from wechat_sandbox.access_tokens import AccessTokens
    from wechat_sandbox.question import Question
    from wechat_sandbox.token_endpoints import StableToken
    from wechat_sandbox.world import World

    handler = StableToken(World([SHOP]), AccessTokens())
    body = b'{"grant_type":"client_credential","appid":"%b","secret":"%b"}' % (
        SHOP.app_id.encode(),
        SHOP.secret.encode(),
    )
    answers = [handler.answer(Question({}, body, 60.0)).errcode for _ in range(10_001)]
    assert answers == [0] * 10_000 + [45011]
    assert handler.answer(Question({}, body, 120.0)).errcode == 0
