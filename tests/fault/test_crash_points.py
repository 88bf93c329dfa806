"""A server killed in the middle of a login leaves one session or none (reliability.md row 9).

Promised: whoever sends the same login again to the server that came up gets one
session, or CODE_USED if the server died between WeChat's answer and our first
commit; never two sessions, never half a login, and a new code always works.
Proved by a server that kills itself at each step. The exchange row, the derived
SessionId and the one transaction are what holds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from tests.fault import crash_points
from tests.fault.calls import LOGIN_TIMEOUT_S, read_refusal
from tests.fault.seeded_store import PASSWORD, seed_accounts, seed_bindings
from tests.fault.server_process import ServerOptions
from tests.fault.serving import ChildProcess, Phones, sandbox_process, server_process
from tests.fault.test_kill9 import half_transactions
from tests.fault.test_lost_answers import half_transactions_of_logins, live_sessions
from tests.fault.unprotected import NO_EXCHANGE_ROW
from tests.sandbox_server import RunningSandbox
from wechat_sandbox.world import openid_of
from wxauth.v1.auth_service_pb2 import LoginRequest
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub
from wxauth_server.config import DEMO_APP_ID
from wxauth_server.session_id import session_digest

BCRYPT_COST = 4
REQUEST_ID = "the-first-callers-request-id"
ANOTHER_REQUEST_ID = "another-callers-request-id"

#: How a user logs in: what the retry ends with, by where the server died. A
#: silent login stores nothing before its one commit.
EXPECTED: Mapping[str, Mapping[str, str]] = {
    "silent": {
        crash_points.BEFORE_WECHAT: "OK",
        crash_points.AFTER_WECHAT: "CODE_USED",
        crash_points.SESSION_INSERTED: "CODE_USED",
        crash_points.BEFORE_COMMIT: "CODE_USED",
        crash_points.COMMITTED: "OK",
    },
    "password": {
        crash_points.BEFORE_WECHAT: "OK",
        crash_points.AFTER_WECHAT: "CODE_USED",
        crash_points.EXCHANGE_STORED: "OK",
        crash_points.IN_BCRYPT: "OK",
        crash_points.AFTER_BCRYPT: "OK",
        crash_points.SESSION_INSERTED: "OK",
        crash_points.BEFORE_COMMIT: "OK",
        crash_points.COMMITTED: "OK",
    },
}


@dataclass(frozen=True)
class Found:
    """What came of one login. Reasons: of its retry, of somebody else who has the
    code after that, and of the user's next code.

    `live` are the user's sessions before the next code; `retry_has_it` if there
    is one and the retry was given it. `exchanges` are WeChat's errcodes until then.
    """

    retry: str
    of_another: str
    next_code: str
    live: int
    retry_has_it: bool
    exchanges: list[int]


def crash_and_retry(
    directory: Path, how: str, points: list[str], *, unprotected: str = ""
) -> list[Found]:
    """For each point, log a user in at a server that dies there; then all again at one
    server, soon enough for a retry.
    """
    users = [f"user{n}" for n in range(len(points))]
    seed_accounts(directory, users, bcrypt_cost=BCRYPT_COST)
    if how == "silent":
        seed_bindings(directory, users)
    with sandbox_process() as sandbox:

        def options(crash_point: str) -> ServerOptions:
            return ServerOptions(
                str(directory),
                f"http://{sandbox.address}",
                BCRYPT_COST,
                unprotected=unprotected,
                crash_point=crash_point,
            )

        requests = []
        for user, point in zip(users, points, strict=True):
            with server_process(options(point)) as server:
                requests.append(_request(sandbox, user, how, REQUEST_ID))
                assert _log_in(server, requests[-1]) == ("UNAVAILABLE", ""), point
                assert server.killed_itself(), point
        with server_process(options("")) as server:
            return [
                _retry(directory, sandbox, server, user, request)
                for user, request in zip(users, requests, strict=True)
            ]


def _request(sandbox: ChildProcess, user: str, how: str, request_id: str) -> LoginRequest:
    with closing(Phones(sandbox)) as phones:
        request = LoginRequest(code=phones.code(user), request_id=request_id)
    if how == "password":
        request.username, request.password = user, PASSWORD
    return request


def _log_in(server: ChildProcess, request: LoginRequest) -> tuple[str, str]:
    """The reason, and the SessionId if it is OK."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(server.address, options=options) as channel:
        try:
            answer = AuthServiceStub(channel).Login(request, timeout=LOGIN_TIMEOUT_S)
        except grpc.RpcError as error:
            return read_refusal(error, 0.0).reason, ""
        return "OK", answer.session_id


def _retry(
    directory: Path,
    sandbox: ChildProcess,
    server: ChildProcess,
    user: str,
    request: LoginRequest,
) -> Found:
    retry, session_id = _log_in(server, request)
    request.request_id = ANOTHER_REQUEST_ID
    of_another, _ = _log_in(server, request)
    openid = openid_of(DEMO_APP_ID, user)
    live = [digest for owner, digest in live_sessions(directory) if owner == openid]
    exchanges = RunningSandbox(f"http://{sandbox.address}").exchanges()
    how = "password" if request.username else "silent"
    next_code, _ = _log_in(server, _request(sandbox, user, how, ANOTHER_REQUEST_ID))
    return Found(
        retry,
        of_another,
        next_code,
        len(live),
        live == [session_digest(session_id)],
        [call["errcode"] for call in exchanges if call["user"] == user],
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", EXPECTED)
def test_one_session_or_none(how: str, tmp_path: Path, long: bool) -> None:
    expected = EXPECTED[how]
    retries: Counter[str] = Counter()
    rounds = 10 if long else 1
    for number in range(rounds):
        directory = tmp_path / f"data{number}"
        found = crash_and_retry(directory, how, list(expected))
        retries.update(login.retry for login in found)
        for (point, reason), login in zip(expected.items(), found, strict=True):
            ok = reason == "OK"
            # The new server knows of no code: it asks in vain, for the retry and for
            # somebody else, unless it has exchanged the code itself.
            asked = [0] if point == crash_points.BEFORE_WECHAT else [0, 40163, 40163]
            assert login == Found(reason, "CODE_USED", "OK", int(ok), ok, asked), point
        seeded = how == "silent"
        assert not (half_transactions_of_logins if seeded else half_transactions)(directory)
    print(f"{how}: killed {rounds} times at each of {len(expected)} steps: {dict(retries)}")


def test_control_without_the_exchange_row_the_session_is_lost(tmp_path: Path) -> None:
    """Then a retry is CODE_USED wherever WeChat had answered, a session begun or not."""
    points = [crash_points.AFTER_BCRYPT, crash_points.COMMITTED]
    found = crash_and_retry(tmp_path / "data", "password", points, unprotected=NO_EXCHANGE_ROW)
    print(found)
    assert [(login.retry, login.live, login.retry_has_it) for login in found] == [
        ("CODE_USED", 0, False),
        ("CODE_USED", 1, False),
    ]
