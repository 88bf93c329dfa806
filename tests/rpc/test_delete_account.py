"""DeleteAccount over a socket: what goes, what stays, and who may ask for it."""

from __future__ import annotations

from functools import partial

import grpc
import pytest

from tests.rpc.conftest import MALL, SHOP, Serve, app_of
from tests.rpc.leaving import PASSWORD, delete, logged_in
from tests.running_server import FakeClock, RunningServer, refused
from tests.sandbox_server import RunningSandbox
from wxauth.v1.auth_service_pb2 import ClientInfo, LogoutRequest


@pytest.mark.parametrize("proof", ["code", "password"])
def test_everything_ends_at_once(server: RunningServer, proof: str) -> None:
    user = server.bound("zhangsan", PASSWORD)
    sessions = [logged_in(server, user) for _ in range(2)]
    fields = {"code": server.code(user)} if proof == "code" else {"password": PASSWORD}
    answer = delete(server, sessions[0], **fields)
    assert (answer.account.source, answer.account.id) == ("local", "id-zhangsan")
    assert (answer.account.username, answer.account.display_name) == ("", "")
    assert (answer.bindings_ended, answer.sessions_ended) == (1, 3)
    for session_id in sessions:
        refusal = refused(partial(server.validate, session_id))
        assert (refusal.reason, refusal.metadata) == (
            "SESSION_REVOKED",
            {"cause": "ACCOUNT_DELETED"},
        )
    assert refused(lambda: server.login(code=server.code(user))).reason == "BINDING_REQUIRED"
    again = {"username": "zhangsan", "password": PASSWORD}
    refusal = refused(lambda: server.login(code=server.code(user), **again))
    assert refusal.reason == "CREDENTIALS_INVALID"


def test_a_repetition_says_that_it_is_done(server: RunningServer) -> None:
    user = server.bound()
    session_id = logged_in(server, user)
    delete(server, session_id, code=server.code(user))
    refusal = refused(lambda: delete(server, session_id, code=server.code(user)))
    assert (refusal.reason, refusal.metadata) == (
        "SESSION_REVOKED",
        {"cause": "ACCOUNT_DELETED"},
    )


def test_in_all_mini_programs(
    serve: Serve, wechat_of_three: RunningSandbox, clock: FakeClock
) -> None:
    """Their sessions are counted by the limits of each, and end all the same."""
    server = serve(apps=[app_of(SHOP), app_of(MALL, session_idle_s=60)], wechat=wechat_of_three)
    server.add_account("zhangsan", PASSWORD)
    user = server.new_user()
    shop, mall = (
        server.login(
            app_id=app.app_id,
            code=server.code(user, app.app_id),
            username="zhangsan",
            password=PASSWORD,
        ).session_id
        for app in (SHOP, MALL)
    )
    clock.ms += 60_000
    answer = delete(server, shop, password=PASSWORD)
    assert (answer.bindings_ended, answer.sessions_ended) == (2, 1)
    assert server.rows("SELECT DISTINCT ended_cause FROM sessions") == [("ACCOUNT_DELETED",)]
    assert refused(lambda: server.validate(mall)).reason == "SESSION_EXPIRED"
    assert server.rows("SELECT COUNT(*) FROM bindings") == [(0,)]


def test_the_account_is_out_of_use_and_its_name_is_free(
    timed: RunningServer, clock: FakeClock
) -> None:
    timed.add_account("zhangsan", PASSWORD, phone="+8613800138000", phone_verified=True)
    user = timed.new_user()
    session_id = logged_in(timed, user, username="zhangsan", password=PASSWORD)
    delete(timed, session_id, code=timed.code(user))
    assert timed.rows(
        """
        SELECT id, username, username_key, display_name, phone, phone_verified_at, password,
          password_version, disabled_at, deleted_at, deletion_told_at FROM accounts
        """
    ) == [("id-zhangsan", *[None] * 6, 2, *[clock.ms] * 3)]
    timed.add_account("zhangsan", PASSWORD, account_id="another")
    logged_in(timed, user, username="zhangsan", password=PASSWORD)


