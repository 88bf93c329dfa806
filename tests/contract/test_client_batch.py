"""validate_sessions: what it sends, and what it makes of the answers. Both twins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.contract.client_twins import KINDS, Ask, asker
from tests.running_server import RunningServer
from tests.scripted_server import SESSION_ID, VALID, ScriptedServer, fail, in_turn, say
from tests.scripted_server import scripted_server as serving
from wxauth.v1 import auth_service_pb2 as pb
from wxauth_client import (
    DeadlineExceeded,
    ProtocolError,
    RequestInvalid,
    ServerUnreachable,
    Session,
    SessionExpired,
    SessionInvalid,
    SessionRevoked,
    UnknownReason,
    WxauthError,
    validation_batch,
)
from wxauth_client.call import MAX_REQUEST_BYTES
from wxauth_client.validation_batch import ValidationBatch
from wxauth_server.rpc import requests
from wxauth_server.session_id import LENGTH, new_session_id

RPC = "BatchValidateSessions"
INVALID, EXPIRED, REVOKED = 4, 5, 6


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with serving() as server:
        yield server


@pytest.fixture
def scripted(running: ScriptedServer) -> ScriptedServer:
    """Answers with the SessionId as the handle."""
    running.reset()
    running.answers[RPC] = echo
    return running


@pytest.fixture(params=KINDS)
def ask(
    request: pytest.FixtureRequest, scripted: ScriptedServer, server_loop: asyncio.AbstractEventLoop
) -> Ask:
    return asker(request.param, scripted.address, server_loop)


def live(handle: str) -> pb.SessionValidation:
    session = pb.ValidateSessionResponse()
    session.CopyFrom(VALID)
    session.session_handle = handle
    return pb.SessionValidation(session=session)


def dead(reason: int, **metadata: str) -> pb.SessionValidation:
    refusal = pb.SessionRefusal(metadata=metadata)
    refusal.reason = reason  # type: ignore[assignment]  # one that is newer, too
    return pb.SessionValidation(refusal=refusal)


def answer(*results: pb.SessionValidation) -> pb.BatchValidateSessionsResponse:
    return pb.BatchValidateSessionsResponse(results=results)


def echo(request: Any, _context: Any) -> pb.BatchValidateSessionsResponse:
    return answer(*map(live, request.session_ids))


def handles(results: list[Session | WxauthError]) -> list[str]:
    return [result.handle if isinstance(result, Session) else result.reason for result in results]


def test_a_result_for_each_in_their_order(ask: Ask, scripted: ScriptedServer) -> None:
    scripted.answers[RPC] = say(
        answer(dead(REVOKED, cause="LOGOUT"), live("h"), dead(EXPIRED, limit="idle"), dead(INVALID))
    )
    revoked, session, expired, invalid = ask("validate_sessions", list("abcd"), app_id="wx1")
    assert isinstance(revoked, SessionRevoked)
    assert revoked.cause == "LOGOUT"
    assert isinstance(session, Session)
    assert (session.handle, session.openid) == ("h", "openid-1")
    assert isinstance(expired, SessionExpired)
    assert expired.limit == "idle"
    assert isinstance(invalid, SessionInvalid)
    assert scripted.requests(RPC) == [
        pb.BatchValidateSessionsRequest(session_ids="abcd", app_id="wx1")
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_real_server_says_what_validate_says(
    kind: str, server: RunningServer, server_loop: asyncio.AbstractEventLoop
) -> None:
    ask = asker(kind, server.address, server_loop)
    user = server.bound()
    ended, one = (server.login(code=server.code(user)).session_id for _ in range(2))
    ask("logout", ended)
    valid, *refused = ask("validate_sessions", [one, ended, new_session_id(), "x"], timeout_s=10)
    assert valid == ask("validate", one, timeout_s=10)
    for session_id, said in zip([ended, new_session_id(), "x"], refused, strict=True):
        with pytest.raises(WxauthError) as raised:
            ask("validate", session_id, timeout_s=10)
        assert type(said) is type(raised.value)
        assert (said.reason, said.metadata) == (raised.value.reason, raised.value.metadata)
        assert (said.status, said.retry_after_s) == (raised.value.status, None)


def test_many_go_in_several_calls(ask: Ask, scripted: ScriptedServer) -> None:
    session_ids = [f"{number:053d}" for number in range(2_500)]
    assert handles(ask("validate_sessions", iter(session_ids), timeout_s=10)) == session_ids
    assert [len(request.session_ids) for request in scripted.requests(RPC)] == [1_000, 1_000, 500]


def test_what_is_no_session_id_pushes_nobody_out(ask: Ask, scripted: ScriptedServer) -> None:
    """Whoever sends it to the service that asks here."""
    strange = ["", "x" * 129, "\u5f20" * 43, "x" * 1_000_000, "a\ud800"]
    results = ask("validate_sessions", ["first", *strange, "last"])
    assert handles(results) == ["first", *["SESSION_INVALID"] * 5, "last"]
    assert [list(request.session_ids) for request in scripted.requests(RPC)] == [["first", "last"]]
    assert all("x" * 9 not in str(result) for result in results)


def test_the_longest_that_are_sent_fit(ask: Ask, scripted: ScriptedServer) -> None:
    session_ids = [f"{number:0128d}" for number in range(1_000)]
    results = ask("validate_sessions", session_ids, app_id="a" * 64, timeout_s=10)
    assert handles(results) == session_ids
    sizes = [request.ByteSize() for request in scripted.requests(RPC)]
    assert len(sizes) == 3
    assert max(sizes) <= MAX_REQUEST_BYTES


def test_the_limits_are_those_of_the_server() -> None:
    assert validation_batch.MAX_SESSION_IDS == requests.MAX_BATCH
    assert LENGTH < validation_batch.MAX_SESSION_ID_BYTES == requests.MAX_SESSION_ID_BYTES


def test_nothing_to_ask_is_not_asked(ask: Ask, scripted: ScriptedServer) -> None:
    assert ask("validate_sessions", []) == []
    with pytest.raises(TypeError):
        ask("validate_sessions", SESSION_ID)
    with pytest.raises(RequestInvalid):
        ask("validate_sessions", [SESSION_ID], app_id="a\ud800")
    assert scripted.asked == []


@pytest.mark.parametrize("status", ["UNAVAILABLE", "CANCELLED"])
def test_it_is_retried_as_a_validation(ask: Ask, scripted: ScriptedServer, status: str) -> None:
    scripted.answers[RPC] = in_turn(fail(status), fail(status), echo)
    assert handles(ask("validate_sessions", ["a", "b"], timeout_s=10)) == ["a", "b"]
    assert len(scripted.requests(RPC)) == 3


def test_a_call_that_fails_fails_all(ask: Ask, scripted: ScriptedServer) -> None:
    """No part of an answer, which might be taken for the whole."""
    scripted.answers[RPC] = in_turn(echo, fail("RESOURCE_EXHAUSTED"))
    with pytest.raises(ServerUnreachable):
        ask("validate_sessions", [f"{number}" for number in range(1_500)], timeout_s=10)
    assert len(scripted.requests(RPC)) == 2


def test_all_its_calls_have_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(validation_batch, "time", SimpleNamespace(monotonic=lambda: now_s))
    session_ids = [f"{number}" for number in range(2_500)]
    parts = ValidationBatch(session_ids, "", 20).parts()
    assert next(parts).call.timeout_s == 20
    now_s += 5
    assert next(parts).call.timeout_s == 15
    now_s += 16
    assert next(parts).call.timeout_s == -1
    [part] = ValidationBatch(["x"], "", None).parts()
    assert part.call.timeout_s == 1


@pytest.mark.parametrize("timeout_s", [0, -1])
def test_without_time_nothing_is_sent(ask: Ask, scripted: ScriptedServer, timeout_s: float) -> None:
    with pytest.raises(DeadlineExceeded):
        ask("validate_sessions", ["a"], timeout_s=timeout_s)
    assert scripted.asked == []


@pytest.mark.parametrize(
    "results",
    [
        pytest.param([live("a")], id="too few"),
        pytest.param([live("a"), live("b"), live("c")], id="too many"),
        pytest.param([live("a"), pb.SessionValidation()], id="neither"),
        pytest.param([live("a"), dead(0)], id="no reason"),
        pytest.param(
            [live("a"), pb.SessionValidation(session=pb.ValidateSessionResponse())], id="nobody"
        ),
    ],
)
def test_an_answer_that_is_none_lets_nobody_in(
    ask: Ask, scripted: ScriptedServer, results: list[pb.SessionValidation]
) -> None:
    scripted.answers[RPC] = say(answer(*results))
    with pytest.raises(ProtocolError):
        ask("validate_sessions", ["a", "b"])


def test_a_newer_reason_is_one_sessions_own(ask: Ask, scripted: ScriptedServer) -> None:
    scripted.answers[RPC] = say(answer(live("a"), dead(9_999, why="new")))
    session, unknown = ask("validate_sessions", ["a", "b"])
    assert isinstance(session, Session)
    assert isinstance(unknown, UnknownReason)
    assert (unknown.reason, unknown.metadata) == ("REASON_9999", {"why": "new"})
