"""The purge: each kind of row goes when its time is over, a little at a time, and not before."""

from __future__ import annotations

import logging
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.rpc.conftest import Serve
from tests.rpc.leaving import DAY_MS, PASSWORD, count, purge
from tests.running_server import FakeClock, RunningServer, refused
from wxauth.v1.auth_service_pb2 import LogoutRequest
from wxauth_server.auth.purge import ROWS_AT_ONCE
from wxauth_server.config import DEMO_APP_ID
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import SessionRecord, insert_session


def start_sessions(
    server: RunningServer, login_ms: int, number: int = 1, app_id: str = DEMO_APP_ID
) -> None:
    """Sessions of the first account, as if they had begun then."""

    def start(tx: Transaction) -> None:
        for _ in range(number):
            session = SessionRecord.beginning(
                digest=secrets.token_bytes(32),
                handle=secrets.token_urlsafe(16),
                app_id=app_id,
                openid="oOld",
                account=("local", "id-zhangsan"),
                now_ms=login_ms,
            )
            assert insert_session(tx, session)

    server.store.write(start)


@pytest.mark.parametrize("end", ["expired", "logged out", "in use till the end"])
def test_dead_sessions_stay_a_week(serve: Serve, clock: FakeClock, end: str) -> None:
    """After the absolute limit, to the second: till then their clients are told why."""
    server = serve(session_idle_s=3600, session_absolute_s=7200)
    user = server.bound()
    session_id = server.login(code=server.code(user)).session_id
    if end == "logged out":
        server.stub.Logout(LogoutRequest(session_id=session_id), timeout=10)
    if end == "in use till the end":
        server.store.write(
            lambda tx: tx.execute(
                "UPDATE sessions SET last_seen_at = :at", {"at": clock.ms + 7_199_999}
            )
        )
    clock.ms += 7_200_000 + 7 * DAY_MS
    purge(server)
    reason = refused(lambda: server.validate(session_id)).reason
    assert reason == ("SESSION_REVOKED" if end == "logged out" else "SESSION_EXPIRED")
    clock.ms += 1_000
    purge(server)
    assert refused(lambda: server.validate(session_id)).reason == "SESSION_INVALID"
    assert count(server, "sessions") == 0


def test_each_app_has_its_limit(serve: Serve, clock: FakeClock) -> None:
    """An app that is no longer configured may have had the longest there is."""
    server = serve(session_idle_s=3600, session_absolute_s=7200)
    server.add_account("zhangsan", None)
    gone = "wx00000000000000ff"
    day = 365 * DAY_MS + 7 * DAY_MS
    for app_id, age_ms in (
        (DEMO_APP_ID, 7_200_000 + 7 * DAY_MS),
        (DEMO_APP_ID, 7_200_000 + 7 * DAY_MS + 1),
        (gone, 7_200_000 + 7 * DAY_MS + 1),
        (gone, day),
        (gone, day + 1),
    ):
        start_sessions(server, clock.ms - age_ms, app_id=app_id)
    purge(server)
    assert server.rows("SELECT app_id, login_at FROM sessions ORDER BY login_at") == [
        (gone, clock.ms - day),
        (gone, clock.ms - 7_200_000 - 7 * DAY_MS - 1),
        (DEMO_APP_ID, clock.ms - 7_200_000 - 7 * DAY_MS),
    ]


def test_a_live_session_stays_whatever_is_dead_around_it(
    timed: RunningServer, clock: FakeClock
) -> None:
    """Also while the clock is wrong by days, forward or back."""
    session_id = timed.login(code=timed.code(timed.bound())).session_id
    timed.validate(session_id)
    for wrong_ms in (-400 * DAY_MS, 29 * DAY_MS, 37 * DAY_MS):
        clock.ms += wrong_ms
        purge(timed)
        clock.ms -= wrong_ms
        timed.validate(session_id)


