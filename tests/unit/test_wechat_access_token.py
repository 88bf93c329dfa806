"""The access_token of an app: when it is fetched, kept, replaced, forced, and never in a loop.

Seen from outside, by what a WeChat is asked that answers as each test says.
checksession is the call that needs the token.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote

import pytest

from tests.scripted_wechat import (
    Asked,
    HandClock,
    Refusals,
    Say,
    Script,
    client_of,
    http,
    request_from,
    serving,
)
from wxauth_server.deadline import Deadline
from wxauth_server.errors import (
    AuthError,
    DeadlineTooShort,
    Overloaded,
    WeChatMisconfigured,
    WeChatRateLimited,
    WeChatUnavailable,
)
from wxauth_server.wechat.access_token import FORCE_INTERVAL_S, FORCED_A_DAY
from wxauth_server.wechat.client import WeChatClient

APP = "wx1111111111111111"
SECRET = "SECRET-do-not-print"
KEY = "KEYdonotprint/+AAAAAAA=="
OPENID = "oAAAAAAAAAAAAAAAAAAAAAAAAAA1"
ERRMSG = "ERRMSG-do-not-print"
TOKEN = "TOKEN-do-not-print"

OK = b'{"errcode":0,"errmsg":"ok"}'
BUSY = b'{"errcode":-1,"errmsg":"system error"}'


def refusing(errcode: int) -> bytes:
    return f'{{"errcode":{errcode},"errmsg":"{ERRMSG}"}}'.encode()


def granting(number: int, expires_in: object = 7200) -> bytes:
    return json.dumps({"access_token": f"{TOKEN}{number}", "expires_in": expires_in}).encode()


def check(
    client: WeChatClient, deadline_s: float = 5.0, app_id: str = APP, app_secret: str = SECRET
) -> None:
    client.check_session_key(app_id, app_secret, OPENID, KEY, Deadline(deadline_s))


def used(script: Script) -> list[str]:
    """The tokens that were used, in order."""
    return [asked.query["access_token"] for asked in script.calls("checksession")]


def next_used(script: Script, client: WeChatClient) -> str:
    check(client)
    return used(script)[-1]


def forced(script: Script) -> list[bool]:
    """Whether each request for a token was a forced one, in order."""
    return [json.loads(asked.body)["force_refresh"] for asked in script.calls("stable_token")]


def accepting(*numbers: int) -> Say:
    """checksession at a WeChat for which only these tokens are good."""
    good = {f"{TOKEN}{number}" for number in numbers}
    return lambda asked: OK if asked.query["access_token"] in good else refusing(40001)


@contextmanager
def wechat(
    clock: HandClock | None = None,
    *,
    stable_token: bytes | Say | Sequence[bytes | Say],
    checksession: bytes | Say | Sequence[bytes | Say] = OK,
) -> Iterator[tuple[Script, WeChatClient]]:
    script = Script(stable_token=stable_token, checksession=checksession)
    with serving(script) as server, client_of(server.base_url, monotonic=clock or HandClock()) as c:
        yield script, c


@pytest.fixture
def refusals(caplog: pytest.LogCaptureFixture) -> Refusals:
    return Refusals(caplog, (SECRET, KEY, OPENID, ERRMSG, TOKEN))


def wait_until(condition: Callable[[], bool]) -> None:
    """For what happens behind a caller's back; fails after ten seconds."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.005)


# --- Fetching and keeping -----------------------------------------------------


def test_the_request_is_the_documented_one() -> None:
    with wechat(stable_token=granting(1)) as (script, client):
        check(client, app_secret='a"+/=\\')
    (asked,) = script.calls("stable_token")
    assert (asked.method, asked.query) == ("POST", {})
    assert asked.headers["content-type"] == "application/json"
    assert json.loads(asked.body) == {
        "grant_type": "client_credential",
        "appid": APP,
        "secret": 'a"+/=\\',
        "force_refresh": False,
    }


def test_one_token_serves_until_its_last_five_minutes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    clock = HandClock()
    with wechat(clock, stable_token=[granting(1), granting(2)]) as (script, client):
        check(client)
        clock.now += 6899
        check(client)
        assert len(script.calls("stable_token")) == 1
        clock.now += 1
        check(client)  # is not kept waiting, and renews it
        wait_until(lambda: len(script.calls("stable_token")) == 2)
        assert used(script) == [f"{TOKEN}1"] * 3
        wait_until(lambda: next_used(script, client) == f"{TOKEN}2")
    assert forced(script) == [False, False]
    assert TOKEN not in caplog.text


def test_a_token_that_has_expired_is_not_used() -> None:
    clock = HandClock()
    with wechat(clock, stable_token=[granting(1), granting(2)]) as (script, client):
        check(client)
        clock.now += 7200
        check(client)
    assert used(script) == [f"{TOKEN}1", f"{TOKEN}2"]


