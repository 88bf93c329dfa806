"""A login that is sent again: one session comes of it, however often and however it is sent.

design.md section 4, step 2. Every test counts what WeChat was asked: a code that
was exchanged once must never be sent there again.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import grpc
import pytest

from tests.canary import CANARY
from tests.rpc.conftest import Serve
from tests.running_server import FakeClock, RunningServer, read_refusal, refused
from wxauth.v1.auth_service_pb2 import (
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    UnbindRequest,
    ValidateSessionRequest,
)
from wxauth_server.config import DEMO_APP_ID
from wxauth_server.session_id import encode_session_id
from wxauth_server.store.sqlite import DATABASE_NAME

PASSWORD = "correct horse battery"
WRONG = "not it at all"


def exchanges_of(server: RunningServer, user: str) -> int:
    """How often WeChat was asked about a code of this user."""
    return len(server.sandbox.calls(path="/sns/jscode2session", user=user))


def sessions(server: RunningServer) -> int:
    [(count,)] = server.rows("SELECT COUNT(*) FROM sessions")
    return int(count)


def replays(server: RunningServer) -> list[tuple[Any, ...]]:
    """The openids of the replays that were noticed."""
    return server.rows("SELECT openid FROM audit_events WHERE event = 'CODE_REPLAYED'")


@contextmanager
def held_writer(server: RunningServer) -> Iterator[None]:
    """Another process has the write lock of the database."""
    path = server.configuration.store.directory / DATABASE_NAME
    with closing(sqlite3.connect(path, isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            intruder.execute("ROLLBACK")


@contextmanager
def full_password_pool(server: RunningServer) -> Iterator[None]:
    """Every place of the password pool is taken."""
    pool, done = server.server._pools.passwords, threading.Event()
    jobs = []
    while not pool.full:
        jobs.append(asyncio.run_coroutine_threadsafe(pool.run(done.wait, 30), server.loop))
        wait_until(lambda: pool._jobs >= len(jobs))
    try:
        yield
    finally:
        done.set()
        for job in jobs:
            job.result(10)


def wait_until(condition: Callable[[], bool]) -> None:
    """Look until it holds, for 10 s at most."""
    look_again = threading.Event()
    for _ in range(2000):
        if condition():
            return
        look_again.wait(0.005)
    raise AssertionError("it never came to that")


def bound(server: RunningServer, *, account: str = "zhangsan") -> str:
    """A WeChat user bound to a new account, without any trace of how it came to that."""
    user = server.bound(account, PASSWORD)
    for table in ("sessions", "audit_events", "exchanges"):
        server.store.write(lambda tx, table=table: tx.execute(f"DELETE FROM {table}"))
    return user


# --- The same request again ----------------------------------------------------


@pytest.mark.parametrize("silent", [True, False])
def test_the_same_request_again_is_the_same_answer(server: RunningServer, silent: bool) -> None:
    """Every field of it, `bound_now` too; one session, one exchange, one call to WeChat."""
    request: dict[str, Any] = {"request_id": server.new_request_id()}
    if silent:
        user = bound(server)
    else:
        user = server.new_user()
        server.add_account("zhangsan", PASSWORD)
        request |= {"username": "zhangsan", "password": PASSWORD}
    asked = exchanges_of(server, user)
    request["code"] = server.code(user)
    first = server.login(**request)
    assert first.bound_now is not silent
    for _ in range(3):
        assert server.login(**request) == first
    assert sessions(server) == 1
    assert server.rows("SELECT settled, session_key FROM exchanges") == [
        ("LOGGED_IN" if silent else "BOUND_AND_LOGGED_IN", None)
    ]
    assert exchanges_of(server, user) == asked + 1
    assert [event for event, _ in server.events()].count("LOGIN") == 1
    assert server.validate(first.session_id).account.username == "zhangsan"


def test_a_retry_after_the_answer_is_not_verified_again(server: RunningServer) -> None:
    """Nothing that the password gave is kept, so whoever has code and request_id gets it."""
    user, request_id = server.new_user(), server.new_request_id()
    server.add_account("zhangsan", PASSWORD)
    code = server.code(user)
    request = {"code": code, "request_id": request_id, "username": "zhangsan"}
    first = server.login(**request, password=PASSWORD)
    assert server.login(**request, password=WRONG) == first
    assert [event for event, _ in server.events()] == ["BOUND", "LOGIN"]


@pytest.mark.parametrize(("passed_ms", "in_time"), [(60_000, True), (60_001, False)])
def test_a_retry_has_a_minute(
    timed: RunningServer, clock: FakeClock, passed_ms: int, in_time: bool
) -> None:
    user = bound(timed)
    request = {"code": timed.code(user), "request_id": timed.new_request_id()}
    first = timed.login(**request)
    asked = exchanges_of(timed, user)
    clock.ms += passed_ms
    if in_time:
        assert timed.login(**request) == first
    else:
        assert refused(lambda: timed.login(**request)).reason == "CODE_USED"
    assert sessions(timed) == 1
    assert exchanges_of(timed, user) == asked
    assert replays(timed) == [], "it is the same caller"


def test_a_retry_after_the_session_has_ended(server: RunningServer) -> None:
    """No second session comes of the request, and no dead one is handed out."""
    request = {"code": server.code(bound(server)), "request_id": server.new_request_id()}
    first = server.login(**request)
    server.stub.Logout(LogoutRequest(session_id=first.session_id), timeout=10)
    assert refused(lambda: server.login(**request)).reason == "CODE_USED"
    assert sessions(server) == 1


def test_a_retry_after_the_session_has_expired(serve: Serve, clock: FakeClock) -> None:
    server = serve(session_idle_s=60)
    request = {"code": server.code(bound(server)), "request_id": server.new_request_id()}
    server.login(**request)
    clock.ms += 60_000
    assert refused(lambda: server.login(**request)).reason == "CODE_USED"


# --- Verdicts ------------------------------------------------------------------


def wrong_password(server: RunningServer) -> tuple[str, dict[str, Any], dict[str, Any]]:
    server.add_account("zhangsan", PASSWORD)
    pair = {"username": "zhangsan", "password": WRONG}
    return server.new_user(), pair, pair | {"password": PASSWORD}


def openid_taken(server: RunningServer) -> tuple[str, dict[str, Any], dict[str, Any]]:
    user = bound(server)
    server.add_account("lisi", PASSWORD)
    pair = {"username": "lisi", "password": PASSWORD}
    return user, pair, pair | {"rebind": True}


def account_taken(server: RunningServer) -> tuple[str, dict[str, Any], dict[str, Any]]:
    bound(server)
    pair = {"username": "zhangsan", "password": PASSWORD}
    return server.new_user(), pair, pair | {"rebind": True}


def unbound(server: RunningServer) -> tuple[str, dict[str, Any], dict[str, Any]]:
    server.add_account("zhangsan", PASSWORD)
    return server.new_user(), {}, {"username": "zhangsan", "password": PASSWORD}


def disabled(server: RunningServer) -> tuple[str, dict[str, Any], dict[str, Any]]:
    user = bound(server)
    server.accounts.disable("id-zhangsan")
    return user, {}, {}


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (wrong_password, "CREDENTIALS_INVALID"),
        (openid_taken, "OPENID_ALREADY_BOUND"),
        (account_taken, "ACCOUNT_ALREADY_BOUND"),
        (unbound, "BINDING_REQUIRED"),
        (disabled, "ACCOUNT_DISABLED"),
    ],
)
def test_a_verdict_is_final_for_the_code(
    server: RunningServer,
    case: Callable[[RunningServer], tuple[str, dict[str, Any], dict[str, Any]]],
    reason: str,
) -> None:
    """Also for the same request, and also for one that would be right now."""
    user, refused_fields, mended = case(server)
    asked = exchanges_of(server, user)
    request = {"code": server.code(user), "request_id": server.new_request_id()}
    bindings = server.rows("SELECT * FROM bindings")

    assert refused(lambda: server.login(**request, **refused_fields)).reason == reason
    assert server.rows("SELECT settled, session_key, session_key_id FROM exchanges") == [
        (reason, None, None)
    ]
    audited = server.events()
    if reason == "ACCOUNT_DISABLED":
        server.accounts.enable("id-zhangsan")
        audited = server.events()
    for fields in (refused_fields, mended):
        assert refused(lambda fields=fields: server.login(**request, **fields)).reason == (
            "CODE_USED"
        )
    assert server.events() == audited, "nothing was decided, so nothing was verified"
    assert exchanges_of(server, user) == asked + 1
    assert server.rows("SELECT * FROM bindings") == bindings
    assert sessions(server) == 0


def test_a_wechat_refusal_is_no_verdict_of_ours(server: RunningServer) -> None:
    """The code was not spent, so it is asked about again."""
    user = bound(server)
    request = {"code": server.code(user), "request_id": server.new_request_id()}
    server.sandbox.block(user)
    for _ in range(2):
        assert refused(lambda: server.login(**request)).reason == "WECHAT_USER_BLOCKED"
    server.sandbox.block(user, blocked=False)
    server.login(**request)


# --- Somebody else's request ---------------------------------------------------


@pytest.mark.parametrize("first_had_one", [True, False])
@pytest.mark.parametrize("second_has_one", [True, False])
def test_another_caller_with_the_code(
    server: RunningServer, first_had_one: bool, second_has_one: bool
) -> None:
    """CODE_USED, and an audit event that names whose code it was; the session goes on."""
    user = bound(server)
    code = server.code(user)
    asked = exchanges_of(server, user)
    first = server.login(code=code, request_id=server.new_request_id() if first_had_one else "")
    openid = server.validate(first.session_id).openid
    request_id = server.new_request_id() if second_has_one else ""
    refusal = refused(
        lambda: server.login(code=code, request_id=request_id, client={"address": "192.0.2.7"})
    )
    assert (refusal.reason, refusal.metadata) == ("CODE_USED", {})
    assert server.rows(
        "SELECT app_id, openid, client_address FROM audit_events WHERE event = 'CODE_REPLAYED'"
    ) == [(DEMO_APP_ID, openid, "192.0.2.7")]
    assert exchanges_of(server, user) == asked + 1
    assert sessions(server) == 1
    server.validate(first.session_id)


def test_another_caller_with_the_code_of_a_verdict(server: RunningServer) -> None:
    code = server.code(server.new_user())
    refused(lambda: server.login(code=code, request_id=server.new_request_id()))
    refused(lambda: server.login(code=code, request_id=server.new_request_id()))
    [(openid,)] = replays(server)
    assert openid.startswith("o")


def test_a_code_that_was_spent_elsewhere(server: RunningServer) -> None:
    """There is no row of ours: it is WeChat who says so, and nothing is known of a replay."""
    user = server.new_user()
    session_id = server.login(code=server.code(server.bound())).session_id
    code = server.code(user)
    refused(lambda: server.stub.Unbind(UnbindRequest(session_id=session_id, code=code), timeout=9))
    request = {"code": code, "request_id": server.new_request_id()}
    assert refused(lambda: server.login(**request)).reason == "CODE_USED"
    assert replays(server) == []


# --- Going on after a failure --------------------------------------------------


def test_going_on_after_the_store_failed(server: RunningServer) -> None:
    """Nothing of the exchange was stored: what WeChat said waits in memory."""
    user = bound(server)
    request = {"code": server.code(user), "request_id": server.new_request_id()}
    asked = exchanges_of(server, user)
    with held_writer(server):
        refusal = refused(lambda: server.login(**request))
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.UNAVAILABLE,
        "STORE_UNAVAILABLE",
    )
    assert server.rows("SELECT * FROM exchanges") == []
    other = refused(lambda: server.login(code=request["code"], request_id=server.new_request_id()))
    assert other.reason == "CODE_USED"
    first = server.login(**request)
    assert server.login(**request) == first
    assert exchanges_of(server, user) == asked + 1
    assert sessions(server) == 1
    assert len(replays(server)) == 1


def test_going_on_with_credentials_after_the_store_failed(server: RunningServer) -> None:
    user = server.new_user()
    server.add_account("zhangsan", PASSWORD)
    request = {
        "code": server.code(user),
        "request_id": server.new_request_id(),
        "username": "zhangsan",
        "password": PASSWORD,
    }
    with held_writer(server):
        assert refused(lambda: server.login(**request)).reason == "STORE_UNAVAILABLE"
    assert server.login(**request).bound_now
    assert exchanges_of(server, user) == 1


def test_what_wechat_said_is_kept_in_memory_for_a_minute(
    timed: RunningServer, clock: FakeClock
) -> None:
    """Then the login is over, as it would be with a row."""
    user = bound(timed)
    request = {"code": timed.code(user), "request_id": timed.new_request_id()}
    with held_writer(timed):
        refused(lambda: timed.login(**request))
    clock.ms += 60_001
    assert refused(lambda: timed.login(**request)).reason == "CODE_USED"
    assert sessions(timed) == 0


def test_overloaded_before_the_code_is_spent(server: RunningServer) -> None:
    user = server.new_user()
    server.add_account("zhangsan", PASSWORD)
    request = {
        "code": server.code(user),
        "request_id": server.new_request_id(),
        "username": "zhangsan",
        "password": PASSWORD,
    }
    with full_password_pool(server):
        assert refused(lambda: server.login(**request)).reason == "OVERLOADED"
        assert exchanges_of(server, user) == 0
    assert server.login(**request).bound_now


def test_going_on_after_overloaded_at_the_password_pool(server: RunningServer) -> None:
    """The pool filled up while the code was exchanged: the row waits, with its session_key."""
    user = server.new_user()
    server.add_account("zhangsan", PASSWORD)
    request = LoginRequest(
        code=server.code(user),
        request_id=server.new_request_id(),
        username="zhangsan",
        password=PASSWORD,
    )
    with ExitStack() as pool_filled:
        with held_writer(server):
            waiting = server.stub.Login.future(request, timeout=10)
            wait_until(lambda: exchanges_of(server, user) == 1)
            pool_filled.enter_context(full_password_pool(server))
        assert refused(waiting.result).reason == "OVERLOADED"
    [(settled, session_key)] = server.rows("SELECT settled, session_key FROM exchanges")
    assert settled is None
    assert session_key
    answer = server.stub.Login(request, timeout=10)
    CANARY.keep(answer.session_id)
    assert answer.bound_now
    assert exchanges_of(server, user) == 1
    assert server.rows("SELECT settled, session_key FROM exchanges") == [
        ("BOUND_AND_LOGGED_IN", None)
    ]


# --- At the same time ----------------------------------------------------------


def at_once(server: RunningServer, requests: list[LoginRequest]) -> list[LoginResponse | str]:
    """What becomes of requests that are sent together: the answer, or the reason."""
    together = threading.Barrier(len(requests))

    def send(request: LoginRequest) -> LoginResponse | str:
        together.wait(10)
        try:
            answer = server.stub.Login(request, timeout=10)
        except grpc.RpcError as error:
            return read_refusal(error).reason
        CANARY.keep(answer.session_id)
        return answer

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(send, requests))


@pytest.mark.parametrize("silent", [True, False])
def test_callers_in_flight_share_one_answer(server: RunningServer, silent: bool) -> None:
    request = LoginRequest(request_id=server.new_request_id())
    if silent:
        user = bound(server)
    else:
        user = server.new_user()
        server.add_account("zhangsan", PASSWORD)
        request.username, request.password = "zhangsan", PASSWORD
    asked = exchanges_of(server, user)
    request.code = server.code(user)
    answers = at_once(server, [request] * 20)
    assert answers == [answers[0]] * 20
    assert isinstance(answers[0], LoginResponse)
    assert answers[0].bound_now is not silent
    assert sessions(server) == 1
    assert exchanges_of(server, user) == asked + 1


def test_callers_in_flight_with_requests_of_their_own(server: RunningServer) -> None:
    """One is first; the others hear CODE_USED, whoever they are."""
    user = bound(server)
    code = server.code(user)
    asked = exchanges_of(server, user)
    answers = at_once(
        server,
        [LoginRequest(code=code, request_id=server.new_request_id()) for _ in range(8)]
        + [LoginRequest(code=code)] * 4,
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["LoginResponse"] + ["str"] * 11
    assert {answer for answer in answers if isinstance(answer, str)} == {"CODE_USED"}
    assert sessions(server) == 1
    assert exchanges_of(server, user) == asked + 1
    assert len(replays(server)) == 11


@pytest.mark.parametrize(
    "other",
    [{"password": WRONG}, {"username": "lisi"}, {"rebind": True}, {"username": "", "password": ""}],
    ids=["password", "username", "rebind", "silent"],
)
def test_an_equal_request_id_does_not_share_with_other_credentials(
    server: RunningServer, other: dict[str, Any]
) -> None:
    """While the first one is in flight nobody can tell what will come of it."""
    user = server.new_user()
    server.add_account("zhangsan", PASSWORD)
    fields = {
        "code": server.code(user),
        "request_id": server.new_request_id(),
        "username": "zhangsan",
        "password": PASSWORD,
    }
    with held_writer(server):
        first = server.stub.Login.future(LoginRequest(**fields), timeout=10)
        wait_until(lambda: exchanges_of(server, user) == 1)
        second = server.stub.Login.future(LoginRequest(**fields | other), timeout=10)
        arrived(server)
    assert refused(second.result).reason == "CODE_USED"
    assert first.result().bound_now
    assert exchanges_of(server, user) == 1
    assert sessions(server) == 1


def arrived(server: RunningServer) -> None:
    """Come back when the server has begun with all that was sent before."""
    refused(lambda: server.stub.ValidateSession(ValidateSessionRequest(session_id="x"), timeout=9))


def test_a_caller_who_gives_up_does_not_end_it_for_the_others(server: RunningServer) -> None:
    user = bound(server)
    asked = exchanges_of(server, user)
    request = LoginRequest(code=server.code(user), request_id=server.new_request_id())
    with held_writer(server):
        first = server.stub.Login.future(request, timeout=10)
        wait_until(lambda: exchanges_of(server, user) == asked + 1)
        second = server.stub.Login.future(request, timeout=10)
        arrived(server)
        assert first.cancel()
        arrived(server)
    answer = second.result()
    CANARY.keep(answer.session_id)
    server.validate(answer.session_id)
    assert sessions(server) == 1
    assert exchanges_of(server, user) == asked + 1


def test_a_login_goes_on_when_its_only_caller_gives_up(server: RunningServer) -> None:
    """The code is spent; who asks again finds the session that came of it."""
    user = bound(server)
    request = LoginRequest(code=server.code(user), request_id=server.new_request_id())
    asked = exchanges_of(server, user)
    with held_writer(server):
        first = server.stub.Login.future(request, timeout=10)
        wait_until(lambda: exchanges_of(server, user) == asked + 1)
        assert first.cancel()
        arrived(server)
    wait_until(lambda: sessions(server) == 1)
    answer = server.stub.Login(request, timeout=10)
    CANARY.keep(answer.session_id)
    assert not answer.bound_now
    server.validate(answer.session_id)
    assert sessions(server) == 1
    assert exchanges_of(server, user) == asked + 1


# --- What is kept --------------------------------------------------------------


def test_the_session_id_is_derived_from_the_request(server: RunningServer) -> None:
    """HMAC-SHA-256 with the row's salt; without the code or the request_id it is nothing."""
    code, request_id = server.code(bound(server)), server.new_request_id()
    session_id = server.login(code=code, request_id=request_id).session_id
    [(salt, code_digest, request_digest)] = server.rows(
        "SELECT salt, code_digest, request_digest FROM exchanges"
    )
    assert len(salt) == 32
    text = f"{DEMO_APP_ID}\0{code}\0{request_id}".encode()
    assert encode_session_id(hmac.new(salt, text, hashlib.sha256).digest()) == session_id
    assert code_digest == hashlib.sha256(code.encode()).digest()
    assert request_digest == hashlib.sha256(request_id.encode()).digest()


