"""The engine for several servers: a PostgreSQL that they share.

Transactions run at REPEATABLE READ: of two writes that change the same row the
second is undone and run again. An acknowledged write survives a crash of the
server (synchronous_commit). A COMMIT without an answer may have happened.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import psycopg

from wxauth_server.deadline import Deadline
from wxauth_server.errors import StoreUnavailable
from wxauth_server.store.interface import StoreTooNew, StoreUnusable
from wxauth_server.store.postgresql_connection import (
    PATIENCE_S,
    READ_SESSIONS_PATIENCE_S,
    TimedConnection,
)
from wxauth_server.store.postgresql_errors import (
    fault_of_ours,
    is_duplicate,
    is_farewell,
    is_worth_another_run,
    name_of,
)
from wxauth_server.store.postgresql_opening import (
    open_connection,
    place_of,
    require_schema,
)
from wxauth_server.store.postgresql_pool import Pool, borrowed, open_pool
from wxauth_server.store.postgresql_transaction import PostgreSQLTransaction
from wxauth_server.store.revocation_log import run_and_append
from wxauth_server.store.sessions import SESSION_COLUMNS, SessionRecord

T = TypeVar("T")

log = logging.getLogger("wxauth.store")

#: How often a transaction is run that others undo.
MOST_RUNS = 30
#: Pauses before the next run are up to 1 ms, 2 ms, 4 ms and so on to this.
_LONGEST_PAUSE_MS = 20

_BEGIN_READ = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_BEGIN_WRITE = b"BEGIN ISOLATION LEVEL REPEATABLE READ"
_COMMIT = b"COMMIT"
# Who appends to the revocation log has this lock, "wxlog" in ASCII, from before the
# database numbers its entries until its commit can be seen (PostgreSQL lets go of locks
# after that: CommitTransaction in src/backend/access/transam/xact.c). So the order of the
# positions is that of the commits. It is the last lock of every transaction: whoever has
# it waits for nobody.
_HAVE_LOG = b"SELECT pg_advisory_xact_lock(%d)" % 0x77786C6F67

_READ_SESSIONS = (
    f"SELECT {SESSION_COLUMNS} FROM sessions WHERE digest = ANY(%s)"  # noqa: S608 - constants
).encode()


class _Run:
    """How far a transaction has come."""

    def __init__(self) -> None:
        self.is_committing = False

    def is_safe_to_repeat(self, failure: psycopg.Error, *, lost: bool) -> bool:
        """Whether nothing of it has happened, and another run may come through."""
        return is_worth_another_run(failure) or (lost and not self.is_committing)


class PostgreSQLStore:
    """A `Store` in the database of a URL, which `wxauth migrate` has made.

    Has at most `connections` to it, one of them for `read_sessions` alone. A statement
    may take `patience_s` seconds.

    Raises: StoreUnusable when the database cannot be used; StoreTooNew when it needs
    newer code. Neither changes it.
    """

    def __init__(self, url: str, *, connections: int = 10, patience_s: float = PATIENCE_S) -> None:
        if connections < 2:
            raise ValueError("a store has two connections at least")
        _require_usable(url)
        self._patience_s = patience_s
        self._pool = open_pool(url, patience_s, connections - 1)
        self._session_pool = open_pool(url, READ_SESSIONS_PATIENCE_S, 1)

    def read(self, work: Callable[[PostgreSQLTransaction], T]) -> T:
        def read(connection: TimedConnection, run: _Run) -> T:
            connection.execute(_BEGIN_READ, prepare=False)
            outcome = work(PostgreSQLTransaction(connection))
            connection.execute(_COMMIT, prepare=False)
            return outcome

        return _repeated(self._pool, self._patience_s, read)

    def write(self, work: Callable[[PostgreSQLTransaction], T]) -> T:
        def write(connection: TimedConnection, run: _Run) -> T:
            connection.execute(_BEGIN_WRITE, prepare=False)

            def work_and_have_log(tx: PostgreSQLTransaction) -> T:
                outcome = work(tx)
                if tx.revocations:
                    connection.execute(_HAVE_LOG, prepare=False)
                return outcome

            tx = PostgreSQLTransaction(connection)
            outcome = run_and_append(tx, work_and_have_log, is_numbered=True)
            run.is_committing = True
            _commit(connection)
            return outcome

        return _repeated(self._pool, self._patience_s, write)

    def read_sessions(self, digests: Sequence[bytes]) -> Mapping[bytes, SessionRecord]:
        if not digests:
            return {}

        def read(connection: TimedConnection, run: _Run) -> Mapping[bytes, SessionRecord]:
            # One statement is one consistent state without a BEGIN.
            rows = connection.execute(_READ_SESSIONS, [list(digests)], prepare=True, binary=True)
            return {row[0]: SessionRecord._make(row) for row in rows}

        return _repeated(self._session_pool, READ_SESSIONS_PATIENCE_S, read)

    def close(self) -> None:
        self._pool.close()
        self._session_pool.close()


def _require_usable(url: str) -> None:
    connection = open_connection(url)
    failure: Exception
    try:
        require_schema(connection)
    except (StoreUnusable, StoreTooNew) as error:
        failure = type(error)(f"{place_of(url)}: {error}")
    else:
        return
    finally:
        connection.close()
    raise failure


def _repeated(
    pool: Pool,
    patience_s: float,
    attempt: Callable[[TimedConnection, _Run], T],
) -> T:
    """Run a transaction until it comes through. Raises: StoreUnavailable; faults of ours."""
    end = Deadline(patience_s)
    duplicates = 0
    for number in itertools.count(1):
        run = _Run()
        with borrowed(pool, end) as connection:
            try:
                return attempt(connection, run)
            except psycopg.Error as error:
                failure = error
            if is_farewell(failure):
                connection.close()
            lost = connection.closed
        duplicates += is_duplicate(failure)
        is_first_duplicate = is_duplicate(failure) and duplicates == 1
        fault = fault_of_ours(failure)
        if fault is not None and not is_first_duplicate:
            raise fault
        repeat = number < MOST_RUNS and end.left_s() > 0
        if not repeat or not (is_first_duplicate or run.is_safe_to_repeat(failure, lost=lost)):
            break
        if not lost:
            # By chance, so that those who met do not meet again.
            longest_ms = min(2 ** (number - 1), _LONGEST_PAUSE_MS)
            time.sleep(secrets.randbelow(longest_ms * 1000) / 1_000_000)
    log.error("store failed", extra={"postgresql_error": name_of(failure)})
    raise StoreUnavailable


def _commit(connection: TimedConnection) -> None:
    # A server undoes a transaction of which a statement failed, and calls it a success.
    if connection.execute(_COMMIT, prepare=False).statusmessage != "COMMIT":
        raise psycopg.errors.InFailedSqlTransaction("a statement of it has failed")
