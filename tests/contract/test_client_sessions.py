"""What a user may do with their sessions and account, through the client. Both twins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.contract.client_twins import Ask, asker
from tests.scripted_server import (
    HANDLES,
    NOON,
    SESSION_ID,
    Answer,
    ScriptedServer,
    fail,
    in_turn,
    refuse,
    say,
    scripted_server,
)
from wxauth.v1 import auth_service_pb2 as pb
from wxauth_client import (
    Account,
    DeletedAccount,
    OwnSession,
    ProtocolError,
    RequestInvalid,
    ServerUnreachable,
    SessionRevoked,
)

#: method -> (its rpc, what it takes besides the SessionId, its default deadline in seconds)
METHODS: dict[str, tuple[str, tuple[str, ...], float]] = {
    "list_sessions": ("ListSessions", (), 2.0),
    "revoke_session": ("RevokeSession", (HANDLES[1],), 2.0),
    "delete_account": ("DeleteAccount", (), 8.0),
}


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def server(running: ScriptedServer) -> ScriptedServer:
    running.reset()
    return running


@pytest.fixture(params=["sync", "aio"])
def ask(
    request: pytest.FixtureRequest, server: ScriptedServer, server_loop: asyncio.AbstractEventLoop
) -> Ask:
    return asker(request.param, server.address, server_loop)


def revoked(cause: str) -> Answer:
    return refuse("SESSION_REVOKED", "UNAUTHENTICATED", metadata={"cause": cause})


def test_list_sessions(ask: Ask, server: ScriptedServer) -> None:
    assert ask("list_sessions", SESSION_ID) == [
        OwnSession(
            handle=HANDLES[0],
            current=True,
            device="iPhone 15",
            user_agent="agent",
            network="192.0.2.0/24",
            login_time=NOON,
            last_seen_time=NOON,
            idle_expire_time=NOON,
            absolute_expire_time=NOON.replace(microsecond=0),
        ),
        OwnSession(HANDLES[1], False, "", "", "", NOON, NOON, NOON, NOON),
    ]
    assert server.requests("ListSessions") == [pb.ListSessionsRequest(session_id=SESSION_ID)]
    server.answers["ListSessions"] = say(pb.ListSessionsResponse())
    assert ask("list_sessions", SESSION_ID) == []


def test_revoke_session(ask: Ask, server: ScriptedServer) -> None:
    assert ask("revoke_session", SESSION_ID, HANDLES[1]) is None
    assert server.requests("RevokeSession") == [
        pb.RevokeSessionRequest(session_id=SESSION_ID, session_handle=HANDLES[1])
    ]


@pytest.mark.parametrize("proof", ["code", "password"])
def test_delete_account(ask: Ask, server: ScriptedServer, proof: str) -> None:
    deleted = ask("delete_account", SESSION_ID, **{proof: "x"})
    assert deleted == DeletedAccount(False, Account("local", "1001", "", ""), 2, 3)
    (sent,) = server.requests("DeleteAccount")
    assert (sent.session_id, sent.WhichOneof("proof"), getattr(sent, proof)) == (
        SESSION_ID,
        proof,
        "x",
    )
    with pytest.raises(ValueError, match="not both"):
        ask("delete_account", SESSION_ID, code="x", password="y")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("list_sessions", pb.ListSessionsResponse(sessions=[pb.OwnSession(device="d")])),
        ("delete_account", pb.DeleteAccountResponse(bindings_ended=1)),
    ],
)
def test_an_answer_that_names_nobody(
    ask: Ask, server: ScriptedServer, method: str, answer: Any
) -> None:
    server.answers[METHODS[method][0]] = say(answer)
    with pytest.raises(ProtocolError):
        ask(method, SESSION_ID)


@pytest.mark.parametrize("method", METHODS)
def test_only_reading_is_retried(ask: Ask, server: ScriptedServer, method: str) -> None:
    rpc, rest, _ = METHODS[method]
    server.answers[rpc] = in_turn(fail("UNAVAILABLE"), server.answers[rpc])
    if method == "list_sessions":
        assert len(ask(method, SESSION_ID, *rest, timeout_s=5)) == 2
        assert len(server.requests(rpc)) == 2
    else:
        with pytest.raises(ServerUnreachable):
            ask(method, SESSION_ID, *rest, timeout_s=5)
        assert len(server.requests(rpc)) == 1


def test_a_repeated_deletion_is_success(ask: Ask, server: ScriptedServer) -> None:
    server.answers["DeleteAccount"] = revoked("ACCOUNT_DELETED")
    assert ask("delete_account", SESSION_ID, code="x") == DeletedAccount(already=True)


@pytest.mark.parametrize(
    ("method", "cause"),
    [
        ("delete_account", "UNBOUND"),
        ("delete_account", "LOGOUT"),
        # It says that the asking session has ended, and nothing of the one to end.
        ("revoke_session", "LOGOUT"),
        ("revoke_session", "ACCOUNT_DELETED"),
        ("list_sessions", "ACCOUNT_DELETED"),
    ],
)
def test_a_session_that_ended_otherwise_is_no_success(
    ask: Ask, server: ScriptedServer, method: str, cause: str
) -> None:
    rpc, rest, _ = METHODS[method]
    server.answers[rpc] = revoked(cause)
    with pytest.raises(SessionRevoked) as caught:
        ask(method, SESSION_ID, *rest)
    assert caught.value.cause == cause


@pytest.mark.parametrize("method", METHODS)
def test_deadlines(ask: Ask, server: ScriptedServer, method: str) -> None:
    rpc, rest, default_s = METHODS[method]
    answer = server.answers[rpc]
    left: list[float] = []

    def measuring(request: Any, context: grpc.ServicerContext) -> Any:
        left.append(context.time_remaining())
        return answer(request, context)

    server.answers[rpc] = measuring
    ask(method, SESSION_ID, *rest)
    ask(method, SESSION_ID, *rest, timeout_s=20)
    assert default_s / 2 < left[0] <= default_s
    assert 10 < left[1] <= 20


@pytest.mark.parametrize("method", METHODS)
def test_text_that_is_not_unicode_is_refused_without_quoting_it(ask: Ask, method: str) -> None:
    _, rest, _ = METHODS[method]
    with pytest.raises(RequestInvalid) as caught:
        ask(method, "secret\ud800", *rest)
    assert caught.value.__cause__ is None
    assert "secret" not in str(caught.value)
