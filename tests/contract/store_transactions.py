"""What a transaction of a store is."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.store_rows import (
    APP,
    NOW,
    OPENID,
    account_of,
    add_account,
    bind,
    digest,
    session_of,
    start,
)
from wxauth_server.store.accounts import list_accounts
from wxauth_server.store.bindings import find_binding
from wxauth_server.store.ended_sessions import end_session
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.keys import keys_in_use, note_key_in_use
from wxauth_server.store.sessions import Cause


class Interrupted(BaseException):
    """Something that is not even an Exception."""


class TransactionPromises:
    """What a transaction of a store is."""

    @pytest.mark.parametrize("failure", [ValueError("ours"), Interrupted()])
    def test_a_write_is_all_or_nothing(self, store: Store, failure: BaseException) -> None:
        """What a work did before it raised is undone, and what it raised comes out as it was."""

        def work(tx: Transaction) -> None:
            tx.execute("INSERT INTO keys_in_use (purpose, key_id) VALUES ('pepper', 'a')")
            tx.execute("INSERT INTO keys_in_use (purpose, key_id) VALUES ('pepper', 'b')")
            raise failure

        with pytest.raises(type(failure)) as caught:
            store.write(work)
        assert caught.value is failure
        assert store.read(keys_in_use) == []

    def test_a_store_goes_on_after_a_work_that_raised(self, store: Store) -> None:
        """A failed work, more often than there are connections, leaves nothing behind."""

        def work(tx: Transaction) -> None:
            tx.execute("SELECT 1")
            raise LookupError

        for _ in range(20):
            with pytest.raises(LookupError):
                store.read(work)
            with pytest.raises(LookupError):
                store.write(work)
        assert add_account(store)
        assert account_of(store).id == "1"

    def test_a_work_sees_what_it_wrote(self, store: Store) -> None:
        """Statements of one transaction follow one another."""

        def work(tx: Transaction) -> list[tuple[str, str]]:
            note_key_in_use(tx, "pepper", "a")
            return keys_in_use(tx)

        assert store.write(work) == [("pepper", "a")]

    def test_a_returned_write_is_seen_everywhere(self, store: Store, second: Store) -> None:
        """Once `write` has returned, every read sees it: other threads, other processes."""
        with ThreadPoolExecutor(1) as thread:
            for number in range(20):
                add_account(store, str(number))
                start(store, number, account=("local", str(number)))
                for reader in (store, second):
                    here = reader.read_sessions([digest(number)])
                    there = thread.submit(reader.read_sessions, [digest(number)]).result(10)
                    assert here == there
                    assert list(here) == [digest(number)]
                    assert reader.read(lambda tx: len(list_accounts(tx, "local", limit=99))) == (
                        number + 1
                    )

    def test_a_read_has_one_state_of_the_database(self, store: Store, second: Store) -> None:
        """What is committed while a read goes on does not show in it."""

        def work(tx: Transaction) -> tuple[int, int]:
            before = len(keys_in_use(tx))
            second.write(lambda tx: note_key_in_use(tx, "pepper", "meanwhile"))
            return before, len(keys_in_use(tx))

        assert store.read(work) == (0, 0)
        assert store.read(keys_in_use) == [("pepper", "meanwhile")]

    def test_an_open_write_shows_nowhere_else(self, store: Store) -> None:
        """Nobody sees a transaction before it is committed, and nobody waits for it to read."""
        add_account(store)
        session = start(store, "a")

        def work(tx: Transaction) -> None:
            end_session(tx, session, Cause.LOGOUT, now_ms=NOW)
            assert store.read_sessions([session])[session].ended_at is None
            assert session_of(store, session).ended_at is None

        store.write(work)
        assert store.read_sessions([session])[session].ended_at == NOW

    def test_writes_of_many_threads_lose_nothing(self, store: Store, second: Store) -> None:
        """Read-then-write in one transaction is exact, and none fails (reliability.md F4)."""
        add_account(store)
        threads, each = 4, 60
        together = threading.Barrier(threads)

        def increment(tx: Transaction) -> None:
            [(version,)] = tx.execute("SELECT password_version FROM accounts")
            tx.execute("UPDATE accounts SET password_version = :v", {"v": version + 1})

        def run(number: int) -> None:
            together.wait(10)
            for _ in range(each):
                (store, second)[number % 2].write(increment)

        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(run, number) for number in range(threads)]:
                done.result(60)
        assert account_of(store).password_version == 1 + threads * each

    def test_one_of_many_binds_wins(self, store: Store, second: Store) -> None:
        """However many bind the same WeChat user at once, one does (reliability.md F18)."""
        threads = 8
        for number in range(threads):
            add_account(store, str(number))
        together = threading.Barrier(threads)

        def run(number: int) -> bool:
            together.wait(10)
            return bind((store, second)[number % 2], account=("local", str(number)))

        with ThreadPoolExecutor(threads) as pool:
            outcomes = list(pool.map(run, range(threads)))
        assert sorted(outcomes) == [False] * (threads - 1) + [True]
        bound = store.read(lambda tx: find_binding(tx, APP, OPENID))
        assert bound is not None
        assert bound.account == ("local", str(outcomes.index(True)))
