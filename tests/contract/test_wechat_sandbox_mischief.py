"""The mischief of wechat_sandbox: each knob, and that a seed repeats what it did."""

from __future__ import annotations

import dataclasses
import http.client
import json
import logging
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.contract.wechat_wire import (
    BANK,
    CHECK,
    CODE_TO_SESSION,
    PHONE,
    RESET,
    SHOP,
    STABLE_TOKEN,
    TOKEN,
    Reply,
    ask,
    connect,
    exchange,
    log_in,
    stable_token,
    token_of,
)
from tests.sandbox_server import RunningSandbox, running_sandbox
from wechat_sandbox import Mischief, MischiefRefused, mischief_of
from wechat_sandbox.mischief import KNOBS
from wechat_sandbox.mischief_maker import Fate, MischiefMaker

CUT = http.client.HTTPException, ConnectionError

BEFORE = ["cut_before", "busy", "html_502"]
AFTER = ["cut_after", "busy_after", "empty", "truncated", "garbage"]
PATHS = [CODE_TO_SESSION, STABLE_TOKEN, TOKEN, CHECK, RESET, PHONE]
PERCENTAGES = [knob for knob in KNOBS if knob.endswith("_percent")]

# Each does something to more or less every other call.
A_BIT_OF_ALL = {f"{fault}_percent": 10.0 for fault in BEFORE + AFTER}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with running_sandbox([SHOP, BANK]) as started:
        yield started


@pytest.fixture
def sandbox(running: RunningSandbox) -> Iterator[RunningSandbox]:
    yield running
    running.set_mischief()


def what_comes(sandbox: RunningSandbox, code: str) -> str:
    """The name of the fault that an exchange looks like, or "ok"."""
    try:
        reply = exchange(sandbox, SHOP, code)
    except CUT:
        return "cut"
    if reply.status == 502:
        assert reply.content_type == "text/html"
        assert reply.body.startswith(b"<html>")
        return "html_502"
    assert (reply.status, reply.content_type) == (200, "text/plain")
    if not reply.body:
        return "empty"
    if reply.body.startswith(b"\xff"):  # no UTF-8; json guesses at UTF-16 and the like
        return "garbage"
    try:
        fields = json.loads(reply.body)
    except ValueError:
        assert reply.body.startswith(b"{")
        return "truncated"
    return {-1: "busy", 0: "ok"}[fields.get("errcode", 0)]


# --- Faults -------------------------------------------------------------------


@pytest.mark.parametrize("fault", BEFORE + AFTER)
def test_a_fault_does_what_it_says_always_at_100_and_never_at_0(
    sandbox: RunningSandbox, fault: str
) -> None:
    code = sandbox.mint(SHOP.app_id, "alice")
    sandbox.set_mischief(**{f"{fault}_percent": 100})
    looks_like = fault.removesuffix("_before").removesuffix("_after")
    assert {what_comes(sandbox, code) for _ in range(10)} == {looks_like}

    calls = sandbox.calls(path=CODE_TO_SESSION)[-10:]
    assert {call["fault"] for call in calls} == {fault}
    decided = [call["errcode"] for call in calls]
    if fault in AFTER:
        assert decided == [0] + [40163] * 9
    else:
        assert decided == [-1 if fault == "busy" else None] * 10

    sandbox.set_mischief(**{f"{fault}_percent": 0})
    reply = exchange(sandbox, SHOP, code)
    assert reply.errcode == (40163 if fault in AFTER else 0)  # whether the code was burnt
    assert sandbox.calls()[-1]["fault"] is None


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fault", ["cut_before", "empty"])
def test_every_interface_suffers(sandbox: RunningSandbox, path: str, fault: str) -> None:
    sandbox.set_mischief(**{f"{fault}_percent": 100})
    body: object = {} if path in (STABLE_TOKEN, PHONE) else None
    if fault == "empty":
        assert ask(sandbox, path, body=body).body == b""
    else:
        with pytest.raises(CUT):
            ask(sandbox, path, body=body)


def test_the_control_paths_never_suffer(sandbox: RunningSandbox) -> None:
    sandbox.set_mischief(cut_before_percent=100, slow_ms=60_000)
    sandbox.mint(SHOP.app_id, "alice")


def test_a_busy_answer_looks_like_wechats(sandbox: RunningSandbox) -> None:
    sandbox.set_mischief(busy_percent=100)
    reply = exchange(sandbox, SHOP, sandbox.mint(SHOP.app_id, "alice"))
    assert re.fullmatch(
        rb'\{"errcode":-1,"errmsg":"system error, rid: [0-9a-f-]{26}"\}', reply.body
    )
    assert sandbox.exchanges()[-1]["user"] == "alice"


