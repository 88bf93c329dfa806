"""The embedded engine: the suite of every store, and what SQLite alone promises."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.contract.store_rows import add_account, bind, digest, start
from tests.contract.store_suite import StoreSuite
from wxauth_server.errors import StoreUnavailable
from wxauth_server.store import schema
from wxauth_server.store.accounts import list_accounts
from wxauth_server.store.interface import StoreTooNew, StoreUnusable, Transaction
from wxauth_server.store.keys import keys_in_use, note_key_in_use
from wxauth_server.store.migrations import MIGRATIONS, Migration
from wxauth_server.store.schema import CODE_VERSION, migrate
from wxauth_server.store.sqlite import (
    BUSY_TIMEOUT_MS,
    DATABASE_NAME,
    SQLiteStore,
    SQLiteTransaction,
)

OpenStore = Callable[[], SQLiteStore]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def open_store(directory: Path) -> Iterator[OpenStore]:
    opened: list[SQLiteStore] = []

    def open_one() -> SQLiteStore:
        opened.append(SQLiteStore(directory))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> SQLiteStore:
    return open_store()


class TestSQLiteStore(StoreSuite):
    """SQLite keeps every promise."""

    @pytest.fixture
    def open_store(self, open_store: OpenStore) -> OpenStore:
        return open_store


def raw(directory: Path) -> closing[sqlite3.Connection]:
    """The file as somebody else's program opens it."""
    return closing(sqlite3.connect(directory / DATABASE_NAME, isolation_level=None))


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


# --- Opening ------------------------------------------------------------------


def test_nobody_else_can_read_the_files(directory: Path, open_store: OpenStore) -> None:
    """Neither the database nor what SQLite puts beside it, whatever the umask (F22)."""
    before = os.umask(0)
    try:
        store = open_store()
        add_account(store)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"wxauth.db": 0o600, "wxauth.db-wal": 0o600, "wxauth.db-shm": 0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_every_connection_has_every_setting(store: SQLiteStore) -> None:
    """Row 3: SQLite keeps most of them by connection."""
    settings = store.pragmas()
    assert len(settings) == 4, "one writer, three readers"
    for found in settings:
        assert found == {
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "busy_timeout": BUSY_TIMEOUT_MS,
            "trusted_schema": 0,
            "cell_size_check": 1,
            "cache_size": -16_384,
        }


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o660])
def test_a_file_that_others_can_read_is_refused(directory: Path, mode: int) -> None:
    """And left as it is: the operator decides what to do about it."""
    SQLiteStore(directory).close()
    path = directory / DATABASE_NAME
    path.chmod(mode)
    before = content(directory)
    with pytest.raises(StoreUnusable, match=rf"{path} .*mode {mode:04o}.*chmod 600"):
        SQLiteStore(directory)
    assert content(directory) == before


def test_a_file_that_is_no_database_is_refused(directory: Path) -> None:
    """The text names the path and the kind of fault, not what is in the file."""
    directory.mkdir(mode=0o700)
    path = directory / DATABASE_NAME
    path.touch(mode=0o600)
    path.write_bytes(b"TOPSECRET notes of somebody\n" * 400)
    before = content(directory)
    with pytest.raises(StoreUnusable, match=rf"{path} .*SQLITE_NOTADB") as refusal:
        SQLiteStore(directory)
    assert "TOPSECRET" not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert content(directory) == before


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A file is in its place."""
    in_the_way = tmp_path / "data"
    in_the_way.write_text("")
    for directory in (in_the_way, in_the_way / "below"):
        with pytest.raises(StoreUnusable, match=f"data directory {directory} "):
            SQLiteStore(directory)


def test_a_directory_in_the_place_of_the_database(directory: Path) -> None:
    """Refused as everything else is that cannot be opened."""
    (directory / DATABASE_NAME).mkdir(parents=True)
    with pytest.raises(StoreUnusable, match=DATABASE_NAME):
        SQLiteStore(directory)


def test_a_torn_file_is_refused(directory: Path) -> None:
    """A database that was cut short does not open with what is left of it."""
    SQLiteStore(directory).close()
    path = directory / DATABASE_NAME
    path.write_bytes(path.read_bytes()[:5_000])
    with pytest.raises(StoreUnusable, match=DATABASE_NAME):
        SQLiteStore(directory)


# --- Migrations ---------------------------------------------------------------


def test_an_empty_file_is_migrated_once(directory: Path, store: SQLiteStore) -> None:
    """From nothing to the version of the code, and the next start has nothing to do."""
    with raw(directory) as database:
        state = database.execute("SELECT * FROM schema_state").fetchall()
        before = database.execute("SELECT name, sql FROM sqlite_master ORDER BY 1").fetchall()
        assert state == [(1, CODE_VERSION, MIGRATIONS[-1].oldest_compatible)]
        assert store.write(migrate) == 0
        assert database.execute("SELECT name, sql FROM sqlite_master ORDER BY 1").fetchall() == (
            before
        )


def test_migrations_are_in_their_order() -> None:
    """Numbered from 1 without gaps; none is compatible with a version later than itself."""
    assert [m.version for m in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))
    assert all(1 <= m.oldest_compatible <= m.version for m in MIGRATIONS)


def test_a_migration_that_fails_leaves_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All migrations are one transaction."""
    bad = Migration(99, 99, ("CREATE TABLE begun (a INTEGER)", "CREATE NONSENSE"))
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, bad))
    with pytest.raises(StoreUnusable, match=DATABASE_NAME) as refusal:
        SQLiteStore(directory)
    assert "NONSENSE" not in str(refusal.value)
    with raw(directory) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == []


