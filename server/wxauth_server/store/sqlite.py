"""The embedded engine: one SQLite file in WAL mode, one writer, several readers.

Several processes may have the same file open: the server and the `wxauth`
command. An acknowledged write survives a crash of the process and of the
machine (synchronous=FULL; reliability.md rows 1 to 7).
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import sqlite_utils

from wxauth_server.errors import StoreUnavailable
from wxauth_server.store.interface import READ_AT_ONCE, Row, StoreTooNew, StoreUnusable
from wxauth_server.store.revocation_log import Revocation, run_and_append
from wxauth_server.store.schema import migrate
from wxauth_server.store.sessions import SESSION_COLUMNS, STORED_COLUMNS, SessionRecord
from wxauth_server.store.sqlite_errors import name_of
from wxauth_server.store.sqlite_files import make_private_directory, refuse_readable_by_others

T = TypeVar("T")

log = logging.getLogger("wxauth.store")

DATABASE_NAME = "wxauth.db"

#: How long a write waits for one of another process (reliability.md row 3).
BUSY_TIMEOUT_MS = 2_000
#: Page cache of one connection, KiB.
_CACHE_KIB = 16 * 1024
#: Connections for `read`; further readers wait their turn. One more is for
#: `read_sessions` alone.
_READERS = 2

# name -> (value set, value read back). Every connection has them: SQLite keeps
# most of them by connection, and sqlite-utils sets none.
_PRAGMAS: Mapping[str, tuple[str, object]] = {
    "journal_mode": ("wal", "wal"),
    "synchronous": ("FULL", 2),
    "foreign_keys": ("ON", 1),
    "busy_timeout": (str(BUSY_TIMEOUT_MS), BUSY_TIMEOUT_MS),
    "trusted_schema": ("OFF", 0),
    "cell_size_check": ("ON", 1),
    "cache_size": (f"-{_CACHE_KIB}", -_CACHE_KIB),
}


def _read_statements(columns: str) -> Mapping[int, str]:
    # One statement for each power of two, since SQLite keeps prepared ones by their
    # text. The rows come as one JSON text: sqlite3 lets go of the interpreter's lock
    # at every row it steps to, and has to get it back from a busy loop.
    row = columns.replace("digest", "hex(digest)", 1)
    return {
        width: (
            f"SELECT json_group_array(json_array({row})),"  # noqa: S608 - constants
            " EXISTS (SELECT 1 FROM sessions_valid_after)"
            f" FROM sessions WHERE digest IN ({', '.join('?' * width)})"
        )
        for width in (1, 2, 4, 8, 16, 32, READ_AT_ONCE)
    }


_READ_SESSIONS = _read_statements(SESSION_COLUMNS)
# Faster by a tenth, and as true while nothing has ended all sessions of an app: what has
# is forgotten once each row says so, in some minutes.
_READ_STORED = _read_statements(STORED_COLUMNS)


class SQLiteTransaction:
    """The statements of one transaction."""

    def __init__(self, database: sqlite_utils.Database) -> None:
        self._execute = database.execute
        self.revocations: list[Revocation] = []

    def execute(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Row]:
        return self._execute(sql, dict(parameters) if parameters else None).fetchall()


class SQLiteStore:
    """A `Store` in `directory`/wxauth.db, created or migrated as needed.

    Raises: StoreUnusable when the file cannot be opened; StoreTooNew when it
    needs newer code. Neither changes the file.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / DATABASE_NAME
        self._write_lock = threading.Lock()
        self._session_reader_lock = threading.Lock()
        self._idle_readers: queue.LifoQueue[sqlite_utils.Database] = queue.LifoQueue()
        self._connections: list[sqlite_utils.Database] = []
        make_private_directory(directory)
        refuse_readable_by_others(self.path)
        try:
            self._writer = self._connect()
            self._begin_migrate_commit()
            self._session_reader = self._connect().conn
            for _ in range(_READERS):
                self._idle_readers.put(self._connect())
        except (sqlite3.Error, OSError) as error:
            self._close_connections()
            raise StoreUnusable(
                f"{self.path} cannot be opened as a database ({name_of(error)})"
            ) from None
        except (StoreTooNew, StoreUnusable) as error:
            self._close_connections()
            raise type(error)(f"{self.path}: {error}") from None

    def read(self, work: Callable[[SQLiteTransaction], T]) -> T:
        database = self._idle_readers.get()
        try:
            with _transaction(database, "BEGIN"):
                return work(SQLiteTransaction(database))
        finally:
            self._idle_readers.put(database)

    def write(self, work: Callable[[SQLiteTransaction], T]) -> T:
        with self._write_lock, _transaction(self._writer, "BEGIN IMMEDIATE"):
            return run_and_append(SQLiteTransaction(self._writer), work)

    def read_sessions(self, digests: Sequence[bytes]) -> Mapping[bytes, SessionRecord]:
        if not digests:
            return {}
        width = 1 << (len(digests) - 1).bit_length()
        parameters = [*digests, *[digests[-1]] * (width - len(digests))]
        # One statement is one consistent state without a BEGIN.
        with self._session_reader_lock, _failures_as_unavailable():
            read = self._session_reader.execute
            found, apps_ended = read(_READ_STORED[width], parameters).fetchone()
            if apps_ended:
                found, _ = read(_READ_SESSIONS[width], parameters).fetchone()
        records = {}
        for row in json.loads(found):
            digest = row[0] = bytes.fromhex(row[0])
            records[digest] = SessionRecord._make(row)
        return records

    def pragmas(self) -> list[Mapping[str, object]]:
        """The settings of every open connection, read back, for tests and diagnosis."""
        return [_read_back(database) for database in self._connections]

    def close(self) -> None:
        with self._write_lock:
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._close_connections()

    def _connect(self) -> sqlite_utils.Database:
        connection = sqlite3.connect(
            self.path,
            isolation_level=None,  # we say BEGIN ourselves: IMMEDIATE for every write
            check_same_thread=False,  # handed from thread to thread, never shared at a time
            cached_statements=256,
        )
        database = sqlite_utils.Database(connection, execute_plugins=False)
        self._connections.append(database)
        for name, (value, _) in _PRAGMAS.items():
            _set(database, name, value)
        for name, actual in _read_back(database).items():
            if actual != _PRAGMAS[name][1]:
                raise StoreUnusable(f"PRAGMA {name} stays {actual}: this disk is not supported")
        return database

    def _begin_migrate_commit(self) -> None:
        # Not `write`: an error here is not yet a StoreUnavailable.
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            if migrate(SQLiteTransaction(self._writer)):
                self._writer.execute("COMMIT")
            else:
                self._writer.execute("ROLLBACK")
        except BaseException:
            self._writer.execute("ROLLBACK")
            raise

    def _close_connections(self) -> None:
        for database in self._connections:
            database.close()
        self._connections.clear()


@contextlib.contextmanager
def _transaction(database: sqlite_utils.Database, begin: str) -> Iterator[None]:
    """BEGIN … COMMIT, or ROLLBACK on any exception."""
    with _failures_as_unavailable():
        database.execute(begin)
        try:
            yield
            database.execute("COMMIT")
        except BaseException:
            if database.conn.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def _failures_as_unavailable() -> Iterator[None]:
    """What the engine raises as StoreUnavailable; faults of ours as they are."""
    failure: sqlite3.Error | None = None
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.Error as error:
        failure = error
    if failure is not None:
        log.error("store failed", extra={"sqlite_error": name_of(failure)})
        raise StoreUnavailable from None


def _set(database: sqlite_utils.Database, name: str, value: str) -> None:
    # Turning on WAL takes the whole file, and SQLite does not wait for that by
    # itself: two processes that start at once would meet here.
    end = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            database.execute(f"PRAGMA {name} = {value}")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.005)
        else:
            return


def _read_back(database: sqlite_utils.Database) -> dict[str, object]:
    return {name: database.execute(f"PRAGMA {name}").fetchone()[0] for name in _PRAGMAS}