def end_of(connection: socket.socket) -> str:
    try:
        received = connection.recv(4096)
    except ConnectionResetError:
        return "reset"
    assert received == b""
    return "end"


@pytest.mark.parametrize("answered_before", [0, 2])
def test_a_cut_connection_ends_without_a_byte(
    sandbox: RunningSandbox, answered_before: int
) -> None:
    connection = connect(sandbox)
    for _ in range(answered_before):
        connection.request("GET", CODE_TO_SESSION)
        connection.getresponse().read()
    sandbox.next_calls(CODE_TO_SESSION, fault="cut_after")
    connection.request("GET", CODE_TO_SESSION)
    assert connection.sock is not None
    assert end_of(connection.sock) == "end"
    connection.close()


def test_half_of_the_drawn_cuts_are_resets(sandbox: RunningSandbox) -> None:
    sandbox.set_mischief(cut_before_percent=100, seed=1)
    ends = []
    for _ in range(40):
        connection = connect(sandbox)
        connection.request("GET", CODE_TO_SESSION)
        assert connection.sock is not None
        ends.append(end_of(connection.sock))
        connection.close()
    assert 10 <= ends.count("reset") <= 30


def test_a_cut_is_no_error_in_the_log(
    sandbox: RunningSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.set_mischief(cut_after_percent=100)
    with pytest.raises(CUT):
        exchange(sandbox, SHOP, sandbox.mint(SHOP.app_id, "alice"))
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_the_pieces_left_of_an_answer_differ(sandbox: RunningSandbox) -> None:
    def lengths() -> set[int]:
        codes = [sandbox.mint(SHOP.app_id, f"user {n}") for n in range(30)]
        return {len(exchange(sandbox, SHOP, code).body) for code in codes}

    [whole] = lengths()
    sandbox.set_mischief(truncated_percent=100, seed=1)
    truncated = lengths()
    assert 1 <= min(truncated) < whole / 2 < max(truncated) < whole
    sandbox.set_mischief(garbage_percent=100, seed=1)
    garbage = lengths()
    assert 1 <= min(garbage) < 128 < max(garbage) <= 256
    assert min(len(truncated), len(garbage)) > 10


# --- The sequence --------------------------------------------------------------


def faults_of(sandbox: RunningSandbox, path: str, times: int) -> list[str | None]:
    """What happens to so many calls, as the history tells it."""
    before = len(sandbox.calls(path=path))
    for _ in range(times):
        try:
            ask(sandbox, path, body={} if path in (STABLE_TOKEN, PHONE) else None)
        except CUT:
            continue
    return [call["fault"] for call in sandbox.calls(path=path)[before:]]


def test_a_seed_repeats_the_sequence_in_any_process_of_any_day(sandbox: RunningSandbox) -> None:
    seed = sandbox.set_mischief(**A_BIT_OF_ALL)["seed"]
    played = faults_of(sandbox, CODE_TO_SESSION, 60)
    assert len(set(played)) > 4
    assert None in played

    sandbox.set_mischief(**A_BIT_OF_ALL, seed=seed)
    assert faults_of(sandbox, CODE_TO_SESSION, 60) == played
    with running_sandbox([SHOP], mischief=mischief_of(A_BIT_OF_ALL | {"seed": seed})) as another:
        assert faults_of(another, CODE_TO_SESSION, 60) == played
    sandbox.set_mischief(**A_BIT_OF_ALL, seed=seed + 1)
    assert faults_of(sandbox, CODE_TO_SESSION, 60) != played


def test_the_sequence_is_the_same_on_every_machine() -> None:
    """A change here breaks the seeds that people have written down."""
    maker = MischiefMaker(mischief_of(A_BIT_OF_ALL | {"seed": 7}))
    assert [maker.fate_of(CODE_TO_SESSION).fault for _ in range(12)] == [
        "cut_before",
        None,
        None,
        "html_502",
        "busy",
        "cut_after",
        "html_502",
        None,
        "empty",
        None,
        None,
        "cut_after",
    ]


def test_another_interface_does_not_disturb_the_sequence(sandbox: RunningSandbox) -> None:
    sandbox.set_mischief(**A_BIT_OF_ALL, seed=7)
    alone = faults_of(sandbox, CODE_TO_SESSION, 30)
    sandbox.set_mischief(**A_BIT_OF_ALL, seed=7)
    mixed: list[str | None] = []
    others: list[str | None] = []
    for _ in range(30):
        others += faults_of(sandbox, STABLE_TOKEN, 1)
        mixed += faults_of(sandbox, CODE_TO_SESSION, 1)
    assert mixed == alone != others


def test_one_knob_does_not_disturb_another(sandbox: RunningSandbox) -> None:
    sandbox.set_mischief(busy_percent=30, seed=7)
    alone = faults_of(sandbox, CODE_TO_SESSION, 30)
    sandbox.set_mischief(busy_percent=30, empty_percent=30, seed=7)
    both = faults_of(sandbox, CODE_TO_SESSION, 30)
    assert [fault if fault == "busy" else None for fault in both] == alone
    assert "empty" in both


def test_calls_at_once_share_the_sequence_out(sandbox: RunningSandbox) -> None:
    sandbox.set_mischief(**A_BIT_OF_ALL, seed=7)
    one_by_one = faults_of(sandbox, CODE_TO_SESSION, 80)
    sandbox.set_mischief(**A_BIT_OF_ALL, seed=7)
    before = len(sandbox.calls())
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda _: faults_of(sandbox, CODE_TO_SESSION, 1), range(80)))
    at_once = [call["fault"] for call in sandbox.calls()[before:]]
    assert at_once == one_by_one


