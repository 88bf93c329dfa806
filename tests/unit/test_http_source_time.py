"""HttpSource while its service hangs, drips or cannot be reached."""

from __future__ import annotations

import logging
import socket
import threading
import time

import pytest

from tests.scripted_business import (
    ACCOUNT,
    YES,
    Alarm,
    alarms,
    business,
    request_from,
    silent,
    unavailable,
)
from tests.scripted_wechat import (
    Conversation,
    Script,
)


@pytest.fixture(autouse=True)
def everything_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    """Libraries say most at DEBUG, and the canary listens."""
    caplog.set_level(logging.DEBUG)


# --- Time ------------------------------------------------------------------


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


# --- Requests that were not sent -------------------------------------------


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

    monkeypatch.setattr(
        "wxauth_server.accounts.sources.http_source_calls.time.sleep", begin_to_listen
    )
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
    monkeypatch.setattr(
        "wxauth_server.accounts.sources.http_source_calls.time.sleep", pauses.append
    )
    with business(silent, url=f"http://127.0.0.1:{free_address[1]}") as asked:
        unavailable(asked.verify)
    assert len(pauses) == 1
    assert alarms(caplog) == [Alarm("ERROR", "/verify", "cannot_connect", "NewConnectionError")]
