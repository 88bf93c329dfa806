"""wechat_sandbox over a real socket, byte for byte what WeChat sends."""

from __future__ import annotations

import base64
import http.client
import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import pytest
import requests

from tests.contract.wechat_wire import BANK, FUND, SHOP, HandClock, log_in
from tests.sandbox_server import RunningSandbox, running_sandbox
from wechat_sandbox import SandboxApp, create_app
from wechat_sandbox.calls import HISTORY_LENGTH, Call, new_history

SUCCESS = re.compile(rb'\{"session_key":"([A-Za-z0-9+/]{22}==)","openid":"(o[A-Za-z0-9_-]{27})"\}')
SUCCESS_WITH_UNIONID = re.compile(
    rb'\{"session_key":"([A-Za-z0-9+/]{22}==)","openid":"(o[A-Za-z0-9_-]{27})",'
    rb'"unionid":"(o[A-Za-z0-9_-]{27})"\}'
)

_ERRMSGS = {
    40002: "invalid grant_type",
    40013: "invalid appid",
    40029: "invalid code",
    40125: "invalid appsecret",
    40163: "code been used",
    40226: "code blocked",
    41002: "appid missing",
    41004: "appsecret missing",
    41008: "missing code",
    45011: "api minute-quota reach limit",
}


@pytest.fixture(scope="module")
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="module")
def sandbox(clock: HandClock) -> Iterator[RunningSandbox]:
    with running_sandbox([SHOP, BANK, FUND], clock=clock) as running:
        yield running


def exchange(sandbox: RunningSandbox, app: SandboxApp, code: str, **changes: str | None) -> bytes:
    """The bytes of an answer, after checking what all answers have in common."""
    query = {
        "appid": app.app_id,
        "secret": app.secret,
        "js_code": code,
        "grant_type": "authorization_code",
    } | changes
    sent = {name: value for name, value in query.items() if value is not None}
    connection = http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc, timeout=10)
    connection.request("GET", "/sns/jscode2session?" + urlencode(sent))
    response = connection.getresponse()
    body = response.read()
    connection.close()
    assert response.status == 200
    assert response.getheader("content-type") == "text/plain"
    assert response.getheader("content-length") == str(len(body))
    assert response.getheader("server") is None
    return body


def assert_error(body: bytes, errcode: int, now: float) -> None:
    expected = rb'\{"errcode":%d,"errmsg":"%s, rid: %08x-[0-9a-f]{8}-[0-9a-f]{8}"\}'
    assert re.fullmatch(expected % (errcode, _ERRMSGS[errcode].encode(), int(now)), body), body


def matched(pattern: re.Pattern[bytes], body: bytes) -> re.Match[bytes]:
    match = pattern.fullmatch(body)
    assert match, body
    return match


# --- code2Session -----------------------------------------------------------


def test_success_without_a_platform_has_no_unionid_and_no_errcode(sandbox: RunningSandbox) -> None:
    code = sandbox.mint(SHOP.app_id, "alice")
    assert re.fullmatch(r"0[0-9A-Za-z]{31}", code)

    match = matched(SUCCESS, exchange(sandbox, SHOP, code))

    assert len(base64.b64decode(match[1], validate=True)) == 16


def test_apps_of_one_platform_share_the_unionid_and_not_the_openid(
    sandbox: RunningSandbox,
) -> None:
    bank, fund = (
        matched(
            SUCCESS_WITH_UNIONID, exchange(sandbox, app, sandbox.mint(app.app_id, "alice"))
        ).groups()
        for app in (BANK, FUND)
    )
    assert bank[2] == fund[2]
    assert bank[1] != fund[1]
    assert bank[1] != bank[2]


def test_a_person_stays_the_same_after_a_restart_and_gets_a_new_session_key(
    sandbox: RunningSandbox,
) -> None:
    def log_in(server: RunningSandbox, user: str) -> re.Match[bytes]:
        return matched(SUCCESS, exchange(server, SHOP, server.mint(SHOP.app_id, user)))

    first, second, bob = (log_in(sandbox, user) for user in ("alice", "alice", "bob"))
    with running_sandbox([SHOP]) as restarted:
        later = log_in(restarted, "alice")

    assert first[2] == second[2] == later[2] != bob[2]
    assert len({first[1], second[1], later[1], bob[1]}) == 4