@pytest.mark.parametrize(("expires_in", "reused_s"), [(305, 10), (300, 10), (8, 4), (310, 10)])
def test_a_short_life_does_not_mean_a_request_each_time(expires_in: int, reused_s: int) -> None:
    clock = HandClock()
    tokens = [granting(1, expires_in), granting(2)]
    with wechat(clock, stable_token=tokens) as (script, client):
        check(client)
        clock.now += reused_s - 0.5
        check(client)
        assert len(script.calls("stable_token")) == 1
        clock.now += 0.5
        check(client)
        wait_until(lambda: len(script.calls("stable_token")) == 2)


def test_a_life_beyond_the_documented_one_is_not_believed() -> None:
    clock = HandClock()
    with wechat(clock, stable_token=[granting(1, 10**9), granting(2)]) as (script, client):
        check(client)
        clock.now += 7200
        check(client)
    assert used(script) == [f"{TOKEN}1", f"{TOKEN}2"]


def test_each_app_and_secret_has_its_own_token() -> None:
    tokens = [granting(1), granting(2), granting(3)]
    with wechat(stable_token=tokens) as (script, client):
        for app_id, secret in [(APP, SECRET), ("wx2", SECRET), (APP, "other"), (APP, SECRET)]:
            check(client, app_id=app_id, app_secret=secret)
    assert used(script) == [f"{TOKEN}{number}" for number in (1, 2, 3, 1)]


@pytest.mark.parametrize("token", ["t", "x" * 512, "x" * 1024, "79_a&b=c#%/+~"])
def test_a_token_of_any_documented_length_goes_through_encoded(token: str) -> None:
    said = json.dumps({"access_token": token, "expires_in": 7200}).encode()
    with wechat(stable_token=said) as (script, client):
        check(client)
    assert used(script) == [token]


ODD_TOKENS = {
    "no token": {"expires_in": 7200},
    "empty": {"access_token": "", "expires_in": 7200},
    "a number": {"access_token": 7, "expires_in": 7200},
    "with a space": {"access_token": "a b", "expires_in": 7200},
    "with a line end": {"access_token": "a\n", "expires_in": 7200},
    "not ASCII": {"access_token": "\N{SNOWMAN}", "expires_in": 7200},
    "too long": {"access_token": "x" * 1025, "expires_in": 7200},
    "no life": {"access_token": TOKEN},
    "life a string": {"access_token": TOKEN, "expires_in": "7200"},
    "life a bool": {"access_token": TOKEN, "expires_in": True},
    "life a float": {"access_token": TOKEN, "expires_in": 7200.0},
    "life zero": {"access_token": TOKEN, "expires_in": 0},
    "life negative": {"access_token": TOKEN, "expires_in": -1},
}


@pytest.mark.parametrize("name", ODD_TOKENS)
def test_an_odd_token_is_not_used(name: str, refusals: Refusals) -> None:
    with wechat(stable_token=json.dumps(ODD_TOKENS[name]).encode()) as (script, client):
        assert type(refusals.of(check, client)) is WeChatUnavailable
    assert used(script) == []
    ((level, text),) = refusals.log
    assert level == "WARNING"
    assert text.endswith("(stable_token)")


# --- Errors -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errcode", "error"),
    [
        *(
            (errcode, WeChatMisconfigured)
            for errcode in (
                *(40013, 40125, 40164, 41002, 41004, 40002, 48001, 40001, 40243),
                *(50004, 50007, 89501, 89503, 89506, 89507),
            )
        ),
        (45009, WeChatRateLimited),
        (45011, WeChatRateLimited),
        *((errcode, WeChatUnavailable) for errcode in (-1, 1, 43002, 47001, 10**30)),
    ],
)
def test_each_errcode_has_its_refusal(
    errcode: int, error: type[AuthError], refusals: Refusals
) -> None:
    with wechat(stable_token=refusing(errcode)) as (script, client):
        assert type(refusals.of(check, client)) is error
    assert used(script) == []
    if error is WeChatMisconfigured:
        text = f"WeChat refuses our configuration: errcode {errcode}, app {APP} (stable_token)"
        assert refusals.log == [("ERROR", text)]
    assert len(script.calls("stable_token")) == (3 if errcode == -1 else 1)


def test_busy_is_retried() -> None:
    with wechat(stable_token=[BUSY, BUSY, granting(1)]) as (script, client):
        check(client)
    assert forced(script) == [False] * 3