@pytest.mark.parametrize("knob", PERCENTAGES)
def test_a_percentage_is_one(knob: str) -> None:
    """Of 10,000 calls, or users; four standard deviations around it."""
    knobs = mischief_of({"seed": 11, "slow_ms": 5, "slow_percent": 0} | {knob: 20})
    maker = MischiefMaker(knobs)
    if knob == "blocked_percent":
        happened = sum(maker.blocks(f"user {n}") for n in range(10_000))
    else:
        fates = [dataclasses.replace(maker.fate_of("/"), detail=0) for _ in range(10_000)]
        happened = sum(fate != Fate(detail=0) for fate in fates)
    assert 1_840 <= happened <= 2_160


# --- Late, refused, different ---------------------------------------------------


def timed(sandbox: RunningSandbox, code: str) -> float:
    began = time.monotonic()
    assert exchange(sandbox, SHOP, code).errcode == 0
    return time.monotonic() - began


def test_slow_answers(sandbox: RunningSandbox) -> None:
    sandbox.set_mischief(slow_ms=60, slow_random_ms=60, seed=3)
    maker = MischiefMaker(Mischief(slow_ms=60, slow_random_ms=60, seed=3))
    planned = [maker.fate_of(CODE_TO_SESSION).delay_s for _ in range(8)]
    assert len(set(planned)) == 8
    assert all(0.06 <= delay <= 0.12 for delay in planned)
    for delay in planned:
        assert timed(sandbox, sandbox.mint(SHOP.app_id, "alice")) >= delay

    sandbox.set_mischief(slow_ms=60_000, slow_percent=0)
    assert timed(sandbox, sandbox.mint(SHOP.app_id, "alice")) < 10


def test_slow_may_be_a_part_of_the_calls() -> None:
    maker = MischiefMaker(Mischief(slow_ms=1, slow_percent=50, seed=1))
    assert {maker.fate_of("/").delay_s for _ in range(50)} == {0, 0.001}


def test_slow_by_its_short_path_leaves_the_other_knobs(sandbox: RunningSandbox) -> None:
    sandbox.set_mischief(busy_percent=100, slow_percent=0, seed=5)
    sandbox.slow(1)
    knobs = requests.get(sandbox.base_url + "/_control/mischief", timeout=10).json()
    assert knobs == sandbox.set_mischief(busy_percent=100, slow_ms=1, seed=5)


def test_a_minute_quota_of_ones_own(sandbox: RunningSandbox) -> None:
    sandbox.set_mischief(minute_quota=0)
    code = sandbox.mint(SHOP.app_id, "hurried")
    assert exchange(sandbox, SHOP, code).errcode == 45011
    sandbox.set_mischief()
    assert exchange(sandbox, SHOP, code).errcode == 0


def test_blocked_users_stay_blocked(sandbox: RunningSandbox) -> None:
    def refused() -> list[int]:
        return [
            exchange(sandbox, SHOP, sandbox.mint(SHOP.app_id, f"user {n}")).errcode
            for n in range(40)
        ]

    sandbox.set_mischief(blocked_percent=50, seed=1)
    first = refused()
    assert set(first) == {0, 40226}
    assert refused() == first
    sandbox.set_mischief(blocked_percent=50, seed=2)
    assert refused() != first
    sandbox.set_mischief(blocked_percent=100)
    assert set(refused()) == {40226}


