"""A PostgreSQL that hangs, dies, comes back, or is not the primary any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from typing import TypeVar

import psycopg
import pytest

from tests.contract.stopping_proxy import StoppingProxy, stopping_proxy
from tests.contract.store_rows import add_account, digest, start
from tests.database_server import running
from tests.pgserver import PostgresProcess, create_roles
from wxauth_server.errors import StoreUnavailable
from wxauth_server.store.interface import StoreUnusable, Transaction
from wxauth_server.store.keys import keys_in_use, note_key_in_use
from wxauth_server.store.postgresql import PostgreSQLStore
from wxauth_server.store.postgresql_connection import PATIENCE_S, TimedConnection

T = TypeVar("T")

pytestmark = pytest.mark.alone  # they measure times

#: Longest until a call fails, from the moment that the database hangs (reliability.md row 8b).
FAILED_S = 1.5
#: The same for a validation: 400 ms, and what a busy machine adds.
VALIDATION_FAILED_S = 0.5
#: Until everything works again.
RECOVERED_S = 1.0


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresProcess]:
    """One of our own, since the others' tests want theirs to run."""
    with running(PostgresProcess) as process:
        assert isinstance(process, PostgresProcess)
        create_roles(process)
        yield process


@pytest.fixture(scope="module")
def database(server: PostgresProcess) -> str:
    """The URL of the one database of these tests: to make one for each takes longer."""
    return server.new_url()


@pytest.fixture
def url(server: PostgresProcess, database: str) -> str:
    server.empty(database)
    return database


@pytest.fixture
def store(url: str) -> Iterator[PostgreSQLStore]:
    opened = PostgreSQLStore(url, connections=4)
    add_account(opened)
    start(opened, "a")
    yield opened
    opened.close()


def ways(store: PostgreSQLStore) -> dict[str, Callable[[], object]]:
    return {
        "read": lambda: store.read(keys_in_use),
        "write": lambda: store.write(lambda tx: note_key_in_use(tx, "pepper", "a")),
        "read_sessions": lambda: store.read_sessions([digest("a")]),
    }


def failing_s(call: Callable[[], object]) -> float:
    """How long a call takes to fail."""
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        call()
    return time.monotonic() - began


def all_fail_in_time(store: PostgreSQLStore, *, writes: int = 1) -> None:
    """Each way of the store, all at a time."""
    with ThreadPoolExecutor(writes + 2) as pool:
        calls = {way: pool.submit(failing_s, call) for way, call in ways(store).items()}
        others = [pool.submit(failing_s, ways(store)["write"]) for _ in range(writes - 1)]
        assert calls.pop("read_sessions").result(10) < VALIDATION_FAILED_S
        for call in [*calls.values(), *others]:
            assert call.result(10) < FAILED_S


def all_work_soon(store: PostgreSQLStore) -> None:
    """Each way of the store, however often it fails before."""
    began = time.monotonic()
    for call in ways(store).values():
        until_it_works(call)
    assert time.monotonic() - began < RECOVERED_S


def until_it_works(call: Callable[[], T]) -> T:
    end = time.monotonic() + 10
    while True:
        try:
            return call()
        except StoreUnavailable:
            assert time.monotonic() < end


def test_a_database_that_hangs_holds_nobody(server: PostgresProcess, url: str) -> None:
    """Calls fail in time, those too that find no connection; few connections are tried."""
    with (
        stopping_proxy(server.port) as proxy,
        closing(PostgreSQLStore(proxied(url, server, proxy), connections=4)) as store,
    ):
        store.read(keys_in_use)
        store.read_sessions([digest("a")])
        threads, accepted = threading.active_count(), proxy.accepted
        with server.frozen():
            all_fail_in_time(store)
            # Many more than there are connections, which are new ones.
            all_fail_in_time(store, writes=30)
        # Two threads connect, and one for validations, for 2 s each time.
        assert proxy.accepted - accepted <= 3 * 2
        all_work_soon(store)
        # The proxy has two for each.
        assert threading.active_count() <= threads + 2 * (proxy.accepted - accepted)