def test_the_old_token_is_used_while_it_lives_and_renewing_fails(refusals: Refusals) -> None:
    clock = HandClock()
    answers = [granting(1), refusing(45011)]
    with wechat(clock, stable_token=answers) as (script, client):
        check(client)
        clock.now += 6900
        check(client)
        wait_until(lambda: len(refusals.log) == 0 and len(script.calls("stable_token")) == 2)
        for _ in range(5):  # no further request so soon
            check(client)
        assert len(script.calls("stable_token")) == 2
        clock.now += 10
        check(client)
        wait_until(lambda: len(script.calls("stable_token")) == 3)
        clock.now += 290
        assert isinstance(refusals.of(check, client), WeChatRateLimited)
    assert set(used(script)) == {f"{TOKEN}1"}


def test_the_caller_in_the_last_five_minutes_does_not_wait_for_a_stalled_renewal() -> None:
    clock = HandClock()
    stall = threading.Event()

    def stalled(_asked: Asked) -> bytes:
        stall.wait()
        return b""

    with wechat(clock, stable_token=[granting(1), stalled]) as (script, client):
        check(client)
        clock.now += 6900
        began = time.monotonic()
        check(client)
        assert time.monotonic() - began < 1.0
        wait_until(lambda: len(script.calls("stable_token")) == 2)
        check(client)
        assert len(script.calls("stable_token")) == 2
        stall.set()


@pytest.mark.parametrize("deadline_s", [0.2, 5.0])
def test_waiting_for_a_token_ends_with_the_deadline(deadline_s: float, refusals: Refusals) -> None:
    def silent(connection: socket.socket) -> None:
        while request_from(connection):
            pass

    with serving(silent) as server, client_of(server.base_url, read_timeout_s=0.5) as client:
        began = time.monotonic()
        assert type(refusals.of(check, client, deadline_s)) is WeChatUnavailable
        assert time.monotonic() - began < min(deadline_s, 0.5) + 0.7  # a busy machine


def test_no_time_left_means_nothing_is_sent(refusals: Refusals) -> None:
    with wechat(stable_token=granting(1)) as (script, client):
        assert isinstance(refusals.of(check, client, deadline_s=0.01), DeadlineTooShort)
        assert script.asked == []
        check(client)
        assert isinstance(refusals.of(check, client, deadline_s=0.01), DeadlineTooShort)
        assert len(script.asked) == 2


def test_a_short_deadline_does_not_cut_short_what_others_wait_for(refusals: Refusals) -> None:
    """The first to come has little time; the token that he asked for is there for the next."""
    let_go = threading.Event()

    def slow(_asked: Asked) -> bytes:
        let_go.wait()
        return granting(1)

    with wechat(stable_token=slow) as (script, client):
        assert isinstance(refusals.of(check, client, deadline_s=0.1), WeChatUnavailable)
        let_go.set()
        check(client)
        check(client)
    assert len(script.calls("stable_token")) == 1