def test_without_a_request_id_the_session_id_is_random(server: RunningServer) -> None:
    user = bound(server)
    code = server.code(user)
    session_id = server.login(code=code).session_id
    [(salt, request_digest)] = server.rows("SELECT salt, request_digest FROM exchanges")
    assert request_digest is None
    text = f"{DEMO_APP_ID}\0{code}\0".encode()
    assert encode_session_id(hmac.new(salt, text, hashlib.sha256).digest()) != session_id


def test_the_database_holds_no_secret_of_a_login(server: RunningServer) -> None:
    """Searched byte by byte, with what SQLite keeps beside it; a thief of it learns nothing."""
    server.add_account("zhangsan", PASSWORD)
    user = server.new_user()
    secrets: list[str] = []
    for fields in ({"username": "zhangsan", "password": PASSWORD}, {}):
        code, request_id = server.code(user), server.new_request_id()
        answer = server.login(code=code, request_id=request_id, **fields)
        secrets += [code, request_id, answer.session_id, answer.session_id[4:-6], PASSWORD]
    refused_code, refused_id = server.code(server.new_user()), server.new_request_id()
    refused(lambda: server.login(code=refused_code, request_id=refused_id))
    secrets += [refused_code, refused_id]
    files = sorted(server.configuration.store.directory.glob(f"{DATABASE_NAME}*"))
    assert len(files) > 1, "the write-ahead log is there"
    content = b"".join(path.read_bytes() for path in files)
    assert b"zhangsan" in content, "the search finds what is there"
    for secret in secrets:
        assert secret.encode() not in content


