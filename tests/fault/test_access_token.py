"""Many threads need an access_token at the same moment: WeChat is asked once.

Promised: of 100 threads that need a token when there is none, or none that is
good any more, one renewal serves all; they share its token or its error, and
none of them makes an attempt of its own after it failed. In the last five
minutes, when the old token is still good, nobody waits. Proved over real sockets
with a WeChat that holds its answer back until all of them are waiting; the
control is a cache without the sharing.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.scripted_wechat import Asked, HandClock, Script, serving
from wxauth_server.deadline import Deadline
from wxauth_server.errors import AuthError, WeChatMisconfigured, WeChatUnavailable
from wxauth_server.wechat import access_token
from wxauth_server.wechat.access_token import AccessTokens
from wxauth_server.wechat.client import WeChatClient

pytestmark = pytest.mark.alone

APP, SECRET = "wx1111111111111111", "secret"
THREADS = 100
#: For a machine that is busy with other things: nothing here takes a tenth of it.
PATIENCE_S = 20.0

OK = b'{"errcode":0,"errmsg":"ok"}'


def granting(token: str) -> bytes:
    return json.dumps({"access_token": token, "expires_in": 7200}).encode()


class Gate:
    """Holds answers back until it is opened."""

    def __init__(self, answer: Callable[[Asked], bytes]) -> None:
        self._answer = answer
        self._open = threading.Event()

    def __call__(self, asked: Asked) -> bytes:
        assert self._open.wait(PATIENCE_S)
        return self._answer(asked)

    def open(self) -> None:
        self._open.set()


class Crowd:
    """So many threads that make the same call at once; keeps what came of each."""

    def __init__(self, call: Callable[[], None], threads: int = THREADS) -> None:
        self._call = call
        self._barrier = threading.Barrier(threads)
        self.errors: list[AuthError | None] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        self._barrier.wait(PATIENCE_S)
        try:
            self._call()
        except AuthError as error:
            self.errors.append(error)
        else:
            self.errors.append(None)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert len(self.errors) == len(self._threads)


class Waiting:
    """Counts the threads that wait for a renewal, so that a test lets go when all do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._count = 0
        self._changed = threading.Condition()
        wait = access_token._Renewal.wait

        def counted(renewal: access_token._Renewal, deadline: Deadline) -> str:
            with self._changed:
                self._count += 1
                self._changed.notify_all()
            return wait(renewal, deadline)

        monkeypatch.setattr(access_token._Renewal, "wait", counted)

    def for_all(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._count >= THREADS, PATIENCE_S)
            self._count = 0


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    # The crowd takes longer to gather on a busy machine than a user would wait.
    monkeypatch.setattr(access_token, "TOTAL_S", PATIENCE_S)
    monkeypatch.setattr("wxauth_server.wechat.client.TOTAL_S", PATIENCE_S)
    monkeypatch.setattr("wxauth_server.wechat.endpoint.TOTAL_S", PATIENCE_S)
    return Waiting(monkeypatch)


@contextmanager
def wechat(script: Script, clock: HandClock) -> Iterator[WeChatClient]:
    with serving(script) as server:
        client = WeChatClient(
            server.base_url, read_timeout_s=PATIENCE_S, connections=THREADS, monotonic=clock
        )
        try:
            yield client
        finally:
            client.close()


def check(client: WeChatClient) -> None:
    client.check_session_key(APP, SECRET, "o1", "key", Deadline(PATIENCE_S))


def test_at_its_expiry_one_renewal_serves_a_hundred_threads(waiting: Waiting) -> None:
    clock = HandClock()
    gate = Gate(lambda _asked: granting("second"))
    script = Script(stable_token=[granting("first"), gate], checksession=OK)
    with wechat(script, clock) as client:
        check(client)
        clock.now += 7200
        crowd = Crowd(lambda: check(client))
        waiting.for_all()
        gate.open()
        crowd.join()
    assert crowd.errors == [None] * THREADS
    assert len(script.calls("stable_token")) == 2
    tokens = [asked.query["access_token"] for asked in script.calls("checksession")]
    assert tokens == ["first"] + ["second"] * THREADS


def test_in_its_last_five_minutes_one_renewal_and_nobody_waits() -> None:
    clock = HandClock()
    gate = Gate(lambda _asked: granting("second"))
    script = Script(stable_token=[granting("first"), gate], checksession=OK)
    with wechat(script, clock) as client:
        check(client)
        clock.now += 6900
        crowd = Crowd(lambda: check(client))
        crowd.join()  # with the gate still shut
        gate.open()
        assert crowd.errors == [None] * THREADS
        assert len(script.calls("stable_token")) <= 2
    tokens = [asked.query["access_token"] for asked in script.calls("checksession")]
    assert tokens == ["first"] * (1 + THREADS)


