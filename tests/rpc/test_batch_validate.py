"""BatchValidateSessions over a socket: for each entry what ValidateSession answers."""

from __future__ import annotations

import grpc
import pytest

from tests.rpc.conftest import Serve
from tests.running_server import FakeClock, RunningServer, read_refusal, refused
from wxauth.v1.auth_service_pb2 import (
    BatchValidateSessionsRequest,
    LogoutRequest,
    SessionRefusal,
    SessionValidation,
)
from wxauth.v1.error_reason_pb2 import ErrorReason
from wxauth_server.config import DEMO_APP_ID
from wxauth_server.errors import StoreUnavailable
from wxauth_server.rpc.requests import MAX_BATCH
from wxauth_server.rpc.server import CHANNEL_OPTIONS
from wxauth_server.session_id import new_session_id, session_digest
from wxauth_server.store.accounts import insert_account
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import SessionRecord, insert_session

DAY_MS = 86_400_000
INVALID = SessionValidation(refusal=SessionRefusal(reason=ErrorReason.ERROR_REASON_SESSION_INVALID))


def batch(
    server: RunningServer, session_ids: list[str], app_id: str = ""
) -> list[SessionValidation]:
    request = BatchValidateSessionsRequest(session_ids=session_ids, app_id=app_id)
    return list(server.stub.BatchValidateSessions(request, timeout=10).results)


def one_by_one(server: RunningServer, session_id: str, app_id: str = "") -> SessionValidation:
    """What ValidateSession says, as an entry."""
    try:
        return SessionValidation(session=server.validate(session_id, app_id))
    except grpc.RpcError as error:
        refusal = read_refusal(error)
        reason = ErrorReason.Value(f"ERROR_REASON_{refusal.reason}")
        return SessionValidation(refusal=SessionRefusal(reason=reason, metadata=refusal.metadata))


def login(server: RunningServer, user: str) -> str:
    return server.login(code=server.code(user)).session_id


@pytest.mark.parametrize("app_id", ["", DEMO_APP_ID, "wx0000000000000000"])
def test_each_entry_is_what_a_validation_says(serve: Serve, clock: FakeClock, app_id: str) -> None:
    """Of every kind, more than are read at once, the same one twice."""
    server = serve(session_idle_s=86_400, session_absolute_s=2 * 86_400)
    user, other = server.bound("zhangsan"), server.bound("lisi")
    expired, used_up = login(server, user), login(server, other)
    clock.ms += DAY_MS - 1
    server.validate(used_up)
    server.flush()
    clock.ms += DAY_MS - 2_000
    server.validate(used_up)
    server.flush()
    clock.ms += 1_500
    ended, live = login(server, user), login(server, other)
    server.stub.Logout(LogoutRequest(session_id=ended), timeout=10)
    dying = batch(server, [used_up])
    assert dying[0].session.reuse_for.ToMilliseconds() == 501
    clock.ms += 501
    session_ids = [
        live,
        "",
        expired,
        "nonsense",
        used_up,
        new_session_id(),
        ended,
        "wxs_" + "a" * 49,
        "x" * 10_000,
        "wxs_" + "\u00e9" * 49,
        live,
        *(new_session_id() for _ in range(150)),
        live,
    ]
    found = batch(server, session_ids, app_id)
    assert found[1] == INVALID, "of an empty one ValidateSession says REQUEST_INVALID"
    del found[1], session_ids[1]
    assert found == [one_by_one(server, session_id, app_id) for session_id in session_ids]
    if app_id.startswith("wx00"):
        assert found == [INVALID] * len(found)
    else:
        said = [entry.refusal for entry in found if entry.HasField("refusal")]
        metadata = [dict(refusal.metadata) for refusal in said if refusal.metadata]
        assert metadata == [{"limit": "idle"}, {"limit": "absolute"}, {"cause": "LOGOUT"}]
        assert [bool(entry.session.openid) for entry in found].count(True) == 3


@pytest.mark.parametrize("count", [0, MAX_BATCH + 1])
def test_too_few_and_too_many(server: RunningServer, count: int) -> None:
    refusal = refused(batch, server, ["x"] * count)
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "REQUEST_INVALID",
    )
    problem = "more than 1000" if count else "required"
    assert refusal.violations == {"session_ids": problem}


def test_a_malformed_app_id_is_told_beside(server: RunningServer) -> None:
    refusal = refused(batch, server, [], "x" * 65)
    assert refusal.violations == {"session_ids": "required", "app_id": "longer than 64 bytes"}


def test_the_largest_request_and_the_largest_answer_fit(
    timed: RunningServer, clock: FakeClock
) -> None:
    """All fields as long as the contract allows, within the limits of a message."""
    session_id = new_session_id()
    digest = session_digest(session_id)
    assert digest is not None
    longest = SessionRecord.beginning(
        digest=digest,
        handle="h" * 22,
        app_id=DEMO_APP_ID,
        openid="o" * 64,
        account=("s" * 32, "i" * 128),
        username="u" * 256,
        display_name="d" * 256,
        unionid="n" * 64,
        now_ms=clock.ms // 1000 * 1000 + 999,
    )

    def insert(tx: Transaction) -> bool:
        added = insert_account(
            tx,
            source="s" * 32,
            account_id="i" * 128,
            username=None,
            username_key=None,
            display_name=None,
            phone=None,
            phone_verified=False,
            password=None,
            now_ms=clock.ms,
        )
        return added and insert_session(tx, longest)

    assert timed.store.write(insert)
    request = BatchValidateSessionsRequest(session_ids=[session_id] * MAX_BATCH, app_id=DEMO_APP_ID)
    options = dict(CHANNEL_OPTIONS)
    other_app_ids = 64 - len(DEMO_APP_ID)
    assert request.ByteSize() + other_app_ids < options["grpc.max_receive_message_length"]
    answer = timed.stub.BatchValidateSessions(request, timeout=10)
    assert len(answer.results) == MAX_BATCH
    assert all(entry.HasField("session") for entry in answer.results)
    most = answer.ByteSize() + other_app_ids * MAX_BATCH
    assert 900_000 < most < options["grpc.max_send_message_length"]


def test_a_store_that_fails_fails_all(
    timed: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the first part of it was read already."""
    live = login(timed, timed.bound())
    read_sessions, reads = timed.store.read_sessions, []

    def fails_later(digests: list[bytes]) -> object:
        reads.append(len(digests))
        if len(reads) == 2:
            raise StoreUnavailable
        return read_sessions(digests)

    monkeypatch.setattr(timed.store, "read_sessions", fails_later)
    refusal = refused(batch, timed, [live, *(new_session_id() for _ in range(100))])
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert refusal.retry_after_s == 1
    assert len(reads) == 2


def test_each_session_has_been_seen(timed: RunningServer, clock: FakeClock) -> None:
    """Moves the idle limit of each as a validation does; of the dead ones, none."""
    user = timed.bound()
    session_ids = [login(timed, user) for _ in range(3)]
    timed.stub.Logout(LogoutRequest(session_id=session_ids[0]), timeout=10)
    before = clock.ms
    clock.ms += 300_000
    batch(timed, session_ids)
    timed.flush()
    digests = [session_digest(session_id) for session_id in session_ids]
    seen = dict(timed.rows("SELECT digest, last_seen_at FROM sessions"))
    assert [seen[digest] for digest in digests] == [before, clock.ms, clock.ms]
