"""Transactions that end sessions on PostgreSQL: their order in the log, and that of their locks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import psycopg
import pytest

from tests.contract.store_revocations import note, read_without_gap
from tests.contract.store_rows import ACCOUNT, APP, NOW, OPENID, add_account, bind, digest, start
from wxauth_server.revocations import log_reader
from wxauth_server.store import postgresql
from wxauth_server.store.ended_sessions import (
    end_session,
    end_sessions_but,
    end_some_sessions_of_app,
)
from wxauth_server.store.interface import Transaction
from wxauth_server.store.postgresql import PostgreSQLStore
from wxauth_server.store.revocation_log import Revocation, read_log, run_and_append
from wxauth_server.store.sessions import Cause

THREADS = 8
REVOCATION = Revocation(ended_at=NOW, digest=digest("a"))
APPEND = b"INSERT INTO revocations (digest, logged_at) VALUES ('\\x00', 1)"


@pytest.fixture
def url(postgres_url: Callable[[], str]) -> str:
    """Of a database of the test's own: positions begin at 1."""
    return postgres_url()


@pytest.fixture
def store(url: str) -> Iterator[PostgreSQLStore]:
    store = PostgreSQLStore(url)
    yield store
    store.close()


def positions(store: PostgreSQLStore) -> list[int]:
    entries = store.read(lambda tx: read_log(tx, after=0, limit=999))
    return [entry.position for entry in entries]


@contextmanager
def waiting(url: str, write: Callable[[], object]) -> Iterator[None]:
    """A write that waits for a lock while the block runs, and comes through behind it."""
    waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND \
      wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as pool, psycopg.connect(url, autocommit=True) as observer:
        done = pool.submit(write)
        give_up = time.monotonic() + 10
        while not observer.execute(waits).fetchall():
            assert not done.done(), "it did not wait"
            assert time.monotonic() < give_up
        yield
        done.result(10)


def test_many_who_revoke_at_once_all_come_through(
    store: PostgreSQLStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody undoes anybody: each runs once, however many append."""
    runs: list[object] = []

    def revoke(number: int, together: threading.Barrier) -> None:
        together.wait(10)
        for count in range(10):

            def work(tx: Transaction, count: int = count) -> None:
                tx.execute("SELECT 1")
                runs.append((number, count))
                tx.revocations.append(REVOCATION)

            store.write(work)

    def all_revoke() -> None:
        together = threading.Barrier(THREADS)
        runs.clear()
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(partial(revoke, together=together), range(THREADS)))

    all_revoke()
    assert len(runs) == 10 * THREADS
    assert positions(store) == list(range(1, 10 * THREADS + 1))
    # The control: those who take a position from a row do.
    store.write(lambda tx: tx.execute("DELETE FROM revocations"))
    monkeypatch.setattr(
        postgresql, "run_and_append", lambda tx, work, is_numbered: run_and_append(tx, work)
    )
    all_revoke()
    assert len(runs) > 10 * THREADS


@pytest.mark.parametrize("locked", [True, False])
def test_an_entry_waits_for_the_commit_of_the_one_before(
    store: PostgreSQLStore, url: str, monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    """Without the lock, the control, a reader sees the later one and misses the earlier one."""
    revoke = partial(store.write, partial(note, entry=REVOCATION))
    with psycopg.connect(url) as elsewhere:
        if locked:
            elsewhere.execute(postgresql._HAVE_LOG)
            elsewhere.execute(APPEND)
            with waiting(url, revoke):
                assert read_without_gap(store, 0) == 0
                elsewhere.commit()
            assert read_without_gap(store, 0) == 2
        else:
            monkeypatch.setattr(postgresql, "_HAVE_LOG", b"SELECT 1")
            elsewhere.execute(APPEND)
            revoke()
            with pytest.raises(AssertionError):
                read_without_gap(store, 0)
            elsewhere.commit()


def test_a_position_that_was_lost_has_readers_begin_anew(store: PostgreSQLStore, url: str) -> None:
    """It is never seen whether its transaction is undone or still to come."""
    revoke = partial(store.write, partial(note, entry=REVOCATION))
    revoke()
    known = log_reader._read_to_end(store, None).end
    revoke()
    following = log_reader._read_to_end(store, known)
    assert (following.continues, following.end.position) == (True, 2)
    with psycopg.connect(url) as elsewhere:
        elsewhere.execute(APPEND)
        elsewhere.rollback()
    revoke()
    assert positions(store) == [1, 2, 4]
    assert not log_reader._read_to_end(store, following.end).continues
    # Nor does it go on where all that was known is gone.
    store.write(lambda tx: tx.execute("DELETE FROM revocations"))
    emptied = log_reader._read_to_end(store, following.end)
    assert not emptied.continues
    revoke()
    assert positions(store) == [5]
    assert not log_reader._read_to_end(store, emptied.end).continues


ENDS: dict[str, Callable[[Transaction], object]] = {
    "one": lambda tx: end_session(tx, digest(1), Cause.LOGOUT, now_ms=NOW + 1),
    "of an account": lambda tx: end_sessions_but(
        tx, ACCOUNT, Cause.ADMIN, kept_handle=None, now_ms=NOW + 1
    ),
    "of an app": lambda tx: end_some_sessions_of_app(
        tx, APP, Cause.ADMIN, begun_by_ms=NOW + 1, limit=9, now_ms=NOW + 1
    ),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_who_ends_sessions_waits_for_the_binding_first(
    store: PostgreSQLStore, url: str, end: Callable[[Transaction], object]
) -> None:
    """As logins do, which hold it and end sessions then: neither waits for the other's rows."""
    add_account(store)
    bind(store)
    start(store, 1)
    with psycopg.connect(url) as login:
        login.execute("UPDATE bindings SET session_key = '\\x00'")
        login.commit()
        login.execute("UPDATE bindings SET unionid = 'u' WHERE openid = %s", [OPENID])
        with waiting(url, lambda: store.write(end)):
            login.execute("SELECT 1 FROM sessions FOR UPDATE NOWAIT")
            login.commit()
    [(ended_at,)] = store.read(lambda tx: tx.execute("SELECT ended_at FROM sessions"))
    assert ended_at == NOW + 1