def test_no_thread_to_be_had(refusals: Refusals, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with wechat(stable_token=granting(1)) as (_script, client):
        with monkeypatch.context() as patch:
            start = threading.Thread.start
            patch.setattr(
                threading.Thread,
                "start",
                lambda thread: none(thread) if thread.name == "access-token" else start(thread),
            )
            assert isinstance(refusals.of(check, client), Overloaded)
        check(client)


def test_a_token_outage_is_no_login_outage_and_the_reverse(refusals: Refusals) -> None:
    """Each call has a circuit of its own."""
    user = json.dumps({"session_key": KEY, "openid": OPENID}).encode()
    script = Script(stable_token=b"", jscode2session=user)

    def log_in() -> object:
        return client.code_to_session(APP, SECRET, "code", Deadline(5))

    with serving(script) as server, client_of(server.base_url, monotonic=HandClock()) as client:
        for _ in range(7):
            assert isinstance(refusals.of(check, client), WeChatUnavailable)
        assert len(script.calls("stable_token")) == 5, "the circuit did not open"
        for _ in range(3):
            log_in()
        assert len(script.calls("stable_token")) == 5, "a login asked for a token"

    script = Script(stable_token=granting(1), checksession=OK, jscode2session=b"")
    with serving(script) as server, client_of(server.base_url, monotonic=HandClock()) as client:
        for _ in range(7):
            assert isinstance(refusals.of(log_in), WeChatUnavailable)
        assert len(script.calls("jscode2session")) == 5
        for _ in range(3):
            check(client)


# --- A token that WeChat refuses ----------------------------------------------


@pytest.mark.parametrize("errcode", [40001, 40014, 42001])
def test_a_refused_token_is_replaced_and_the_call_made_again(errcode: int) -> None:
    """Somebody else forced a new one: normal mode gives it."""
    answers = [granting(1), granting(2)]
    with wechat(stable_token=answers, checksession=[OK, refusing(errcode), OK]) as (script, client):
        check(client)
        check(client)
        check(client)
    assert used(script) == [f"{TOKEN}{number}" for number in (1, 1, 2, 2)]
    assert forced(script) == [False, False]


def test_other_errcodes_do_not_replace_the_token(refusals: Refusals) -> None:
    with wechat(stable_token=granting(1), checksession=refusing(40003)) as (script, client):
        assert isinstance(refusals.of(check, client), WeChatUnavailable)
    assert forced(script) == [False]
    assert len(used(script)) == 1


def test_force_is_used_only_if_normal_mode_gives_the_refused_token(refusals: Refusals) -> None:
    answers = [granting(1), granting(1), granting(2)]
    with wechat(stable_token=answers, checksession=accepting(2)) as (script, client):
        check(client)
        check(client)
    assert forced(script) == [False, False, True]
    assert used(script) == [f"{TOKEN}{number}" for number in (1, 2, 2)]
    text = f"an access_token was revoked: getting a new one by force, app {APP}"
    assert refusals.log == [("WARNING", text)]
    refusals.search_log()


def counting_up(asked: Asked) -> bytes:
    """A WeChat that obeys force_refresh, and says the same otherwise."""
    counting_up.number += json.loads(asked.body)["force_refresh"]  # type: ignore[attr-defined]  # its memory
    return granting(counting_up.number)  # type: ignore[attr-defined]  # see above


def test_a_wechat_that_refuses_every_token_is_asked_twice_and_no_more(refusals: Refusals) -> None:
    counting_up.number = 1  # type: ignore[attr-defined]  # see above
    with wechat(stable_token=counting_up, checksession=refusing(40001)) as (script, client):
        assert type(refusals.of(check, client)) is WeChatUnavailable
        assert forced(script) == [False, False, True]
        assert used(script) == [f"{TOKEN}1", f"{TOKEN}2"]
        said = f"WeChat refuses an access_token again: errcode 40001, app {APP}"
        assert refusals.log[-1] == ("WARNING", said)
        # The next ones may not force again so soon.
        refusal = refusals.of(check, client)
        assert refusal.retry_after_s == FORCE_INTERVAL_S
        assert forced(script)[3:] == [False]
        assert used(script)[2:] == [f"{TOKEN}2"]
        refusals.of(check, client)
        assert forced(script)[4:] == [False]
        assert len(used(script)) == 3, "a token known to be refused was used"


def test_a_wechat_that_keeps_to_the_refused_token(refusals: Refusals) -> None:
    with wechat(stable_token=granting(1), checksession=refusing(40001)) as (script, client):
        assert type(refusals.of(check, client)) is WeChatUnavailable
    assert forced(script) == [False, False, True]
    assert len(used(script)) == 1
    assert refusals.log[-1] == ("WARNING", f"WeChat keeps to a token that it refuses: app {APP}")


def test_a_spurious_refusal_is_forgotten_when_force_is_not_to_be_had(refusals: Refusals) -> None:
    clock = HandClock()
    answers = [refusing(40001), refusing(40001), OK]
    with wechat(clock, stable_token=granting(1), checksession=answers) as (script, client):
        refusals.of(check, client)  # forced, in vain
        clock.now += FORCE_INTERVAL_S
        refusals.of(check, client)
        clock.now += FORCE_INTERVAL_S
        check(client)
    assert used(script) == [f"{TOKEN}1"] * 3


def test_force_is_used_ten_times_a_day(refusals: Refusals) -> None:
    counting_up.number = 1  # type: ignore[attr-defined]  # see above
    clock = HandClock()
    with wechat(clock, stable_token=counting_up, checksession=refusing(40001)) as (script, client):
        for _ in range(40):
            clock.now += FORCE_INTERVAL_S
            assert isinstance(refusals.of(check, client), WeChatUnavailable)
        assert sum(forced(script)) == FORCED_A_DAY
        clock.now += 86_400
        refusals.of(check, client)
        assert sum(forced(script)) == FORCED_A_DAY + 1


def test_the_secrets_are_in_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with wechat(stable_token=granting(1)) as (_script, client):
        check(client)
        (app,) = client._tokens._apps.values()
        assert TOKEN not in repr(app.token)
        for held in (client, client._tokens, app):
            assert SECRET not in repr(held)
    for secret in (SECRET, TOKEN, KEY, OPENID, quote(KEY)):
        assert secret not in caplog.text


def test_a_redirect_takes_no_token_along(refusals: Refusals) -> None:
    target = Script(checksession=OK)
    with serving(target) as elsewhere:
        moved = http(b"", "307 Temporary", f"Location: {elsewhere.base_url}/wxa/checksession")
        with wechat(stable_token=granting(1), checksession=moved) as (_script, client):
            assert isinstance(refusals.of(check, client), WeChatUnavailable)
    assert target.asked == []
