"""The company's database: a statement goes out, and rows or a failure come back in time.

No exception leaves this module, because those of SQLAlchemy and the drivers hold
statements, hosts and user names.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import TextClause, exc
from sqlalchemy.engine.interfaces import DBAPIConnection

from wxauth_server.accounts.sql_engines import MOST_ROWS, POSTGRESQL, SQLITE, Engines, open_engines
from wxauth_server.deadline import Deadline

# SQLite asks whether time is up after this many of its instructions, about a millisecond.
_SQLITE_STEPS = 10_000


@dataclass(frozen=True, slots=True)
class Rows:
    """An answer: its columns, in order and as often as they are there, and two rows at most."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer. `error` is a class and a code of the driver's, fit for a log.

    `answered` is True if the database itself refused the statement, quickly.
    """

    error: str
    answered: bool


class Watchdog:
    """Ends a call whose time is up, by shutting down the socket that it waits on.

    A server that is frozen keeps no time limit, and psycopg has none of its own.
    `bite` is called from another thread than the call's.
    """

    def __init__(self, timeout_s: float) -> None:
        #: When an answer is due; whoever lets it bite leaves GRACE_S more.
        self.due = Deadline(timeout_s)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._bitten = False

    def watch(self, fileno: int) -> None:
        """From now on the call waits on this socket."""
        # One more descriptor of the same socket: the driver may close its own at any time.
        self.let_go()
        with self._lock:
            self._socket = socket.socket(fileno=os.dup(fileno))
            if self._bitten:
                _shut_down(self._socket)

    def bite(self) -> None:
        """The time is up."""
        with self._lock:
            self._bitten = True
            if self._socket is not None:
                _shut_down(self._socket)

    def is_late(self) -> bool:
        """Whether the answer was due before now."""
        return self.due.left_s() == 0

    def let_go(self) -> None:
        """The call waits on nothing."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None


class Database:
    """Runs statements, each in the thread that calls, at most `connections` at a time.

    Thread-safe. Raises: what `open_engines` raises.
    """

    def __init__(self, url: str, *, timeout_s: float, connections: int) -> None:
        self._local = threading.local()
        self._timeout_s = timeout_s
        self._engines: Engines = open_engines(
            url, timeout_s=timeout_s, connections=connections, checked_out=self._checked_out
        )

    def new_watchdog(self) -> Watchdog:
        """For one call, whose time begins now."""
        return Watchdog(self._timeout_s)

    def read(
        self, query: TextClause, values: Mapping[str, str], watchdog: Watchdog
    ) -> Rows | Failure:
        """The answer to a query, in a transaction that cannot write.

        Asked once more on a new connection if the old one was dead: the database
        was restarted, or somebody in between has forgotten about it.
        """
        answer, lost = self._read(query, values, watchdog)
        if lost and watchdog.due.left_s() > self._timeout_s / 2:
            answer, _ = self._read(query, values, watchdog)
        return answer

    def write(
        self, statement: TextClause, values: Mapping[str, str], watchdog: Watchdog
    ) -> Failure | None:
        """Run a statement and commit; after a Failure it may or may not have happened."""
        self._local.watchdog = watchdog
        try:
            with self._engines.writing.begin() as connection:
                self._engines.begin(connection)
                connection.execute(statement, values)
        except Exception as error:  # noqa: BLE001 - drivers raise whatever their parsers trip over
            return _failure_of(error, watchdog, connected=True)
        finally:
            self._release(watchdog)
        return None

    def close(self) -> None:
        """Close the connections. Not while a statement runs."""
        self._engines.dispose()

    def _read(
        self, query: TextClause, values: Mapping[str, str], watchdog: Watchdog
    ) -> tuple[Rows | Failure, bool]:
        """The answer, and whether there is none because the connection was lost."""
        connected = False
        self._local.watchdog = watchdog
        try:
            with self._engines.reading.connect() as connection:
                connected = True
                self._engines.begin(connection)
                result = connection.execute(query, values)
                columns = list(result.keys())
                rows = [tuple(row) for row in result.fetchmany(MOST_ROWS)]
                result.close()
            return Rows(columns, rows), False
        except Exception as error:  # noqa: BLE001 - see above
            lost = isinstance(error, exc.DBAPIError) and error.connection_invalidated
            return _failure_of(error, watchdog, connected=connected), lost
        finally:
            self._release(watchdog)

    def _checked_out(self, connection: DBAPIConnection) -> None:
        watchdog: Watchdog | None = getattr(self._local, "watchdog", None)
        if watchdog is None:  # nobody waits
            return
        driver: Any = connection
        if self._engines.backend == POSTGRESQL:
            watchdog.watch(driver.fileno())
        elif self._engines.backend == SQLITE:
            driver.set_progress_handler(watchdog.is_late, _SQLITE_STEPS)

    def _release(self, watchdog: Watchdog) -> None:
        self._local.watchdog = None
        watchdog.let_go()


def _failure_of(error: Exception, watchdog: Watchdog, *, connected: bool) -> Failure:
    lost = False
    cause: Any = error
    if isinstance(error, exc.DBAPIError):
        lost, cause = error.connection_invalidated, error.orig
    return Failure(
        error=f"{type(cause).__name__} {_code_of(cause)}".rstrip(),
        answered=connected and not lost and not watchdog.is_late(),
    )


def _code_of(cause: Any) -> str:
    """What the error is looked up by: MySQL's number, SQLSTATE, SQLITE_…"""
    number = next(iter(cause.args), None)
    if isinstance(number, int):
        return str(number)
    return getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or ""


def _shut_down(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is gone already
        connected.shutdown(socket.SHUT_RDWR)
