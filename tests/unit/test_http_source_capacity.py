"""HttpSource and a service in trouble: the circuit opens, and nobody else waits."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading

import pytest

from tests.scripted_business import (
    ACCOUNT,
    NO,
    PASSWORD,
    USERNAME,
    YES,
    alarms,
    business,
    request_from,
    silent,
    unavailable,
)
from tests.scripted_wechat import (
    HandClock,
    Script,
    http,
)
from wxauth_server.accounts.sources.http_source import HttpSource
from wxauth_server.deadline import Deadline
from wxauth_server.errors import Overloaded
from wxauth_server.pools import BoundedPool


@pytest.fixture(autouse=True)
def everything_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    """Libraries say most at DEBUG, and the canary listens."""
    caplog.set_level(logging.DEBUG)


# --- The circuit breaker ---------------------------------------------------


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


# --- Nobody else waits -----------------------------------------------------


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