@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"appid": None}, 41002),
        ({"appid": ""}, 41002),
        ({"secret": None}, 41004),
        ({"js_code": None}, 41008),
        ({"appid": "wx9999999999999999"}, 40013),
        ({"appid": BANK.app_id}, 40125),
        ({"secret": SHOP.secret.upper()}, 40125),
        ({"grant_type": None}, 40002),
        ({"grant_type": "client_credential"}, 40002),
        ({"js_code": "the code is a mock one"}, 40029),
        ({"js_code": "0" + "a" * 31}, 40029),
        ({"js_code": "0123456789abcdef" * 4}, 40029),
        ({"js_code": "\N{GRINNING FACE}&secret=x"}, 40029),
        ({"appid": BANK.app_id, "secret": BANK.secret}, 40029),
    ],
)
def test_a_wrong_question_gets_its_errcode_and_does_not_burn_the_code(
    sandbox: RunningSandbox, clock: HandClock, changes: dict[str, str | None], errcode: int
) -> None:
    code = sandbox.mint(SHOP.app_id, "alice")
    assert_error(exchange(sandbox, SHOP, code, **changes), errcode, clock.now)
    matched(SUCCESS, exchange(sandbox, SHOP, code))


def test_a_code_works_once(sandbox: RunningSandbox, clock: HandClock) -> None:
    code = sandbox.mint(SHOP.app_id, "alice")
    exchange(sandbox, SHOP, code)
    assert_error(exchange(sandbox, SHOP, code), 40163, clock.now)


def test_codes_do_not_invalidate_each_other(sandbox: RunningSandbox) -> None:
    older, newer = (sandbox.mint(SHOP.app_id, "alice") for _ in range(2))
    matched(SUCCESS, exchange(sandbox, SHOP, newer))
    matched(SUCCESS, exchange(sandbox, SHOP, older))


@pytest.mark.parametrize("mint_another", [False, True])
def test_a_code_lives_for_five_minutes(
    sandbox: RunningSandbox, clock: HandClock, mint_another: bool
) -> None:
    in_time, late = (sandbox.mint(SHOP.app_id, "alice") for _ in range(2))
    clock.now += 299
    matched(SUCCESS, exchange(sandbox, SHOP, in_time))
    clock.now += 1
    if mint_another:  # which makes the sandbox forget expired codes
        sandbox.mint(SHOP.app_id, "alice")
    assert_error(exchange(sandbox, SHOP, late), 40029, clock.now)


def test_the_hundred_and_first_login_of_a_minute_waits_for_the_next(
    sandbox: RunningSandbox, clock: HandClock
) -> None:
    for _ in range(100):
        matched(SUCCESS, exchange(sandbox, SHOP, sandbox.mint(SHOP.app_id, "eager")))
    code = sandbox.mint(SHOP.app_id, "eager")
    assert_error(exchange(sandbox, SHOP, code), 45011, clock.now)
    matched(SUCCESS, exchange(sandbox, SHOP, sandbox.mint(SHOP.app_id, "bob")))
    clock.now += 60
    matched(SUCCESS, exchange(sandbox, SHOP, code))


def test_a_blocked_person_is_refused_in_every_app(
    sandbox: RunningSandbox, clock: HandClock
) -> None:
    codes = [(app, sandbox.mint(app.app_id, "mallory")) for app in (SHOP, BANK)]
    sandbox.block("mallory")
    for app, code in codes:
        assert_error(exchange(sandbox, app, code), 40226, clock.now)
    log_in(sandbox, SHOP, "alice")

    sandbox.block("mallory", blocked=False)
    for app, code in codes:  # which are not burnt
        assert "openid" in json.loads(exchange(sandbox, app, code))


def test_a_unionid_can_begin_to_appear_and_stop(sandbox: RunningSandbox) -> None:
    before = log_in(sandbox, SHOP, "alice")
    assert "unionid" not in before
    bank = log_in(sandbox, BANK, "alice")

    sandbox.move_to_platform(SHOP.app_id, "group")
    after = log_in(sandbox, SHOP, "alice")
    assert after["openid"] == before["openid"]
    assert after["unionid"] == bank["unionid"]

    sandbox.move_to_platform(SHOP.app_id, "another group")
    assert log_in(sandbox, SHOP, "alice")["unionid"] != bank["unionid"]
    sandbox.move_to_platform(SHOP.app_id, None)
    assert "unionid" not in log_in(sandbox, SHOP, "alice")