def test_a_database_that_needs_newer_code_is_refused(directory: Path) -> None:
    """Not a byte of it is changed."""
    SQLiteStore(directory).close()
    with raw(directory) as database:
        database.execute(
            "UPDATE schema_state SET version = :v, oldest_compatible = :v", {"v": CODE_VERSION + 1}
        )
    before = content(directory)
    with pytest.raises(StoreTooNew, match=rf"{DATABASE_NAME}: .* schema {CODE_VERSION + 1}"):
        SQLiteStore(directory)
    assert content(directory) == before


def test_a_newer_database_that_this_code_can_live_with_is_served(
    directory: Path, open_store: OpenStore
) -> None:
    """A rollback works: the version is not taken back."""
    SQLiteStore(directory).close()
    with raw(directory) as database:
        database.execute("UPDATE schema_state SET version = 99")
    assert add_account(open_store())
    with raw(directory) as database:
        assert database.execute("SELECT version FROM schema_state").fetchall() == [(99,)]


def test_many_processes_may_start_on_an_empty_directory(directory: Path) -> None:
    """The server and the `wxauth` command at once: one migrates, the others wait."""
    for attempt in range(10):
        place = directory / str(attempt)
        together = threading.Barrier(4)

        def run(place: Path = place, together: threading.Barrier = together) -> None:
            together.wait(10)
            SQLiteStore(place).close()

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(run) for _ in range(4)]:
                done.result(30)


def test_a_start_waits_for_whoever_else_is_starting(directory: Path, open_store: OpenStore) -> None:
    """Turning on the write-ahead log needs the file for itself, and SQLite does not wait."""
    directory.mkdir(mode=0o700)
    (directory / DATABASE_NAME).touch(mode=0o600)
    with raw(directory) as elsewhere, ThreadPoolExecutor(1) as thread:
        elsewhere.execute("CREATE TABLE theirs (a INTEGER)")
        elsewhere.execute("BEGIN IMMEDIATE")
        opening = thread.submit(open_store)
        done, _ = wait([opening], timeout=0.1)
        elsewhere.execute("COMMIT")
        assert add_account(opening.result(10))
        assert not done


# --- Faults -------------------------------------------------------------------


def test_a_write_waits_for_another_process_but_not_for_ever(
    directory: Path, store: SQLiteStore
) -> None:
    """Row 4: StoreUnavailable after the busy timeout; reads go on meanwhile."""
    add_account(store)
    start(store, "a")
    finished = threading.Event()

    def write() -> float:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.write(lambda tx: note_key_in_use(tx, "pepper", "a"))
        finished.set()
        return time.monotonic() - began

    with raw(directory) as elsewhere, ThreadPoolExecutor(1) as thread:
        elsewhere.execute("BEGIN IMMEDIATE")
        waited = thread.submit(write)
        for _ in range(50):
            assert store.read_sessions([digest("a")])
            assert store.read(lambda tx: list_accounts(tx, "local", limit=9))
        assert not finished.is_set()
        assert 1.5 < waited.result(30) < 3.0
        elsewhere.execute("ROLLBACK")
    store.write(lambda tx: note_key_in_use(tx, "pepper", "b"))
    assert store.read(keys_in_use) == [("pepper", "b")]


