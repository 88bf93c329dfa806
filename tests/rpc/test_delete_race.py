"""Nothing of an account survives the answer to its DeleteAccount.

Promised: whatever logs in meanwhile, silently or with the password, bound before
or binding now, no session of the account is live and no binding to it exists once
the logins that were under way have their answers. Proved in rounds: logins of all
these kinds at once, and DeleteAccount in the middle of them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import grpc
import pytest

from tests.rpc.conftest import Serve
from tests.rpc.leaving import PASSWORD, delete, logged_in
from tests.running_server import RunningServer, read_refusal
from wxauth_server.auth import delete_account

#: Of each kind. With those before they stay below the limit of 10 sessions.
LOGINS = 3


@dataclass
class Found:
    """What came of all rounds."""

    logged_in: int = 0
    refused: int = 0
    live_sessions: int = 0
    bindings: int = 0


def race(server: RunningServer, rounds: int) -> Found:
    found = Found()
    with ThreadPoolExecutor(3 * LOGINS + 1) as threads:
        for number in range(rounds):
            name = f"user{number}"
            user = server.bound(name)
            session_id = logged_in(server, user)
            password = {"username": name, "password": PASSWORD}
            calls = [
                partial(server.login, code=code, **fields)
                for _ in range(LOGINS)
                for code, fields in (
                    (server.code(user), {}),
                    (server.code(user), password),
                    (server.code(server.new_user()), password),
                )
            ]
            proof = server.code(user)
            before = number % len(calls)  # each time more of them are under way
            logins = [threads.submit(call) for call in calls[:before]]
            deletion = threads.submit(delete, server, session_id, code=proof)
            logins += [threads.submit(call) for call in calls[before:]]
            assert deletion.result(20).account.id == f"id-{name}"
            for login in logins:
                try:
                    login.result(20)
                    found.logged_in += 1
                except grpc.RpcError as error:
                    reason = read_refusal(error).reason
                    assert reason in {"BINDING_REQUIRED", "CREDENTIALS_INVALID", "CODE_USED"}
                    found.refused += 1
    [(found.live_sessions,)] = server.rows("SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL")
    [(found.bindings,)] = server.rows("SELECT COUNT(*) FROM bindings")
    print(found)
    return found


@pytest.mark.timeout(600)
def test_nothing_survives(serve: Serve, long: bool) -> None:
    found = race(serve(several_users_per_account=True), 300 if long else 18)
    assert found.logged_in > 10, "they were there first"
    assert found.refused > 10, "they were too late"
    assert (found.live_sessions, found.bindings) == (0, 0)


def test_control_an_account_that_stays_in_use_is_caught(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bindings and sessions end, but who has verified the password binds again."""
    monkeypatch.setattr(delete_account, "delete_account", lambda *args, **fields: None)
    found = race(serve(several_users_per_account=True), 5)
    assert found.live_sessions
    assert found.bindings