def test_nothing_in_the_database_tells_who_it_was(timed: RunningServer, clock: FakeClock) -> None:
    """Dead sessions say why they died and no more; the audit log goes on under pseudonyms."""
    timed.add_account("zhangsan", PASSWORD)
    user = timed.new_user()
    client = ClientInfo(address="203.0.113.77", user_agent="MicroMessenger", device="iPhone")
    first = logged_in(timed, user, username="zhangsan", password=PASSWORD, client=client)
    openid = timed.validate(first).openid
    timed.stub.Logout(LogoutRequest(session_id=first), timeout=10)
    handle = timed.validate(last := logged_in(timed, user, client=client)).session_handle
    credentials = {"username": "zhangsan", "password": "wrong"}
    refused(lambda: logged_in(timed, user, client=client, **credentials))
    refused(lambda: logged_in(timed, user, client=client, username="nobody", password="wrong"))
    delete(timed, last, code=timed.code(user))
    telling = timed.rows(
        """
        SELECT openid, username, display_name, unionid, client_address, client_user_agent,
          client_device FROM sessions
        """
    )
    assert len(set(telling)) == 1
    assert telling[0][0].startswith("deleted:")
    assert telling[0][1:] == (None,) * 6
    assert timed.rows("SELECT DISTINCT client_address FROM audit_events") == [(None,)]
    people = timed.rows("SELECT DISTINCT openid FROM audit_events")
    assert people == [(telling[0][0],)], "the same pseudonym everywhere"
    accounts = timed.rows("SELECT DISTINCT account_id FROM audit_events WHERE account_id NOTNULL")
    assert len(accounts) == 1
    assert accounts[0][0].startswith("deleted:")
    for table in ("exchanges", "throttles", "bindings"):
        columns = timed.rows(f"SELECT * FROM {table} WHERE openid = '{openid}'")
        # Their failures on any name, and on another name, stay for a day.
        assert len(columns) == (2 if table == "throttles" else 0), table
    assert timed.rows("SELECT handle FROM sessions WHERE ended_cause = 'ACCOUNT_DELETED'") == [
        (handle,)
    ]
    assert timed.events()[-1] == ("ACCOUNT_DELETED", None)
    assert [event for event, _ in timed.events()].count("ACCOUNT_DELETED") == 1


def test_others_keep_what_tells_of_them(serve: Serve) -> None:
    """Another user, and the WeChat user who was this account and is another one now."""
    server = serve()
    mover, lisi = server.bound("zhangsan"), server.bound("lisi")
    server.add_account("wangwu", PASSWORD)
    session_id = logged_in(server, mover, username="wangwu", password=PASSWORD, rebind=True)
    moved = server.validate(session_id).openid
    user = server.new_user()
    own = logged_in(server, user, username="zhangsan", password=PASSWORD)
    before = server.rows("SELECT * FROM audit_events WHERE account_id = 'id-lisi'")
    delete(server, own, code=server.code(user))
    assert server.rows("SELECT * FROM audit_events WHERE account_id = 'id-lisi'") == before
    assert server.validate(session_id).openid == moved
    assert server.rows(
        "SELECT DISTINCT openid FROM audit_events WHERE account_id = 'id-wangwu'"
    ) == [(moved,)]
    logged_in(server, lisi)


def test_guesses_on_other_names_are_not_washed_off(server: RunningServer) -> None:
    """Else whoever guesses would leave, register again and guess on."""
    user = server.bound("zhangsan", PASSWORD)
    session_id = logged_in(server, user)
    for _ in range(5):
        refused(lambda: logged_in(server, user, username="lisi", password="wrong"))
    delete(server, session_id, password=PASSWORD)
    refusal = refused(lambda: logged_in(server, user, username="lisi", password="wrong"))
    assert refusal.reason == "THROTTLED"


@pytest.mark.parametrize("proof", ["code", "password"])
def test_with_somebody_elses_proof(server: RunningServer, proof: str) -> None:
    """Nothing is deleted, and the refusal is on record."""
    user = server.bound("zhangsan", PASSWORD)
    session_id = logged_in(server, user)
    code = server.code(server.new_user())
    fields = {"code": code} if proof == "code" else {"password": "not it at all"}
    refusal = refused(lambda: delete(server, session_id, **fields))
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "PROOF_INVALID",
    )
    server.validate(session_id)
    logged_in(server, user)
    assert ("DELETE_REFUSED", "PROOF_INVALID") in server.events()


def test_guessing_the_password_is_held_back(server: RunningServer) -> None:
    session_id = logged_in(server, server.bound("zhangsan", PASSWORD))
    for _ in range(5):
        refused(lambda: delete(server, session_id, password="wrong"))
    refusal = refused(lambda: delete(server, session_id, password=PASSWORD))
    assert refusal.reason == "THROTTLED"
    assert refusal.retry_after_s


def test_a_dead_session_spends_no_code(server: RunningServer) -> None:
    user = server.bound()
    session_id = logged_in(server, user)
    server.stub.Logout(LogoutRequest(session_id=session_id), timeout=10)
    code = server.code(user)
    refused(lambda: delete(server, session_id, code=code))
    server.login(code=code)


def test_without_proof(server: RunningServer) -> None:
    session_id = logged_in(server, server.bound())
    refusal = refused(lambda: delete(server, session_id))
    assert refusal.violations == {"proof": "required: a code or the password"}
    server.validate(session_id)


def test_no_row_holds_the_name(server: RunningServer) -> None:
    """The id alone stays, which is the company's."""
    user = server.bound("a-name-that-nobody-has", PASSWORD)
    delete(server, logged_in(server, user), password=PASSWORD)
    found = [
        column
        for table in ("accounts", "sessions", "bindings", "audit_events", "throttles")
        for row in server.rows(f"SELECT * FROM {table}")
        for column in row
        if "a-name-that-nobody-has" in str(column) and column != "id-a-name-that-nobody-has"
    ]
    assert found == []
