"""HttpSource while its service hangs, lies about lengths, goes away and comes back."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable

import pytest

from tests.scripted_business import (
    ACCOUNT,
    NO,
    PASSWORD,
    USERNAME,
    YES,
    Alarm,
    alarms,
    business,
    heard,
    refusal_of,
    request_from,
    saying,
    silent,
)
from tests.scripted_wechat import (
    Conversation,
    HandClock,
    Script,
    http,
)
from wxauth_server.accounts.http_source import HttpSource
from wxauth_server.deadline import Deadline
from wxauth_server.errors import AccountSourceUnavailable, Overloaded
from wxauth_server.pools import BoundedPool

__all__ = ["heard"]

pytestmark = pytest.mark.usefixtures("heard")


def unavailable(ask: Callable[[], object]) -> AccountSourceUnavailable:
    refused = refusal_of(ask)
    assert isinstance(refused, AccountSourceUnavailable)
    return refused


# --- Answers that do not end as they should -----------------------------------

BROKEN = {
    "closes without a word": b"",
    "cut in the status": b"HTTP/1.1 2",
    "cut before the body": http(YES)[: -len(YES)],
    "cut in the body": http(YES)[:-10],
    "cut after what matters": http(YES + b" ")[:-1],
    "cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n" + YES,
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n" + YES,
    "header too long": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_answer_is_none_and_not_asked_for_again(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with business(saying(BROKEN[name])) as asked:
        unavailable(asked.verify)
    assert asked.server.connections == 1
    assert [(alarm.level, alarm.kind) for alarm in alarms(caplog)] == [("ERROR", "no_answer")]


def test_ten_megabytes_are_not_read(caplog: pytest.LogCaptureFixture) -> None:
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        request_from(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        while sent < 10_000_000:
            sent += connection.send(b" " * 65_536)

    with business(flood) as asked:
        unavailable(asked.verify)
    assert sent < 10_000_000
    assert [alarm.kind for alarm in alarms(caplog)] == ["too_large"]


# --- Time -----------------------------------------------------------------------


def dripping(head: bytes, drop: bytes) -> Conversation:
    def converse(connection: socket.socket) -> None:
        request_from(connection)
        connection.sendall(head)
        never = threading.Event()
        while not never.wait(0.02):  # the pace of the drip
            connection.sendall(drop)

    return converse


STALLS: dict[str, Conversation] = {
    "hangs": silent,
    "drips headers": dripping(b"HTTP/1.1 200 OK\r\n", b"X"),
    "says continue for ever": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "drips the body": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{", b" "),
}


@pytest.mark.parametrize("name", STALLS)
def test_the_whole_answer_has_one_time_limit(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with business(STALLS[name], timeout_s=0.15) as asked:
        began = time.monotonic()
        unavailable(asked.verify)
        took_s = time.monotonic() - began
    assert 0.14 < took_s < 1.0  # room for a busy machine
    assert asked.server.connections == 1
    [alarm] = alarms(caplog)
    assert (alarm.level, alarm.kind) == ("ERROR", "timed_out")


@pytest.mark.parametrize("name", STALLS)
def test_the_callers_deadline_ends_it_sooner(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with business(STALLS[name]) as asked:
        began = time.monotonic()
        unavailable(lambda: asked.verify(deadline_s=0.1))
        assert time.monotonic() - began < 1.0
    assert [alarm.level for alarm in alarms(caplog)] == ["WARNING"]


def test_without_time_nobody_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    with business(silent) as asked:
        unavailable(lambda: asked.verify(deadline_s=0.01))
    assert asked.server.connections == 0
    assert alarms(caplog) == []


def test_a_resolver_that_hangs_does_not_hold_the_caller(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers = threading.Event()
    resolve = socket.getaddrinfo

    def slow(host: str, *args: object, **kwargs: object) -> object:
        if host == "accounts.invalid":
            assert answers.wait(10)
            raise socket.gaierror(-2, "Name or service not known")
        return resolve(host, *args, **kwargs)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with business(silent, url="https://accounts.invalid", timeout_s=0.1) as asked:
        began = time.monotonic()
        unavailable(asked.verify)
        assert time.monotonic() - began < 1.0
        assert [alarm.kind for alarm in alarms(caplog)] == ["timed_out"]
        answers.set()


# --- Requests that were not sent ------------------------------------------------


@pytest.fixture
def free_address() -> tuple[str, int]:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address: tuple[str, int] = listener.getsockname()
    return address


def test_a_request_that_was_not_sent_is_sent_once_more(
    free_address: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The service comes up in the pause between the two."""
    script = Script(verify=YES)
    threads: list[threading.Thread] = []

    def serve(listener: socket.socket) -> None:
        with listener:
            connection, _ = listener.accept()
            with connection:
                script(connection)

    def begin_to_listen(_: float) -> None:
        threads.append(threading.Thread(target=serve, args=[socket.create_server(free_address)]))
        threads[-1].start()

    monkeypatch.setattr("wxauth_server.accounts.http_source_calls.time.sleep", begin_to_listen)
    with business(silent, url=f"http://127.0.0.1:{free_address[1]}") as asked:
        assert asked.verify() == ACCOUNT
    [thread] = threads
    thread.join()
    assert len(script.asked) == 1
    assert alarms(caplog) == []


