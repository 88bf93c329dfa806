"""Transactions that meet: each comes through, or is given up after a bounded number of runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from tests.contract.store_rows import NOW, account_of, add_account
from tests.pgserver import PostgresProcess
from wxauth_server.errors import StoreUnavailable
from wxauth_server.store.interface import Transaction
from wxauth_server.store.postgresql import MOST_RUNS, PostgreSQLStore

THREADS = 8


@pytest.fixture(scope="module")
def url(store_postgres: PostgresProcess) -> str:
    """Of the one database of these tests: to make one for each takes longer."""
    return store_postgres.new_url()


@pytest.fixture(scope="module")
def two_stores(url: str) -> Iterator[list[PostgreSQLStore]]:
    opened = [PostgreSQLStore(url) for _ in range(2)]
    yield opened
    for store in opened:
        store.close()


@pytest.fixture
def stores(
    store_postgres: PostgresProcess, url: str, two_stores: list[PostgreSQLStore]
) -> list[PostgreSQLStore]:
    """The same database, empty, as two servers have it open."""
    store_postgres.empty(url)
    return two_stores


@pytest.fixture
def store(stores: list[PostgreSQLStore]) -> PostgreSQLStore:
    return stores[0]


def update(tx: Transaction, account_id: str) -> None:
    tx.execute("UPDATE accounts SET created_at = created_at + 1 WHERE id = :id", {"id": account_id})


def all_at_once(run: Callable[[int], object]) -> None:
    together = threading.Barrier(THREADS)

    def begin(number: int) -> None:
        together.wait(10)
        run(number)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(begin, range(THREADS)))


@contextmanager
def a_write_elsewhere(url: str, account_id: str) -> Iterator[None]:
    """Somebody else's, to the same row, which is committed when the block ends."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE accounts SET created_at = 7 WHERE id = %s", [account_id])
        yield


def test_a_write_that_another_undoes_is_run_again(store: PostgreSQLStore, url: str) -> None:
    """It sees what the other one wrote."""
    add_account(store)
    seen = []

    def work(tx: Transaction) -> None:
        seen.append(tx.execute("SELECT created_at FROM accounts"))
        if len(seen) == 1:
            with a_write_elsewhere(url, "1"):
                pass
        update(tx, "1")

    store.write(work)
    assert seen == [[(NOW,)], [(7,)]]
    assert account_of(store).created_at == 8


def test_a_write_that_is_always_undone_is_given_up(store: PostgreSQLStore, url: str) -> None:
    """The number of runs has a bound."""
    add_account(store)
    runs = []

    def work(tx: Transaction) -> None:
        runs.append(tx.execute("SELECT 1"))
        with a_write_elsewhere(url, "1"):
            pass
        update(tx, "1")

    with pytest.raises(StoreUnavailable):
        store.write(work)
    assert 1 < len(runs) <= MOST_RUNS


def test_two_writes_that_wait_for_each_other(stores: list[PostgreSQLStore]) -> None:
    """The server ends one of them, which is run again."""
    for account_id in ("a", "b"):
        add_account(stores[0], account_id)
    met = threading.Barrier(2)
    runs = []

    def write(number: int) -> None:
        order = ["a", "b"] if number else ["b", "a"]

        def work(tx: Transaction) -> None:
            runs.append(number)
            update(tx, order[0])
            if len(runs) <= 2:
                met.wait(10)
            update(tx, order[1])

        stores[number].write(work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(2)))
    assert len(runs) == 3
    assert account_of(stores[0], ("local", "a")).created_at == NOW + 2


def test_a_row_that_somebody_else_adds_first(stores: list[PostgreSQLStore]) -> None:
    """The next run sees it; one that breaks a promise of ours is not run for ever."""
    runs: list[bool] = []

    def add(tx: Transaction) -> bool:
        taken = bool(tx.execute("SELECT 1 FROM keys_in_use"))
        runs.append(taken)
        if runs == [False]:
            stores[1].write(lambda other: other.execute(row))
        if not taken:
            tx.execute(row)
        return taken

    def add_always(tx: Transaction) -> None:
        runs.append(True)
        tx.execute(row)

    row = "INSERT INTO keys_in_use (purpose, key_id) VALUES ('seal', 'a')"
    assert stores[0].write(add)
    assert runs == [False, True]
    with pytest.raises(psycopg.errors.UniqueViolation):
        stores[0].write(add_always)
    assert runs == [False, True, True, True]