@pytest.mark.parametrize("days", [1, 90])
def test_failed_attempts_are_forgotten(timed: RunningServer, clock: FakeClock, days: int) -> None:
    """Those of a WeChat user after a day, those on a name after ninety."""
    timed.add_account("zhangsan", PASSWORD)
    user = timed.new_user()
    refused(lambda: timed.login(code=timed.code(user), username="zhangsan", password="wrong"))
    before, after = {1: (3, 1), 90: (1, 0)}[days]
    clock.ms += days * DAY_MS - 1_000
    purge(timed)
    assert count(timed, "throttles") == before
    clock.ms += 2_000
    purge(timed)
    assert count(timed, "throttles") == after


def test_audit_events_are_kept_as_long_as_configured(serve: Serve, clock: FakeClock) -> None:
    server = serve(tables={"audit": {"keep_days": 10}})
    user = server.bound()
    old = count(server, "audit_events")
    clock.ms += 10 * DAY_MS - 1_000
    server.login(code=server.code(user))
    purge(server)
    assert count(server, "audit_events") == old + 1
    clock.ms += 2_000
    purge(server)
    assert server.events() == [("LOGIN", None)]


def test_audit_events_may_be_kept_for_ever(serve: Serve, clock: FakeClock) -> None:
    server = serve(tables={"audit": {"keep_days": 0}})
    user = server.bound()
    server.login(code=server.code(user))
    before = server.events()
    clock.ms += 10_000 * DAY_MS
    purge(server)
    assert server.events() == before


def test_the_log_says_how_many(
    timed: RunningServer, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Once for each kind and round, and nothing of what there was nothing of."""
    timed.add_account("zhangsan", None)
    start_sessions(timed, clock.ms - 38 * DAY_MS, ROWS_AT_ONCE + 5)
    start_sessions(timed, clock.ms)
    caplog.set_level(logging.INFO, "wxauth.server")
    purge(timed)
    purge(timed)
    assert [
        (vars(record)["kind"], vars(record)["rows"])
        for record in caplog.records
        if record.getMessage() == "purged"
    ] == [("sessions", ROWS_AT_ONCE + 5)]
    assert count(timed, "sessions") == 1


def test_a_round_is_bounded_and_the_next_one_goes_on(
    serve: Serve, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past rows that stay, too: those of an app with a longer limit are older."""
    server = serve(session_idle_s=3600, session_absolute_s=7200)
    server.add_account("zhangsan", None)
    monkeypatch.setattr("wxauth_server.auth.purge.ROWS_AT_ONCE", 10)
    monkeypatch.setattr("wxauth_server.auth.purge.MOST_AT_ONCE", 3)
    start_sessions(server, clock.ms - 100 * DAY_MS, 25, app_id="wx00000000000000ff")
    start_sessions(server, clock.ms - 8 * DAY_MS, 40)
    left = []
    for _ in range(3):
        purge(server)
        left.append(count(server, "sessions") - 25)
    assert left == [35, 5, 0]
    start_sessions(server, clock.ms - 200 * DAY_MS)
    purge(server)
    assert count(server, "sessions") == 25, "then it begins at the oldest again"


def test_logins_go_on_while_it_purges(timed: RunningServer, clock: FakeClock) -> None:
    """None is refused, and none waits long: the writer is theirs between two batches."""
    user = timed.bound()
    start_sessions(timed, clock.ms - 38 * DAY_MS, 12_000)
    times = []

    def log_in() -> None:
        began = time.monotonic()
        timed.login(code=timed.code(user))
        times.append(time.monotonic() - began)

    with ThreadPoolExecutor(1) as thread:
        purging = thread.submit(purge, timed)
        while not purging.done() and len(times) < 80:
            log_in()
        purging.result()
    assert count(timed, "sessions") == 1 + len(times)
    print(f"{len(times)} logins meanwhile, the longest {max(times) * 1000:.0f} ms")
    assert len(times) > 3
    assert max(times) < 1