def test_only_get_is_served(sandbox: RunningSandbox) -> None:
    answer = requests.post(sandbox.base_url + "/sns/jscode2session", timeout=10)
    assert answer.status_code == 405


# --- Control ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("codes", b"", "body: not JSON"),
        ("codes", b"{", "body: not JSON"),
        ("codes", b"\xff", "body: not JSON"),
        ("codes", b"[" * 4096, "body: not JSON"),
        ("codes", b"[]", "body: not a JSON object"),
        ("codes", b'"' + b"x" * 65536 + b'"', "body: larger than 65536 bytes"),
        ("codes", b"{}", "appid: the sandbox has no such app"),
        ("codes", b'{"appid":["wx1111111111111111"]}', "appid: the sandbox has no such app"),
        ("codes", b'{"appid":"wx9","user":"alice"}', "appid: the sandbox has no such app"),
        (
            "codes",
            b'{"appid":"wx1111111111111111"}',
            "user: must be a name of 1 to 128 characters",
        ),
        (
            "codes",
            b'{"appid":"wx1111111111111111","user":""}',
            "user: must be a name of 1 to 128 characters",
        ),
        ("codes", b'{"appid":"wx1111111111111111","user":"\\ud800"}', "user: must be printable"),
        (
            "codes",
            b'{"appid":"wx1111111111111111","user":"alice","code":"x"}',
            "body: has a field besides appid, user: 'code'",
        ),
        (
            "codes",  # 23 characters are repeated, 24 are not: a session_key has as many
            b'{"' + b"x" * 23 + b'":1}',
            f"body: has a field besides appid, user: '{'x' * 23}'",
        ),
        (
            "codes",
            b'{"appid":"wx1111111111111111","user":"alice","HyVFkGl5F5OQWJZZaNzBBg==":""}',
            "body: has a field besides appid, user: of a long or unprintable name",
        ),
        (
            "codes",
            b'{"a\\nb":1}',
            "body: has a field besides appid, user: of a long or unprintable name",
        ),
        ("phone-codes", b'{"appid":"wx9","user":"alice"}', "appid: the sandbox has no such app"),
        (
            "phone-codes",
            b'{"appid":"wx1111111111111111","user":"alice","phone":"+8613580006666"}',
            "phone: must be 4 to 15 digits, the first no 0",
        ),
        (
            "phone-codes",
            b'{"appid":"wx1111111111111111","user":"alice","countryCode":86}',
            "countryCode: must be 1 to 3 digits, the first no 0",
        ),
        (
            "user-data",
            b'{"appid":"wx1111111111111111","user":"alice","kind":"steps"}',
            "kind: must be one of profile, phone",
        ),
        (
            "user-data",
            b'{"appid":"wx1111111111111111","user":"alice","kind":["phone"]}',
            "kind: must be one of profile, phone",
        ),
        (
            "user-data",
            b'{"appid":"wx1111111111111111","user":"alice","data":[]}',
            "data: must be a JSON object",
        ),
        (
            "session-keys/expire",
            b'{"appid":"wx1111111111111111"}',
            "user: must be a name of 1 to 128 characters",
        ),
        (
            "access-tokens/expire",
            b'{"appid":"wx1111111111111111","left_s":7201}',
            "left_s: must be a whole number from 0 to 7200",
        ),
        ("access-tokens/revoke", b"{}", "appid: the sandbox has no such app"),
        (
            "platforms",
            b'{"appid":"wx1111111111111111"}',
            "platform: must be a name of 1 to 128 characters",
        ),
        ("blocked", b'{"user":"alice"}', "blocked: must be true or false"),
        ("slow", b"{}", "ms: must be a whole number from 0 to 600000"),
        ("slow", b'{"ms":true}', "ms: must be a whole number from 0 to 600000"),
        ("slow", b'{"ms":-1}', "ms: must be a whole number from 0 to 600000"),
        ("slow", b'{"ms":600001}', "ms: must be a whole number from 0 to 600000"),
    ],
)
def test_control_explains_a_bad_request(
    sandbox: RunningSandbox, path: str, body: bytes, error: str
) -> None:
    answer = requests.post(f"{sandbox.base_url}/_control/{path}", data=body, timeout=10)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_the_history_tells_what_was_asked_and_nothing_secret(
    sandbox: RunningSandbox, clock: HandClock
) -> None:
    code = sandbox.mint(BANK.app_id, "alice")
    exchange(sandbox, BANK, code)
    exchange(sandbox, BANK, code)
    exchange(sandbox, BANK, "0unknown", appid=BANK.secret)

    assert sandbox.exchanges()[-3:] == [
        {"time": clock.now, "appid": BANK.app_id, "user": "alice", "errcode": 0},
        {"time": clock.now, "appid": BANK.app_id, "user": "alice", "errcode": 40163},
        {"time": clock.now, "appid": None, "user": None, "errcode": 40013},
    ]


