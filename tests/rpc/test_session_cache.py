"""The session cache over a socket: whoever is logged out is refused, however often asked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import pytest

from tests.rpc.conftest import Serve
from tests.running_server import RunningServer, refused
from wxauth.v1.auth_service_pb2 import BatchValidateSessionsRequest, LogoutRequest
from wxauth_server.session_id import session_digest
from wxauth_server.store.ended_sessions import end_session
from wxauth_server.store.sessions import Cause, SessionRecord
from wxauth_server.store.sqlite import SQLiteStore


def login(server: RunningServer, user: str) -> str:
    return server.login(code=server.code(user)).session_id


def is_live(server: RunningServer, session_id: str) -> bool:
    """As ValidateSession says, and BatchValidateSessions too."""
    request = BatchValidateSessionsRequest(session_ids=[session_id])
    [entry] = server.stub.BatchValidateSessions(request, timeout=10).results
    return entry.HasField("session")


def counted(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is read of the store from now on."""
    read_sessions = server.store.read_sessions
    digests: list[bytes] = []

    def counts(asked: Sequence[bytes]) -> Mapping[bytes, SessionRecord]:
        digests.extend(asked)
        return read_sessions(asked)

    monkeypatch.setattr(server.store, "read_sessions", counts)
    return digests


def test_after_a_logout_nobody_is_let_in(timed: RunningServer) -> None:
    """By the next call, each of many times, in single calls and in batches."""
    user = timed.bound()
    for _ in range(20):
        session_id = login(timed, user)
        timed.validate(session_id)
        assert is_live(timed, session_id)
        timed.stub.Logout(LogoutRequest(session_id=session_id), timeout=10)
        assert refused(timed.validate, session_id).reason == "SESSION_REVOKED"
        assert not is_live(timed, session_id)


def test_ended_by_another_process(timed: RunningServer) -> None:
    """As by a command beside the server: refused within a second."""
    other = SQLiteStore(timed.configuration.store.directory)
    try:
        session_id = login(timed, timed.bound())
        digest = session_digest(session_id)
        assert digest is not None
        timed.validate(session_id)
        assert other.write(
            lambda tx: end_session(tx, digest, Cause.ADMIN, now_ms=timed.clock.now_ms())
        )
    finally:
        other.close()
    asked_s = ended_s = time.monotonic()
    while is_live(timed, session_id):
        assert asked_s - ended_s <= 1.0
        asked_s = time.monotonic()
    assert refused(timed.validate, session_id).metadata == {"cause": "ADMIN"}


@pytest.mark.parametrize("sessions", [0, 10])
def test_the_setting(serve: Serve, monkeypatch: pytest.MonkeyPatch, sessions: int) -> None:
    """With 0 the store is read for each validation; the answers are the same."""
    server = serve(tables={"session_cache": {"sessions": sessions}})
    session_id = login(server, server.bound())
    answer = server.validate(session_id)
    reads = counted(server, monkeypatch)
    for _ in range(50):
        assert server.validate(session_id) == answer
    # Every now and then a busy machine lets the lease end.
    assert len(reads) == 50 if sessions == 0 else len(reads) < 40
