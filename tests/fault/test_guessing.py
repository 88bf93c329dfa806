"""The limit of guesses holds however many come at once (reliability.md rows 18 and 19, F19).

Promised: with a limit of 10, of 200 wrong passwords at once at most 10 are looked
at, also when they come to two servers of one store; and 20 right ones at once of
one account all log in. The control checks, verifies, and then counts, as systems
do that have been broken this way (Zitadel GHSA-7h8m-vrxx-vr4m): all are looked at.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.canary import CANARY
from tests.running_server import FakeClock, RunningServer, refused, running_server
from tests.sandbox_server import RunningSandbox
from wxauth.v1.auth_service_pb2 import LoginRequest
from wxauth_client import AuthClient, Throttled, WxauthError
from wxauth_server.accounts import passwords
from wxauth_server.accounts.throttle import Guess, MustWait, ThrottleLimits
from wxauth_server.auth import verify_credentials
from wxauth_server.pools import BoundedPool, Pools
from wxauth_server.store.interface import Transaction
from wxauth_server.store.throttles import find_throttle, reserve_attempt
from wxauth_server.wechat.client import WeChatClient, WeChatUser

pytestmark = pytest.mark.alone

NAME, RIGHT, WRONG = "zhangsan", "correct horse battery", "wrong horse battery"
LIMIT = 10
GUESSES = 200
#: 4 ms and more: many attempts are under way at a time.
COST = 6

#: A store, and whether two servers share it.
WAYS = pytest.mark.parametrize(
    ("store_url", "several"),
    [("sqlite", False), ("sqlite", True), ("postgresql", True)],
    indirect=["store_url"],
    ids=["one server", "two servers", "two servers of a PostgreSQL"],
)

_numbers = itertools.count(1)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queues that take them all, and a WeChat that lets one user ask so often."""
    create = Pools.create

    def roomy(*, writers: int) -> Pools:
        return dataclasses.replace(
            create(writers=writers),
            wechat=BoundedPool("wechat", threads=64, capacity=1000),
            passwords=BoundedPool("passwords", threads=2, capacity=1000, nice=10),
            writer=BoundedPool("writer", threads=writers, capacity=1000),
        )

    def one_user(*_: object) -> WeChatUser:
        return WeChatUser(
            "oTheOneWhoGuesses", session_key="c2Vzc2lvbl9rZXkgb2YgMTYgYg==", unionid=""
        )

    monkeypatch.setattr(Pools, "create", roomy)
    monkeypatch.setattr(WeChatClient, "code_to_session", one_user)


@pytest.fixture
def servers(
    room: None,
    store_url: str,
    tmp_path: Path,
    sandbox: RunningSandbox,
    server_loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[RunningServer, RunningServer]]:
    """Two servers of one store, which count attempts together or not at all.

    Their clock stands still: no wait is ever over.
    """
    if store_url:
        monkeypatch.setenv("WXAUTH_STORE__URL", store_url)
    clock = FakeClock()
    with ExitStack() as running:
        pair = tuple(
            running.enter_context(
                running_server(
                    tmp_path / "data",
                    sandbox,
                    server_loop,
                    clock=clock,
                    passwords={"bcrypt_cost": COST},
                    throttle={"failures_before_wait": LIMIT, "user_failures_before_wait": 1000},
                )
            )
            for _ in range(2)
        )
        pair[0].add_account(NAME, RIGHT)
        yield pair[0], pair[1]


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each password that was looked at."""
    looks: list[str] = []
    verify = passwords.PasswordHasher.verify

    def counted(
        self: passwords.PasswordHasher, stored: str | None, password: str, *, allowed: bool = True
    ) -> bool:
        looks.append(password)
        return verify(self, stored, password, allowed=allowed)

    monkeypatch.setattr(passwords.PasswordHasher, "verify", counted)
    return looks


def all_at_once(logins: int, log_in: Callable[[int], str]) -> Counter[str]:
    """What came of so many logins."""
    start = threading.Barrier(logins)

    def together(number: int) -> str:
        start.wait(30)
        return log_in(number)

    with ThreadPoolExecutor(logins) as threads:
        return Counter(threads.map(together, range(logins)))


def wrong_ones(servers: Sequence[RunningServer]) -> Counter[str]:
    """Each is tried once, whatever the server says."""

    def guess(number: int) -> str:
        server = servers[number % len(servers)]
        request = LoginRequest(code=f"code{next(_numbers)}", username=NAME, password=WRONG)
        return refused(lambda: server.stub.Login(request, timeout=30)).reason

    return all_at_once(GUESSES, guess)


def right_ones(servers: Sequence[RunningServer]) -> Counter[str]:
    """By a client that waits as long as RetryInfo says."""
    with ExitStack() as open_clients:
        clients = [open_clients.enter_context(AuthClient(each.address)) for each in servers]

        def log_in(number: int) -> str:
            client, code = clients[number % len(clients)], f"code{next(_numbers)}"
            try:
                answer = client.login(
                    code,
                    username=NAME,
                    password=RIGHT,
                    request_id=servers[0].new_request_id(),
                )
            except WxauthError as error:
                return error.reason
            CANARY.keep(answer.session_id)
            return "OK"

        return all_at_once(20, log_in)


@WAYS
def test_of_200_wrong_ones_at_once_at_most_10_are_looked_at(
    servers: tuple[RunningServer, RunningServer], looked_at: list[str], *, several: bool
) -> None:
    outcomes = wrong_ones(servers if several else servers[:1])
    print(f"{GUESSES} wrong ones at once: {len(looked_at)} looked at; {dict(outcomes)}")
    assert outcomes == {"CREDENTIALS_INVALID": LIMIT, Throttled.reason: GUESSES - LIMIT}
    assert len(looked_at) == LIMIT


@WAYS
def test_20_right_ones_at_once_all_log_in(
    servers: tuple[RunningServer, RunningServer], *, several: bool
) -> None:
    for _ in range(3):
        outcomes = right_ones(servers if several else servers[:1])
        assert outcomes == {"OK": 20}
    [(held,)] = servers[0].rows("SELECT COUNT(*) FROM throttles WHERE failures > 0")
    assert held == 0


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_control_a_lockout_that_counts_afterwards_is_run_over(
    servers: tuple[RunningServer, RunningServer],
    looked_at: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify_credentials, "reserve", _check_only)
    outcomes = wrong_ones(servers[:1])
    print(f"checked, verified, then counted: {len(looked_at)} looked at; {dict(outcomes)}")
    assert len(looked_at) > LIMIT


def _check_only(tx: Transaction, guess: Guess, limits: ThrottleLimits, *, now_ms: int) -> bool:
    """The limit as it is written first: nobody knows of the attempts under way."""
    row = find_throttle(tx, guess.of_both)
    if row is not None and row.failures >= limits.failures_before_wait:
        raise MustWait(1000)
    for key in guess:
        if find_throttle(tx, key) is None:
            reserve_attempt(tx, key, forget_ms=10**12, lapse_ms=10**12, now_ms=now_ms)
    return False
