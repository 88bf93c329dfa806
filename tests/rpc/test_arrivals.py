"""Calls whose message never comes: headers of a call are no hold on the server (F10)."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.rpc import raw_http2
from tests.rpc.conftest import Serve
from tests.rpc.known_callers import a_token, caller, write_callers
from tests.rpc.raw_http2 import RawConnection
from tests.running_server import RunningServer
from wxauth_server.callers.caller import Role
from wxauth_server.rpc import arrivals

LOGIN = "/wxauth.v1.AuthService/Login"
#: On one connection, below the limit of streams.
CALLS = 50


@pytest.fixture
def impatient(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> RunningServer:
    monkeypatch.setattr(arrivals, "MESSAGE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(arrivals, "_INTERVAL_S", 0.05)
    return serve()


def answered(connection: RawConnection, calls: int) -> set[int]:
    """The streams that the server has answered, when it has answered so many."""
    streams: set[int] = set()
    for frame in connection.frames():
        if frame.kind == raw_http2.HEADERS and frame.flags & raw_http2.END_STREAM:
            streams.add(frame.stream)
            if len(streams) == calls:
                return streams
    raise AssertionError("the server closed the connection")


def begun(connection: RawConnection, path: str, calls: int = CALLS) -> set[int]:
    """Calls of which the server has the headers and nothing more."""
    connection.send(raw_http2.PREFACE)
    connection.send_frame(raw_http2.SETTINGS)
    streams = set(range(1, 2 * calls, 2))
    for stream in sorted(streams):
        connection.open_stream(stream, path)
    return streams


@pytest.mark.parametrize("path", [LOGIN, "/grpc.health.v1.Health/Watch"])
def test_a_call_without_a_message_ends(impatient: RunningServer, path: str) -> None:
    with RawConnection(impatient.port) as connection:
        streams = begun(connection, path)
        assert answered(connection, CALLS) == streams


def test_who_may_not_call_is_told_at_the_headers(serve: Serve, tmp_path: Path) -> None:
    """With five seconds for a message: nobody waits for it."""
    file = tmp_path / "callers.json"
    write_callers(file, caller("orders", Role.SERVICE, token=a_token()))
    server = serve(tables={"grpc": {"require_callers": True}, "callers": {"file": file}})
    with RawConnection(server.port) as connection:
        streams = begun(connection, LOGIN)
        assert answered(connection, CALLS) == streams


def test_a_call_that_is_taken_back_is_no_fault(
    impatient: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    with RawConnection(impatient.port) as connection:
        streams = begun(connection, LOGIN)
        for stream in sorted(streams):
            connection.send_frame(raw_http2.RST_STREAM, 0, stream, bytes(4))
        # One more, so that what came before it has been dealt with when it is answered.
        last = 2 * CALLS + 1
        connection.open_stream(last, LOGIN)
        assert last in answered(connection, 1)
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