def test_user_data_refuses_what_has_no_utf8_form_and_a_wrong_watermark(
    sandbox: RunningSandbox,
) -> None:
    log_in(sandbox, SHOP, "alice")
    half: dict[str, object] = {"data": {"nickName": "\ud83d"}}
    far: dict[str, object] = {"watermark": {"timestamp": -1}}
    other: dict[str, object] = {"watermark": {"app": "x"}}
    for changes, error in (
        (half, "data: has half a character, a lone surrogate"),
        (far, "timestamp: must be a whole number from 0 to 253402300799"),
        (other, "body: has a field besides appid, timestamp: 'app'"),
    ):
        asked = {"appid": SHOP.app_id, "user": "alice"} | changes
        answer = requests.post(sandbox.base_url + "/_control/user-data", json=asked, timeout=10)
        assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_the_calls_of_every_interface_are_listed(sandbox: RunningSandbox, clock: HandClock) -> None:
    before = len(sandbox.calls())
    log_in(sandbox, SHOP, "carol")
    requests.get(sandbox.base_url + "/wxa/checksession", timeout=10)
    shared = {"time": clock.now, "fault": None}
    login = {"path": "/sns/jscode2session", "appid": SHOP.app_id, "user": "carol", "errcode": 0}
    check = {"path": "/wxa/checksession", "appid": None, "user": None, "errcode": 41001}
    assert sandbox.calls()[before:] == [shared | login, shared | check]
    assert sandbox.calls(user="carol") == [shared | login]
    assert sandbox.calls(user="carol", appid=BANK.app_id) == []
    refused = requests.get(sandbox.base_url + "/_control/calls?usr=carol", timeout=10)
    told = "query: has a parameter besides path, appid, user"
    assert (refused.status_code, refused.json()) == (400, {"error": told})


def test_the_history_forgets_the_oldest() -> None:
    history = new_history()
    for n in range(HISTORY_LENGTH + 1):
        history.append(Call(n, "/", None, None, 0))
    assert (len(history), history[0].time) == (20_000, 1)


def test_slow_holds_answers_back_and_can_be_switched_off(
    sandbox: RunningSandbox, clock: HandClock
) -> None:
    sandbox.slow(100)
    code = sandbox.mint(SHOP.app_id, "alice")
    began = time.monotonic()
    matched(SUCCESS, exchange(sandbox, SHOP, code))
    assert time.monotonic() - began >= 0.1

    sandbox.slow(600_000)
    code = sandbox.mint(SHOP.app_id, "alice")
    with pytest.raises(requests.ReadTimeout):
        requests.get(
            sandbox.base_url + "/sns/jscode2session",
            params={
                "appid": SHOP.app_id,
                "secret": SHOP.secret,
                "js_code": code,
                "grant_type": "authorization_code",
            },
            timeout=0.1,
        )
    sandbox.slow(0)
    assert_error(exchange(sandbox, SHOP, code), 40163, clock.now)  # the lost answer burnt it


# --- Start and logs ---------------------------------------------------------


def test_it_warns_at_the_start_and_logs_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("urllib3").setLevel(logging.WARNING)  # the test's own client
    with running_sandbox([SHOP]) as sandbox:
        code = sandbox.mint(SHOP.app_id, "alice")
        key = json.loads(exchange(sandbox, SHOP, code))["session_key"]
        exchange(sandbox, SHOP, code)
    assert "This is a sandbox, not WeChat" in caplog.text
    for secret in (SHOP.secret, code, key):
        assert secret not in caplog.text
    assert SHOP.secret not in repr(SHOP)


def test_two_apps_with_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="same app_id"):
        create_app([SHOP, SandboxApp(SHOP.app_id, "other")])


def test_many_clients_at_once_get_exactly_one_success_a_code(sandbox: RunningSandbox) -> None:
    code = sandbox.mint(SHOP.app_id, "alice")
    answers: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: answers.append(exchange(sandbox, SHOP, code)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([answer for answer in answers if SUCCESS.fullmatch(answer)]) == 1
    assert len(answers) == 8