def test_exchanges_are_gone_after_five_minutes(timed: RunningServer, clock: FakeClock) -> None:
    """To the millisecond, verdicts and those without a request_id too."""
    user = bound(timed)
    timed.login(code=timed.code(user), request_id=timed.new_request_id())
    timed.login(code=timed.code(user))
    refused(lambda: timed.login(code=timed.code(timed.new_user())))
    clock.ms += 300_000
    timed.login(code=timed.code(user))
    timed.erase()
    assert timed.rows("SELECT COUNT(*) FROM exchanges") == [(4,)]
    clock.ms += 1
    timed.erase()
    assert timed.rows("SELECT COUNT(*) FROM exchanges") == [(1,)]


def test_a_code_that_was_forgotten_is_for_wechat_to_refuse(
    timed: RunningServer, clock: FakeClock
) -> None:
    user = bound(timed)
    request = {"code": timed.code(user), "request_id": timed.new_request_id()}
    timed.login(**request)
    clock.ms += 300_001
    timed.erase()
    assert refused(lambda: timed.login(**request)).reason == "CODE_USED"
    assert sessions(timed) == 1


def test_one_round_erases_all_that_is_old(timed: RunningServer, clock: FakeClock) -> None:
    """However many logins there were: 400 a second make 12,000 between two rounds."""
    timed.store.write(
        lambda tx: tx.execute(
            """
            WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers
              WHERE n < 12000)
            INSERT INTO exchanges (app_id, code_digest, openid, salt, exchanged_at, settled)
            SELECT 'wx', CAST(n AS BLOB), 'o', x'00', :at, 'LOGGED_IN' FROM numbers
            """,
            {"at": clock.ms - 300_001},
        )
    )
    assert timed.rows("SELECT COUNT(*) FROM exchanges") == [(12_000,)]
    timed.erase()
    assert timed.rows("SELECT COUNT(*) FROM exchanges") == [(0,)]