def test_tokens_are_revoked_under_the_hands_of_their_users(sandbox: RunningSandbox) -> None:
    token = token_of(sandbox, SHOP)
    sandbox.set_mischief(revoked_token_percent=100)
    assert token_of(sandbox, SHOP) == token  # to get one is not to use it
    query: dict[str, str | None] = {"access_token": token}
    assert ask(sandbox, PHONE, query, {}).errcode == 40001
    sandbox.set_mischief()
    assert ask(sandbox, PHONE, query, {}).errcode == 40001
    assert token_of(sandbox, SHOP) != token


def test_the_old_style_of_errors(sandbox: RunningSandbox) -> None:
    sandbox.set_mischief(legacy_errmsg_percent=100)
    old = rb'\{"errcode":%d,"errmsg":"%b, hints: \[ req_id: [A-Za-z0-9_-]{12} \]"\}'
    login = exchange(sandbox, SHOP, "0unknown").body
    assert re.fullmatch(old % (40029, b"invalid code"), login)
    token = ask(sandbox, STABLE_TOKEN, body={}).body
    assert re.fullmatch(old % (41002, b"appid missing"), token)


def test_a_success_that_says_so(sandbox: RunningSandbox) -> None:
    sandbox.set_mischief(errcode_0_percent=100)
    user = log_in_with_errcode(sandbox)
    assert list(user) == ["session_key", "openid", "unionid", "errcode", "errmsg"]
    assert (user["errcode"], user["errmsg"]) == (0, "ok")
    assert list(stable_token(sandbox, SHOP))[-2:] == ["errcode", "errmsg"]
    code = sandbox.phone_code(SHOP.app_id, "alice")
    reply = ask(sandbox, PHONE, {"access_token": token_of(sandbox, SHOP)}, {"code": code})
    assert reply.body.count(b'"errcode"') == 1


def log_in_with_errcode(sandbox: RunningSandbox) -> dict[str, object]:
    return exchange(sandbox, BANK, sandbox.mint(BANK.app_id, "alice")).json()


# --- What happens next ------------------------------------------------------------


def test_the_next_calls_can_be_told_one_by_one(sandbox: RunningSandbox) -> None:
    codes = [sandbox.mint(SHOP.app_id, "alice") for _ in range(4)]
    sandbox.next_calls(CODE_TO_SESSION, fault="cut_after", times=2)
    token_of(sandbox, SHOP)  # another interface
    assert [what_comes(sandbox, code) for code in codes[:3]] == ["cut", "cut", "ok"]
    assert exchange(sandbox, SHOP, codes[0]).errcode == 40163
    assert exchange(sandbox, SHOP, codes[3]).errcode == 0


def test_the_next_calls_can_answer_any_errcode(sandbox: RunningSandbox) -> None:
    code = sandbox.mint(SHOP.app_id, "alice")
    for errcode, errmsg in ((48001, "api unauthorized"), (-1000, "an error of the sandbox")):
        sandbox.next_calls(CODE_TO_SESSION, errcode=errcode)
        reply: Reply = exchange(sandbox, SHOP, code)
        assert reply.errcode == errcode
        assert reply.json()["errmsg"].startswith(errmsg + ", rid: ")
        told = sandbox.calls()[-1]
        assert (told["errcode"], told["fault"], told["user"]) == (errcode, "errcode", "alice")
    assert exchange(sandbox, SHOP, code).errcode == 0


def test_what_was_ordered_can_be_taken_back_and_delays_the_sequence_only(
    sandbox: RunningSandbox,
) -> None:
    sandbox.set_mischief(**A_BIT_OF_ALL, seed=7)
    alone = faults_of(sandbox, CODE_TO_SESSION, 20)
    sandbox.set_mischief(**A_BIT_OF_ALL, seed=7)
    sandbox.next_calls(CODE_TO_SESSION, fault="empty", times=3)
    assert faults_of(sandbox, CODE_TO_SESSION, 23) == ["empty"] * 3 + alone
    sandbox.next_calls(CODE_TO_SESSION, fault="empty", times=1_000)
    sandbox.next_calls(CODE_TO_SESSION, fault="empty", times=0)
    sandbox.set_mischief()
    log_in(sandbox, SHOP, "alice")