def test_and_no_more_than_once_more(
    free_address: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("wxauth_server.accounts.http_source_calls.time.sleep", pauses.append)
    with business(silent, url=f"http://127.0.0.1:{free_address[1]}") as asked:
        unavailable(asked.verify)
    assert len(pauses) == 1
    assert alarms(caplog) == [Alarm("ERROR", "/verify", "cannot_connect", "NewConnectionError")]


# --- The circuit breaker ----------------------------------------------------------


def test_five_failures_open_the_circuit_and_an_answer_closes_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, healthy = HandClock(), threading.Event()

    def converse(connection: socket.socket) -> None:
        while request_from(connection) and healthy.is_set():
            connection.sendall(http(NO))

    with business(converse, monotonic=clock) as asked:
        for _ in range(5):
            assert unavailable(asked.get).retry_after_s == 1.0
        assert asked.server.connections == 5
        assert [alarm.kind for alarm in alarms(caplog)] == [
            *["no_answer"] * 4,
            "circuit_open",
            "no_answer",
        ]
        clock.now += 3
        assert unavailable(asked.get).retry_after_s == 2.0
        assert asked.server.connections == 5
        assert len(alarms(caplog)) == 6, "who is not asked for is no alarm each"
        clock.now += 2
        healthy.set()
        assert asked.get() is None
        assert asked.get() is None


def test_a_call_that_fails_leaves_the_others_their_circuits() -> None:
    with business(Script(verify=YES, get=b"", deleted=b"")) as asked:
        for _ in range(8):
            unavailable(asked.get)
            unavailable(asked.tell_deleted)
            assert asked.verify() == ACCOUNT


def test_a_proxy_without_a_service_opens_the_circuit() -> None:
    script = Script(verify=http(b"<html>", "502 Bad Gateway"))
    with business(script, monotonic=HandClock()) as asked:
        for _ in range(8):
            unavailable(asked.verify)
    assert len(script.asked) == 5


@pytest.mark.parametrize("answer", [http(b"<html>", "500 Oops"), b"<html>", b'{"account":{}}'])
def test_what_a_username_can_provoke_does_not_open_it(answer: bytes) -> None:
    """Or whoever finds one that the service chokes on shuts everybody out."""
    script = Script(verify=[*[answer] * 8, YES])
    with business(script, monotonic=HandClock()) as asked:
        for _ in range(8):
            unavailable(asked.verify)
        assert asked.verify() == ACCOUNT


def test_impatient_callers_do_not_open_it() -> None:
    with business(silent) as asked:
        for _ in range(6):
            unavailable(lambda: asked.verify(deadline_s=0.03))
    assert asked.server.connections == 6


def is_full(source: HttpSource) -> bool:
    """A call, since to a type checker a property stays what it was."""
    return source.full


# --- Nobody else waits --------------------------------------------------------------


def test_a_hundred_calls_of_a_service_that_hangs_hold_up_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Sixteen wait in threads of their own, the others are refused at once."""
    asked_for = threading.Semaphore(0)
    goes_on = threading.Event()

    def hang(connection: socket.socket) -> None:
        while head := request_from(connection):
            assert b"/verify" in head
            asked_for.release()
            assert goes_on.wait(10)
            connection.sendall(http(YES))

    with business(hang, timeout_s=5) as asked:

        async def scenario() -> None:
            source = asked.source
            others = BoundedPool("others", threads=1, capacity=1)
            calls = [
                asyncio.create_task(source.verify(USERNAME, PASSWORD, Deadline(5)))
                for _ in range(100)
            ]
            for _ in range(16):
                assert await asyncio.to_thread(asked_for.acquire, timeout=10)
            refused, waiting = await asyncio.wait(calls, timeout=0)
            assert (len(refused), len(waiting)) == (84, 16)
            assert {type(call.exception()) for call in refused} == {Overloaded}
            assert is_full(source)
            # The loop turns, and the pools of others have their threads.
            assert await others.run(int) == 0
            with pytest.raises(Overloaded):  # who shared the pool would not get in
                await source.get("10001", Deadline(5))
            assert not any(call.done() for call in waiting)
            goes_on.set()
            verified = await asyncio.gather(*waiting)
            assert [one.account for one in verified] == [ACCOUNT] * 16
            assert not is_full(source)
            await others.close()

        asyncio.run(scenario())
    assert alarms(caplog) == []


def test_a_caller_who_goes_away_does_not_free_the_place_before_the_call_ends() -> None:
    asked_for, goes_on = threading.Event(), threading.Event()

    def hang(connection: socket.socket) -> None:
        request_from(connection)
        asked_for.set()
        assert goes_on.wait(10)
        connection.sendall(http(YES))

    with business(hang, connections=1, timeout_s=5) as asked:

        async def scenario() -> None:
            source = asked.source
            call = asyncio.create_task(source.verify(USERNAME, PASSWORD, Deadline(5)))
            assert await asyncio.to_thread(asked_for.wait, 10)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            with pytest.raises(Overloaded):
                await source.verify(USERNAME, PASSWORD, Deadline(5))
            goes_on.set()

        asyncio.run(scenario())


def test_connections_are_kept() -> None:
    with business(Script(verify=YES)) as asked:
        for _ in range(3):
            asked.verify()
    assert asked.server.connections == 1