def test_a_write_goes_on_when_the_other_process_is_done(
    directory: Path, store: SQLiteStore
) -> None:
    """Within the busy timeout nobody notices."""
    with raw(directory) as elsewhere, ThreadPoolExecutor(1) as thread:
        elsewhere.execute("BEGIN IMMEDIATE")
        elsewhere.execute("INSERT INTO keys_in_use (purpose, key_id) VALUES ('pepper', 'theirs')")
        written = thread.submit(store.write, lambda tx: note_key_in_use(tx, "pepper", "ours"))
        elsewhere.execute("COMMIT")
        written.result(30)
    assert store.read(keys_in_use) == [("pepper", "ours"), ("pepper", "theirs")]


@pytest.mark.parametrize("way", ["read", "write", "read_sessions"])
def test_what_the_driver_says_stays_here(
    directory: Path, store: SQLiteStore, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the error nor the log holds SQL, a name or a value: the code's name only."""
    with raw(directory) as elsewhere:
        elsewhere.execute("ALTER TABLE sessions RENAME TO elsewhere")

    def work(tx: Transaction) -> object:
        return tx.execute("SELECT 'TOPSECRET' FROM sessions")

    ways: dict[str, Callable[[], object]] = {
        "read": lambda: store.read(work),
        "write": lambda: store.write(work),
        "read_sessions": lambda: store.read_sessions([digest("a")]),
    }
    with pytest.raises(StoreUnavailable) as refusal:
        ways[way]()
    # Where it came from as a log would print it: asyncio prints what nobody awaited.
    printed = "".join(traceback.format_exception(refusal.value))
    assert "no such table" not in printed
    [record] = [record for record in caplog.records if record.name == "wxauth.store"]
    assert vars(record)["sqlite_error"] == "SQLITE_ERROR"
    assert "sessions" not in repr(vars(record)).replace("read_sessions", "")
    assert "TOPSECRET" not in repr(vars(record))


@pytest.mark.parametrize("way", ["read", "read_sessions"])
def test_a_text_that_is_not_utf_8_is_a_failure_of_the_store(store: SQLiteStore, way: str) -> None:
    """The driver raises this one by itself, without a code; a hand-made import can cause it."""
    add_account(store, username="zhangsan")
    start(store, "a")
    for table in ("accounts", "sessions"):
        spoil = f"UPDATE {table} SET username = CAST(x'ff41' AS TEXT)"
        store.write(partial(SQLiteTransaction.execute, sql=spoil))
    ways: dict[str, Callable[[], object]] = {
        "read": lambda: store.read(lambda tx: list_accounts(tx, "local", limit=9)),
        "read_sessions": lambda: store.read_sessions([digest("a")]),
    }
    with pytest.raises(StoreUnavailable):
        ways[way]()


def test_a_broken_promise_of_our_own_is_no_failure_of_the_store(store: SQLiteStore) -> None:
    """A constraint that our code ran into is a fault of ours and says so."""
    with pytest.raises(sqlite3.IntegrityError):
        bind(store, account=("local", "nobody"))
    with pytest.raises(sqlite3.IntegrityError):
        start(store, "a", account=("local", "nobody"))
    with pytest.raises(sqlite3.ProgrammingError):
        store.read(lambda tx: tx.execute("SELECT :missing", {"other": 1}))


def test_what_was_written_is_in_the_file_after_close(directory: Path) -> None:
    """The write-ahead log is brought home, and the next start finds everything."""
    store = SQLiteStore(directory)
    add_account(store)
    store.close()
    store.close()
    assert [path.name for path in directory.iterdir()] == [DATABASE_NAME]
    with raw(directory) as database:
        assert database.execute("SELECT id FROM accounts").fetchall() == [("1",)]


def test_the_file_is_sound_after_many_writers(directory: Path, open_store: OpenStore) -> None:
    """PRAGMA integrity_check and foreign_key_check find nothing."""
    stores = [open_store() for _ in range(2)]
    add_account(stores[0])

    def run(number: int) -> None:
        for count in range(40):
            start(stores[number % 2], (number, count))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(run, number) for number in range(4)]:
            done.result(60)
    with raw(directory) as database:
        assert database.execute("SELECT COUNT(*) FROM sessions").fetchall() == [(160,)]
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