def test_without_a_limit_of_our_own_a_call_hangs(
    server: PostgresProcess, store: PostgreSQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: neither statement_timeout nor tcp_user_timeout frees it."""
    monkeypatch.delattr(TimedConnection, "wait")
    with ThreadPoolExecutor(2) as pool:
        with server.frozen():
            calls = [pool.submit(ways(store)[way]) for way in ("write", "read_sessions")]
            done, _ = wait(calls, timeout=FAILED_S + 0.3)
            assert not done
        for call in calls:
            call.result(10)


def test_a_hang_in_the_middle_of_a_long_transaction(
    server: PostgresProcess, store: PostgreSQLStore
) -> None:
    """Its time is counted from the last answer; all of it may take longer."""
    began = hangs_at = time.monotonic()

    def work(tx: Transaction) -> None:
        nonlocal hangs_at
        for _ in range(2):
            tx.execute("SELECT pg_sleep(0.7)")
        hangs_at = time.monotonic()
        with server.frozen():
            tx.execute("SELECT 1")

    with pytest.raises(StoreUnavailable):
        store.write(work)
    assert hangs_at - began > PATIENCE_S
    assert time.monotonic() - hangs_at < FAILED_S


def test_a_server_that_is_started_anew(server: PostgresProcess, store: PostgreSQLStore) -> None:
    """While it is away calls fail; afterwards no connection from before is used."""
    server.crash()
    all_fail_in_time(store)
    server.start()
    all_work_soon(store)
    with ThreadPoolExecutor(4) as pool:
        many_at_once = [store.read] * 40
        list(pool.map(lambda read: read(keys_in_use), many_at_once))
        # Between two calls, so that nobody notices but by the connections that are dead.
        server.crash()
        server.start()
        list(pool.map(lambda read: read(keys_in_use), many_at_once))


@pytest.mark.parametrize("side", ["before", "behind"])
def test_a_hang_at_the_commit(server: PostgresProcess, url: str, side: str) -> None:
    """The write is not run again by itself, since it may have happened; to repeat it is safe."""
    runs = []

    def work(tx: Transaction) -> None:
        runs.append(tx)
        note_key_in_use(tx, "pepper", "a")

    with (
        stopping_proxy(server.port) as proxy,
        closing(PostgreSQLStore(proxied(url, server, proxy))) as store,
    ):
        proxy.loses_commits = side == "before"
        proxy.loses_answers_to_commits = side == "behind"
        assert failing_s(lambda: store.write(work)) < FAILED_S
        assert proxy.has_lost.is_set()
        assert len(runs) == 1
        proxy.loses_commits = proxy.loses_answers_to_commits = False
        there = until_it_works(lambda: store.read(keys_in_use))
        assert there == ([] if side == "before" else [("pepper", "a")])
        store.write(work)
        assert store.read(keys_in_use) == [("pepper", "a")]


def test_a_connection_that_is_lost_before_the_commit(
    server: PostgresProcess, store: PostgreSQLStore
) -> None:
    """Nothing has happened, so the work is run again."""
    backends = []

    def work(tx: Transaction) -> None:
        [(backend,)] = tx.execute("SELECT pg_backend_pid()")
        backends.append(backend)
        if len(backends) == 1:
            server.administer(f"SELECT pg_terminate_backend({backend})")
        note_key_in_use(tx, "pepper", "a")

    store.write(work)
    assert len(set(backends)) == 2


def test_a_primary_that_became_a_standby(
    server: PostgresProcess, store: PostgreSQLStore, url: str
) -> None:
    """Nothing is read from it, neither by a store that was open nor by a new one."""
    signal = server.directory / "data" / "standby.signal"
    server.stop()
    signal.touch()
    try:
        server.start()
        assert failing_s(ways(store)["read_sessions"]) < VALIDATION_FAILED_S
        with pytest.raises(StoreUnusable, match=r"standby, .* primary"):
            PostgreSQLStore(url)
    finally:
        server.stop()
        signal.unlink()
        server.start()
    all_work_soon(store)


def test_a_lock_that_nobody_lets_go_of(url: str, store: PostgreSQLStore) -> None:
    """A migration, say: who waits for it is told in time, and keeps the connection."""
    with psycopg.connect(url) as elsewhere:
        elsewhere.execute("LOCK TABLE sessions, keys_in_use")
        all_fail_in_time(store)
    for call in ways(store).values():
        call()


def proxied(url: str, server: PostgresProcess, proxy: StoppingProxy) -> str:
    return url.replace(f":{server.port}/", f":{proxy.port}/")
