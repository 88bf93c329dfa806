"""What a store's revocation log tells, and how one row ends all sessions of an app."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.contract.store_rows import (
    ACCOUNT,
    NOW,
    add_account,
    digest,
    start,
)
from wxauth_server.store.ended_sessions import (
    end_session,
    end_sessions_of_account,
)
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.purge import (
    forget_revocations,
)
from wxauth_server.store.revocation_log import (
    LoggedRevocation,
    Revocation,
    end_of_log,
    read_log,
)
from wxauth_server.store.sessions import Cause


def logged(store: Store, after: int = 0) -> list[LoggedRevocation]:
    return store.read(lambda tx: read_log(tx, after=after, limit=9_999))


def position(store: Store) -> int:
    return store.read(end_of_log).position


def unlogged(store: Store) -> list[str]:
    """The handles of sessions that ended without an entry of the log."""
    rows = store.read(
        lambda tx: tx.execute(
            """
            SELECT handle FROM sessions WHERE ended_at IS NOT NULL AND NOT EXISTS (
              SELECT 1 FROM revocations AS entry
              WHERE entry.digest = sessions.digest
                OR entry.app_id IN (sessions.app_id, '') AND entry.login_by >= sessions.login_at
            )
            """
        )
    )
    return [handle for (handle,) in rows]


def note(tx: Transaction, entry: Revocation) -> None:
    tx.revocations.append(entry)


def read_without_gap(store: Store, known: int) -> int:
    """How far the log goes; all the entries from what is known to there are seen with it."""

    def work(tx: Transaction) -> tuple[int, list[LoggedRevocation]]:
        return end_of_log(tx).position, read_log(tx, after=known, limit=9_999)

    end, entries = store.read(work)
    assert [entry.position for entry in entries] == list(range(known + 1, end + 1))
    return end


class RevocationPromises:
    """What a store's revocation log tells."""

    @pytest.fixture(autouse=True)
    def every_end_is_logged(self, store: Store) -> Iterator[None]:
        """Whatever a test of the suite has ended, the log tells of it."""
        yield
        assert unlogged(store) == []

    def test_an_end_that_is_not_logged_is_noticed(self, store: Store) -> None:
        """By the check that follows every test of the suite."""
        add_account(store)
        key = start(store, "a")
        store.write(lambda tx: tx.execute("UPDATE sessions SET ended_at = 1"))
        assert unlogged(store) == ["a"]
        store.write(lambda tx: tx.revocations.append(Revocation(1, key)))
        assert unlogged(store) == []

    def test_an_end_is_logged_with_it(self, store: Store) -> None:
        """In one transaction, numbered from 1; what ended before is not logged again."""
        add_account(store)
        keys = [start(store, number) for number in range(3)]
        assert (position(store), logged(store)) == (0, [])
        for key in (keys[1], keys[0], keys[1]):
            store.write(partial(end_session, digest=key, cause=Cause.LOGOUT, now_ms=NOW + 1))
        assert logged(store) == [(1, keys[1], None, None), (2, keys[0], None, None)]
        assert position(store) == 2
        assert logged(store, after=1) == [(2, keys[0], None, None)]
        times = store.read(lambda tx: tx.execute("SELECT DISTINCT logged_at FROM revocations"))
        assert list(times) == [(NOW + 1,)]

    def test_what_is_rolled_back_is_not_logged(self, store: Store) -> None:
        """And takes no position; the next transaction begins without what it noted."""
        add_account(store)
        key, other = start(store, "a"), start(store, "b")

        def work(tx: Transaction) -> None:
            end_session(tx, key, Cause.LOGOUT, now_ms=NOW)
            raise LookupError

        with pytest.raises(LookupError):
            store.write(work)
        assert (position(store), logged(store)) == (0, [])
        store.write(lambda tx: end_session(tx, other, Cause.LOGOUT, now_ms=NOW))
        assert logged(store) == [(1, other, None, None)]

    def test_many_ends_of_one_transaction(self, store: Store) -> None:
        """More than one statement appends; the next position follows the last."""
        add_account(store)
        keys = {start(store, number) for number in range(201)}
        ended = store.write(
            lambda tx: end_sessions_of_account(tx, ACCOUNT, Cause.ADMIN, now_ms=NOW)
        )
        entries = logged(store)
        assert (ended, position(store)) == (201, 201)
        assert [entry.position for entry in entries] == list(range(1, 202))
        assert {entry.digest for entry in entries} == keys

    def test_entries_are_forgotten_by_age(self, store: Store) -> None:
        """Not those of a later time, and never the newest, which says how far the log goes."""

        def append(ended_at: int) -> None:
            store.write(lambda tx: tx.revocations.append(Revocation(ended_at, digest("a"))))

        def forget(before_ms: int, limit: int = 9) -> int:
            return store.write(lambda tx: forget_revocations(tx, before_ms=before_ms, limit=limit))

        for ended_at in (NOW, NOW + 2, NOW + 1):
            append(ended_at)
        assert forget(NOW) == 0
        assert forget(NOW + 3, limit=1) == 1
        assert [entry.position for entry in logged(store)] == [2, 3]
        assert forget(NOW + 2) == 0
        assert [entry.position for entry in logged(store)] == [2, 3]
        assert forget(NOW + 9) == 1
        assert [entry.position for entry in logged(store)] == [3]
        append(NOW)
        assert [entry.position for entry in logged(store)] == [3, 4]

    def test_commits_are_in_the_order_of_positions(self, store: Store, second: Store) -> None:
        """Whoever reads on and on under eight writers never misses an entry before another."""
        add_account(store)
        for writer in range(8):
            start(store, writer, now_ms=NOW + writer)
        done = threading.Event()

        def write(writer: int) -> None:
            of_writer = (store, second)[writer % 2]
            for count in range(12):
                entry = Revocation(NOW, digest((writer, count)))
                of_writer.write(partial(note, entry=entry))

        def poll() -> int:
            known = reads = 0
            while not done.is_set():
                known, reads = read_without_gap(second, known), reads + 1
            assert read_without_gap(second, known) == 96
            return reads

        with ThreadPoolExecutor(9) as threads:
            polling = threads.submit(poll)
            try:
                for written in [threads.submit(write, writer) for writer in range(8)]:
                    written.result(60)
            finally:
                done.set()
            assert polling.result(60) > 8
        assert len({entry.digest for entry in logged(store)}) == 96

    def test_a_position_that_is_taken_too_early_leaves_a_gap(self, store: Store) -> None:
        """Which that reader notices: it is why the position is taken last and held."""

        def take(tx: Transaction) -> int:
            [(taken,)] = tx.execute(
                "UPDATE revocation_log SET position = position + 1 RETURNING position"
            )
            return int(taken)

        def append(at: int) -> None:
            store.write(
                lambda tx: tx.execute(
                    "INSERT INTO revocations (position, logged_at) VALUES (:at, 1)", {"at": at}
                )
            )

        early, late = store.write(take), store.write(take)
        append(late)
        with pytest.raises(AssertionError):
            read_without_gap(store, 0)
        append(early)
        assert read_without_gap(store, 0) == late

    def test_a_log_is_of_one_database(self, store: Store, second: Store) -> None:
        """Every connection to it says the same id."""
        [of_store, of_second] = [each.read(end_of_log).database_id for each in (store, second)]
        assert of_store == of_second
        assert len(of_store) == 32