@pytest.mark.parametrize(
    ("said", "error"),
    [(b'{"errcode":40125}', WeChatMisconfigured), (b"<html>", WeChatUnavailable)],
)
def test_an_error_is_shared_and_not_sought_again_by_each(
    said: bytes, error: type[AuthError], waiting: Waiting
) -> None:
    gate = Gate(lambda _asked: said)
    script = Script(stable_token=gate, checksession=OK)
    with wechat(script, HandClock()) as client:
        crowd = Crowd(lambda: check(client))
        waiting.for_all()
        gate.open()
        crowd.join()
    assert {type(raised) for raised in crowd.errors} == {error}
    assert len({id(raised) for raised in crowd.errors}) == THREADS, "one traceback for many threads"
    assert len(script.calls("stable_token")) == 1
    assert script.calls("checksession") == []


def test_a_refused_token_is_replaced_once_for_all_who_had_it(waiting: Waiting) -> None:
    """Normal mode gives the refused one again, so it takes the two requests of a forced renewal."""

    def renew(asked: Asked) -> bytes:
        return granting("second" if json.loads(asked.body)["force_refresh"] else "first")

    def use(asked: Asked) -> bytes:
        return OK if asked.query["access_token"] == "second" else b'{"errcode":40001}'

    gate = Gate(renew)
    script = Script(stable_token=[granting("first"), gate], checksession=[OK, use])
    with wechat(script, HandClock()) as client:
        check(client)
        crowd = Crowd(lambda: check(client))
        waiting.for_all()
        gate.open()
        crowd.join()
    assert crowd.errors == [None] * THREADS
    forced = [json.loads(asked.body)["force_refresh"] for asked in script.calls("stable_token")]
    assert forced == [False, False, True]
    uses = [asked.query["access_token"] for asked in script.calls("checksession")]
    assert uses.count("second") == THREADS
    # Who comes late learns that the first one is refused without using it.
    assert 2 <= uses.count("first") <= 1 + THREADS


def test_a_wechat_that_refuses_everything_is_not_asked_in_a_loop(waiting: Waiting) -> None:
    """A hundred callers: two uses each at most, and one forced renewal for all."""
    numbers = iter(range(10_000))

    def renew(asked: Asked) -> bytes:
        force = json.loads(asked.body)["force_refresh"]
        return granting(f"forced{next(numbers)}" if force else "first")

    script = Script(stable_token=renew, checksession=b'{"errcode":40001}')
    with wechat(script, HandClock()) as client:
        crowd = Crowd(lambda: check(client))
        crowd.join()
    assert {type(raised) for raised in crowd.errors} == {WeChatUnavailable}
    asked = script.calls("stable_token")
    assert sum(json.loads(request.body)["force_refresh"] for request in asked) == 1
    assert len(script.calls("checksession")) <= 2 * THREADS
    print(f"{len(asked)} requests for a token, {len(script.calls('checksession'))} uses")
    # Each caller waits for at most two renewals of two requests, and most share theirs.
    assert len(asked) <= 4 * THREADS


# --- The control --------------------------------------------------------------


class NaiveTokens:
    """A cache as one writes it first: look, ask, keep. No one waits for another."""

    def __init__(self, url: str, clock: HandClock) -> None:
        self._url = url
        self._clock = clock
        self._token = ""
        self._expires_at = 0.0

    def look_up(self) -> None:
        if not self._token or self._clock() >= self._expires_at:
            answer = requests.post(self._url, json={"appid": APP}, timeout=PATIENCE_S).json()
            self._token = answer["access_token"]
            self._expires_at = self._clock() + answer["expires_in"]


def test_control_a_naive_cache_asks_a_hundred_times() -> None:
    gate = Gate(lambda _asked: granting("token"))
    script = Script(stable_token=gate)
    with serving(script) as server:
        tokens = NaiveTokens(server.base_url + "/cgi-bin/stable_token", HandClock())
        crowd = Crowd(tokens.look_up)
        end = time.monotonic() + PATIENCE_S
        while len(script.calls("stable_token")) < THREADS and time.monotonic() < end:
            threading.Event().wait(0.01)
        gate.open()
        crowd.join()
    print(f"a naive cache asked {len(script.calls('stable_token'))} times")
    assert len(script.calls("stable_token")) > THREADS / 2


def test_the_crowd_is_served_by_what_the_client_uses() -> None:
    """The patches above are of the parts that serve: else these tests would test nothing."""
    with wechat(Script(stable_token=granting("t"), checksession=OK), HandClock()) as client:
        assert type(client._tokens) is AccessTokens
