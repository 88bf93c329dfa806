"""What tells of users who left goes, however much it is, and whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.rpc.conftest import Serve
from tests.rpc.leaving import PASSWORD, count, delete, logged_in, purge
from tests.running_server import FakeClock, RunningServer, running_server
from wxauth_server.errors import StoreUnavailable
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.interface import Transaction

#: Audit events that still say who it was.
TELLING = """
    SELECT COUNT(*) FROM audit_events
    WHERE account_id NOT LIKE 'deleted:%' OR openid NOT LIKE 'deleted:%'
      OR session_handle NOT LIKE 'deleted:%' OR client_address NOTNULL
"""


def add_events(server: RunningServer, number: int) -> None:
    """Logins of the one account and WeChat user there are."""
    [(app_id, openid, account_id)] = server.rows("SELECT app_id, openid, account_id FROM bindings")

    def add(tx: Transaction) -> None:
        for _ in range(number):
            record_event(
                tx,
                Event.LOGIN,
                now_ms=server.clock.now_ms(),
                app_id=app_id,
                openid=openid,
                account=("local", account_id),
                session_handle="a" * 22,
                client_address="192.0.2.1",
            )

    server.store.write(add)


def telling(server: RunningServer) -> int:
    [(rows,)] = server.rows(TELLING)
    return int(rows)


@pytest.mark.timeout(300)
def test_thirty_thousand_events_of_one_account(serve: Serve, clock: FakeClock) -> None:
    """The answer does not wait for them, nor do the logins of others."""
    server = serve()
    user = server.bound()
    session_id = logged_in(server, user)
    add_events(server, 30_000)
    other = server.bound("lisi")
    began = time.monotonic()
    delete(server, session_id, code=server.code(user))
    answered_s = time.monotonic() - began
    before = telling(server)
    assert before > 29_000, "the rest is left for later"
    purging = asyncio.run_coroutine_threadsafe(server.server.purger.purge(), server.loop)
    waits: list[float] = []
    while not purging.done() and len(waits) < 50:
        began = time.monotonic()
        logged_in(server, other)
        waits.append(time.monotonic() - began)
    purging.result(200)
    purge(server)
    theirs = server.rows("SELECT COUNT(*) FROM audit_events WHERE account_id = 'id-lisi'")
    assert telling(server) == theirs[0][0]
    print(f"answered in {answered_s:.3f} s, longest of {len(waits)} logins {max(waits):.3f} s")
    assert answered_s < 2
    assert max(waits) < 2
    clock.ms += 60_001
    purge(server)
    assert count(server, "departures") == 0


def test_another_process_goes_on(
    serve: Serve, clock: FakeClock, server_loop: asyncio.AbstractEventLoop
) -> None:
    """As after a crash: what is to be done is in the database."""
    server = serve()
    user = server.bound()
    session_id = logged_in(server, user)
    add_events(server, 1_000)
    delete(server, session_id, code=server.code(user))
    left = telling(server)
    assert left > 500
    with running_server(
        server.configuration.store.directory, server.sandbox, server_loop, clock=clock
    ) as other:
        purge(other)
        assert telling(other) == 0


def test_a_store_that_fails_half_way_loses_nothing(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    user = server.bound()
    session_id = logged_in(server, user)
    add_events(server, 1_000)
    delete(server, session_id, code=server.code(user))
    write = server.store.write
    writes: list[object] = []

    def fails_at_the_third(work: object) -> object:
        writes.append(work)
        if len(writes) == 3:
            raise StoreUnavailable
        return write(work)  # type: ignore[arg-type]

    before = telling(server)
    monkeypatch.setattr(server.store, "write", fails_at_the_third)
    with pytest.raises(StoreUnavailable):
        purge(server)
    assert 0 < telling(server) < before
    purge(server)
    assert telling(server) == 0


def test_an_event_that_comes_late_tells_nothing_either(
    timed: RunningServer, clock: FakeClock
) -> None:
    """Of what was under way when the user left; what happens a minute later is another visit."""
    user = timed.bound()
    session_id = logged_in(timed, user)
    [(app_id, openid, account_id)] = timed.rows("SELECT app_id, openid, account_id FROM bindings")

    def late(at_ms: int) -> None:
        timed.store.write(
            lambda tx: record_event(
                tx,
                Event.LOGIN_REFUSED,
                now_ms=at_ms,
                app_id=app_id,
                openid=openid,
                account=("local", account_id),
            )
        )

    delete(timed, session_id, code=timed.code(user))
    assert telling(timed) == 0
    late(clock.ms)
    clock.ms += 60_000
    purge(timed)
    assert (telling(timed), count(timed, "departures")) == (0, 2)
    late(clock.ms)
    clock.ms += 1
    purge(timed)
    assert (telling(timed), count(timed, "departures")) == (1, 0)


def test_who_was_the_account_before(timed: RunningServer, clock: FakeClock) -> None:
    """A WeChat user who unbound has left with the account, unless they are another by now."""
    former = timed.bound("zhangsan", PASSWORD)
    user = timed.new_user()
    session_id = logged_in(timed, user, username="zhangsan", password=PASSWORD, rebind=True)
    former_openid, openid = (
        row[0] for row in timed.rows("SELECT DISTINCT openid FROM sessions ORDER BY ended_at DESC")
    )
    assert former != user
    timed.store.write(  # without an account: found by the WeChat user alone
        lambda tx: record_event(
            tx,
            Event.CODE_REPLAYED,
            now_ms=clock.ms,
            app_id=timed.validate(session_id).app_id,
            openid=former_openid,
        )
    )
    delete(timed, session_id, code=timed.code(user))
    purge(timed)
    for each in (former_openid, openid):
        assert timed.rows(f"SELECT 1 FROM audit_events WHERE openid = '{each}'") == []
