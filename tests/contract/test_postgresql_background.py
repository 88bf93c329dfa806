"""What every server does in the background, done by two at once on one PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.contract.store_rows import ABSOLUTE_MS, APP, NOW, OPENID, add_account, bind, digest
from tests.pgserver import PostgresProcess
from wxauth_server.auth.last_seen import LastSeen
from wxauth_server.errors import StoreUnavailable
from wxauth_server.pools import BoundedPool
from wxauth_server.store.exchanges import ExchangeRecord, forget_exchanges, insert_exchange
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.postgresql import PostgreSQLStore
from wxauth_server.store.purge import delete_sessions, next_old_sessions
from wxauth_server.store.sessions import SessionRecord, insert_session, touch_sessions

IN_USE = 100
ROUNDS = 5
_BEGINNING = (-1, b"")


@pytest.fixture(scope="module")
def nodes(store_postgres: PostgresProcess) -> Iterator[tuple[Store, Store]]:
    """Two servers' ways to one database with IN_USE sessions."""
    url = store_postgres.new_url()
    stores = PostgreSQLStore(url, connections=4), PostgreSQLStore(url, connections=4)
    add_account(stores[0])
    bind(stores[0])
    start(stores[0], IN_USE)
    yield stores
    for store in stores:
        store.close()


def start(store: Store, number: int) -> list[bytes]:
    sessions = [
        SessionRecord.beginning(
            digest=digest(name), handle=str(name), app_id=APP, openid=OPENID,
            account=("local", "1"), username=None, display_name=None, unionid=None, now_ms=NOW,
        )
        for name in range(number)
    ]  # fmt: skip
    store.write(lambda tx: [insert_session(tx, session) for session in sessions])
    return [session.digest for session in sessions]


def at_once(*works: Callable[[], object]) -> None:
    """Run all of them at the same time; raises what one of them raises."""
    ready = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        ready.wait()
        work()

    with ThreadPoolExecutor(len(works)) as pool:
        for future in [pool.submit(run, work) for work in works]:
            future.result()


def deadlocks(server: PostgresProcess) -> int:
    return (server.directory / "log").read_bytes().count(b"deadlock detected")


def test_last_uses_of_the_same_sessions(
    nodes: tuple[Store, Store], store_postgres: PostgresProcess
) -> None:
    """Noted in opposite orders, as by users who go from one server to the other."""
    digests = [digest(name) for name in range(IN_USE)]

    async def flush(store: Store, order: list[bytes], seen_at_ms: int) -> None:
        pool = BoundedPool("writer", threads=1, capacity=8)
        last_seen = LastSeen(store, pool)
        for one in order:
            last_seen.note(one, seen_at_ms=seen_at_ms, idle_ms=ABSOLUTE_MS)
        await last_seen.flush()
        assert not last_seen._due  # nothing has failed
        await pool.close()

    before = deadlocks(store_postgres)
    for number in range(ROUNDS):
        seen_at = NOW + 10 * number
        at_once(
            partial(asyncio.run, flush(nodes[0], digests, seen_at + 1)),
            partial(asyncio.run, flush(nodes[1], digests[::-1], seen_at + 2)),
        )
    assert deadlocks(store_postgres) == before


def test_without_the_order_they_wait_in_a_circle(
    nodes: tuple[Store, Store], store_postgres: PostgresProcess
) -> None:
    """The control of the test above."""
    first, last = digest(0), digest(IN_USE - 1)
    both_hold_one = threading.Barrier(2)
    before = deadlocks(store_postgres)

    def touch(store: Store, order: list[bytes], seen_at_ms: int) -> None:
        runs = 0

        def work(tx: Transaction) -> None:
            nonlocal runs
            runs += 1
            touch_sessions(tx, [(order[0], seen_at_ms, ABSOLUTE_MS)])
            if runs == 1:
                both_hold_one.wait()
            touch_sessions(tx, [(order[1], seen_at_ms, ABSOLUTE_MS)])

        # It takes a second to be found, which may be all the time that there is.
        with contextlib.suppress(StoreUnavailable):
            store.write(work)

    at_once(
        lambda: touch(nodes[0], [first, last], NOW + 1001),
        lambda: touch(nodes[1], [last, first], NOW + 1002),
    )
    assert deadlocks(store_postgres) == before + 1


def test_two_purge_the_same_rows(nodes: tuple[Store, Store]) -> None:
    """Each row is deleted by one of them, and neither fails."""
    exchanges = [
        ExchangeRecord(APP, digest(n), None, OPENID, None, None, None, b"salt", NOW, "LOGGED_IN")
        for n in range(200)
    ]
    nodes[0].write(lambda tx: [insert_exchange(tx, one) for one in exchanges])
    forgotten, deleted = [0, 0], [0, 0]

    def purge(node: int) -> None:
        store = nodes[node]
        while rows := store.write(lambda tx: forget_exchanges(tx, before_ms=NOW + 1, limit=50)):
            forgotten[node] += rows
        after = _BEGINNING
        while page := store.read(
            partial(next_old_sessions, after=after, before_ms=NOW + 1, limit=20)
        ):
            dead = [(old.digest, NOW + 1) for old in page]
            deleted[node] += store.write(partial(delete_sessions, dead=dead))
            after = (page[-1].login_at, page[-1].digest)

    at_once(lambda: purge(0), lambda: purge(1))
    assert (sum(forgotten), sum(deleted)) == (200, IN_USE)
