"""PostgreSQL as one of the two databases of a copy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import psycopg
from psycopg import errors

from wxauth_server.store.copy_end import CopyEnd, CopyFailed
from wxauth_server.store.copy_sqlite import newer_schema
from wxauth_server.store.copy_tables import COPIED, LEFT, CopiedTable
from wxauth_server.store.interface import Row, StoreTooNew, StoreUnusable
from wxauth_server.store.postgresql_connection import (
    TimedConnection,
    connection_options,
    quiet_driver,
)
from wxauth_server.store.postgresql_errors import name_of, why_not_connected
from wxauth_server.store.postgresql_opening import admit, place_of, require_schema
from wxauth_server.store.postgresql_statements import with_named_parameters
from wxauth_server.store.schema import CODE_VERSION

T = TypeVar("T")

#: Rows that are fetched at a time: about 2 MB of sessions.
_FETCH_ROWS = 5_000
#: What the connections of a PostgreSQLStore are called.
_SERVERS = "wxauth"
#: How long it waits for others who use the tables.
_LOCK_TIMEOUT_S = 5
#: Longest that nothing is heard from it over the network.
_STILL_S = 120
#: Longest of one statement: it reads or writes a whole table. Ctrl-C ends it before.
_PATIENCE_S = 3_600.0

# What the server, the role and our own connections have set would end a transaction
# of many minutes.
_SETTINGS = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT_S}s'",
)
# Nobody else writes from here on. Who reads may: what is not committed is not there.
_LOCK = f"LOCK TABLE {', '.join([*(table.name for table in COPIED), *LEFT])} IN EXCLUSIVE MODE"


class PostgreSQLEnd:
    """See `CopyEnd`."""

    def __init__(self, connection: TimedConnection, place: str) -> None:
        self._connection = connection
        self.place = place

    def execute(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Row]:
        with _failures(self.place):
            cursor = self._connection.execute(
                with_named_parameters(sql).encode(), dict(parameters or {})
            )
            return cursor.fetchall() if cursor.description else []

    def rows(self, table: CopiedTable) -> Iterator[Row]:
        # By its name it stays at the server, which hands over some rows at a time.
        with (
            _failures(f"{self.place}: {table.name}"),
            self._connection.cursor(name="copied_rows") as cursor,
        ):
            cursor.itersize = _FETCH_ROWS
            cursor.execute(
                f"SELECT {table.column_list} FROM {table.name} ORDER BY {table.key_list}"  # noqa: S608
            )
            yield from cursor

    def insert(self, table: CopiedTable, rows: Iterable[Row]) -> None:
        with _failures(f"{self.place}: {table.name}"):
            with (
                self._connection.cursor() as cursor,
                cursor.copy(f"COPY {table.name} ({table.column_list}) FROM STDIN") as written,
            ):
                for row in rows:
                    written.write_row(row)
            # Otherwise it would plan the first minutes for an empty table.
            self._connection.execute(f"ANALYZE {table.name}")

    def number_after(self, table: CopiedTable, newest: int) -> None:
        self.execute(
            "SELECT setval(pg_get_serial_sequence(:table, :column), :newest, :used)",
            {
                "table": table.name,
                "column": table.key[0],
                "newest": max(newest, 1),
                "used": newest > 0,
            },
        )


def hold_postgresql(url: str, work: Callable[[CopyEnd], T]) -> T:
    """Run `work` on the database of a URL (copy_end.HoldEnd).

    It is kept from all others who write, on whatever machine.
    Raises: CopyFailed.
    """
    place = place_of(url)
    connection = _connect(url, place)
    # Closed without a COMMIT it has changed nothing.
    with contextlib.closing(connection), _failures(place):
        _require_schema(connection, place)
        for statement in ("BEGIN", *_SETTINGS, _LOCK):
            connection.execute(statement.encode())
        _refuse_servers(connection, place)
        result = work(PostgreSQLEnd(connection, place))
        try:
            connection.execute("COMMIT")
        except psycopg.Error:
            raise CopyFailed(
                f"{place}: the connection was lost at the very end, so the copy may be there or "
                "not: wxauth copy with --check tells"
            ) from None
        return result


def _connect(url: str, place: str) -> TimedConnection:
    quiet_driver()
    options = connection_options(url, _PATIENCE_S) | {
        "application_name": "wxauth copy",
        # A server that does not take what is sent to it may be writing a checkpoint.
        "tcp_user_timeout": _STILL_S * 1000,
    }
    try:
        connection = TimedConnection.connect(**options)
        admit(connection, _PATIENCE_S)
    except (psycopg.Error, UnicodeError) as error:
        problem = why_not_connected(error)
    except StoreUnusable as error:
        problem = str(error)
    else:
        return connection
    raise CopyFailed(f"{place}: {problem}")


def _require_schema(connection: TimedConnection, place: str) -> None:
    try:
        require_schema(connection)
    except (StoreUnusable, StoreTooNew) as error:
        problem = f"{place}: {error}"
    else:
        [(version,)] = connection.execute("SELECT version FROM schema_state")
        if version == CODE_VERSION:
            return
        problem = newer_schema(place, version)
    raise CopyFailed(problem)


def _refuse_servers(connection: TimedConnection, place: str) -> None:
    [(others,)] = connection.execute(
        """
        SELECT COUNT(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = %s
        """,
        [_SERVERS],
    )
    if others:
        raise CopyFailed(
            f"{place}: a server or another command of wxauth is connected to it: stop all of them, "
            "on every machine"
        )


@contextlib.contextmanager
def _failures(place: str) -> Iterator[None]:
    problem = None
    try:
        yield
    except psycopg.Error as error:
        problem = _problem(error)
    if problem is not None:
        raise CopyFailed(f"{place}: {problem}")


def _problem(error: psycopg.Error) -> str:
    match error:
        case errors.InsufficientPrivilege():
            return (
                "the role of the URL may not do that: copy with the URL of the role that runs "
                "wxauth migrate"
            )
        case errors.LockNotAvailable():
            return "others use its tables: stop every server that does"
        case errors.UndefinedTable():
            return "it lacks tables of wxauth: run wxauth migrate first"
        case errors.DiskFull():
            return "its disk is full"
        case psycopg.OperationalError():
            return f"it ended the copy, or the connection was lost ({name_of(error)})"
        case _:
            return f"it refuses a row ({name_of(error)})"