def test_what_was_ordered_is_taken_back_without_saying_what_it_was(
    sandbox: RunningSandbox,
) -> None:
    orders: list[dict[str, object]] = [{"fault": "cut_before"}, {"errcode": 48001}]
    for ordered in orders:
        sandbox.next_calls(CODE_TO_SESSION, **ordered, times=3)
        body = {"path": CODE_TO_SESSION, "times": 0}
        answer = requests.post(sandbox.base_url + "/_control/next", json=body, timeout=10)
        assert (answer.status_code, answer.json()) == (200, {"times": 0})
        assert "openid" in log_in(sandbox, SHOP, "alice")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"path": "/sns"}, "path: must be one of /sns/jscode2session, "),
        ({"path": CHECK}, "fault or errcode: one of them is needed, a fault of cut_before, busy, "),
        ({"path": CHECK, "fault": "slow", "times": 0}, "fault: must be one of "),
        (
            {"path": CHECK, "time": 0},
            "body: has a field besides path, fault, errcode, times: 'time'",
        ),
        ({"path": CHECK, "fault": "slow"}, "fault: must be one of "),
        ({"path": CHECK, "errcode": 0}, "errcode: must not be 0, which is success"),
        ({"path": CHECK, "errcode": "-1"}, "errcode: must be a whole number"),
        ({"path": CHECK, "fault": "busy", "errcode": -1}, "errcode: not together with fault"),
        ({"path": CHECK, "fault": "busy", "times": -1}, "times: must be a whole number from 0"),
    ],
)
def test_an_order_that_is_wrong_is_explained(
    sandbox: RunningSandbox, body: dict[str, object], error: str
) -> None:
    answer = requests.post(sandbox.base_url + "/_control/next", json=body, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(error)


# --- Knobs that there are not, and the seed in the log ------------------------------


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        ({"bussy_percent": 5}, "bussy_percent: no such knob; there are seed, cut_before_percent,"),
        ({"busy_percent": 101}, "busy_percent: must be a percentage, a number from 0 to 100"),
        ({"busy_percent": -0.1}, "busy_percent: must be a percentage"),
        ({"busy_percent": float("nan")}, "busy_percent: must be a percentage"),
        ({"busy_percent": True}, "busy_percent: must be a percentage"),
        ({"busy_percent": "5"}, "busy_percent: must be a percentage"),
        ({"busy_percent": None}, "busy_percent: must be a percentage"),
        ({"slow_ms": 600_001}, "slow_ms: must be a whole number from 0 to 600000"),
        ({"slow_random_ms": 0.5}, "slow_random_ms: must be a whole number from 0 to 600000"),
        ({"minute_quota": -1}, "minute_quota: must be a whole number from 0 to 1000000"),
        ({"seed": -1}, "seed: must be a whole number from 0 to 9223372036854775807"),
        ({"seed": "x"}, "seed: must be a whole number"),
    ],
)
def test_a_wrong_knob_is_named(
    sandbox: RunningSandbox, knobs: dict[str, object], told: str
) -> None:
    with pytest.raises(MischiefRefused, match="^" + re.escape(told)):
        mischief_of(knobs)
    body = json.dumps(knobs)  # NaN too, as Python writes it
    answer = requests.post(sandbox.base_url + "/_control/mischief", data=body, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(told)


def test_a_refused_set_of_knobs_turns_none(sandbox: RunningSandbox) -> None:
    before = sandbox.set_mischief(busy_percent=100, seed=5)
    body = {"busy_percent": 0, "empty_percent": 101}
    requests.post(sandbox.base_url + "/_control/mischief", json=body, timeout=10)
    assert requests.get(sandbox.base_url + "/_control/mischief", timeout=10).json() == before


def test_mischief_made_in_python_is_checked_too() -> None:
    with pytest.raises(MischiefRefused, match="busy_percent"):
        Mischief(busy_percent=101)
    assert Mischief().changed() == {}
    assert Mischief(busy_percent=1, seed=4).changed() == {"busy_percent": 1}


def test_the_seed_is_logged_when_there_is_mischief(caplog: pytest.LogCaptureFixture) -> None:
    def told() -> list[str]:
        logged = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return [message for message in logged if message.startswith("mischief")]

    caplog.set_level(logging.INFO, "wechat_sandbox")
    with running_sandbox([SHOP], mischief=Mischief(busy_percent=5, seed=42)) as sandbox:
        exchange(sandbox, SHOP, "x")
        assert told() == ["mischief is on: seed=42, busy_percent=5"]
        seed = sandbox.set_mischief(busy_percent=5, slow_ms=1)["seed"]
        assert told() == [f"mischief is on: seed={seed}, busy_percent=5, slow_ms=1"]
        sandbox.set_mischief()
        assert told() == []
    seeds = {MischiefMaker(Mischief()).seed for _ in range(5)}
    assert len(seeds) == 5
    with running_sandbox([SHOP]) as sandbox:
        sandbox.mint(SHOP.app_id, "alice")
        assert told() == []
