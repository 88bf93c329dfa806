"""The company's database: a statement goes out, and rows or a failure come back in time.

No exception leaves this module, because those of SQLAlchemy and the drivers hold
statements, hosts and user names.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from typing import Any

from sqlalchemy import TextClause, exc, text
from sqlalchemy.engine.interfaces import DBAPIConnection

from wxauth_server.accounts.sources.sql_engines import (
    MOST_ROWS,
    POSTGRESQL,
    SQLITE,
    Engines,
    open_engines,
)
from wxauth_server.accounts.sources.sql_users import Failure, Rows
from wxauth_server.accounts.sources.sql_watchdog import Watchdog

# SQLite asks whether time is up after this many of its instructions, about a millisecond.
_SQLITE_STEPS = 10_000


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

    def read(self, query: str, values: Mapping[str, str], watchdog: Watchdog) -> Rows | Failure:
        """The answer to a query, in a transaction that cannot write.

        Asked once more on a new connection if the old one was dead: the database
        was restarted, or somebody in between has forgotten about it.
        """
        answer, lost = self._read(query, values, watchdog)
        if lost and watchdog.due.left_s() > self._timeout_s / 2:
            answer, _ = self._read(query, values, watchdog)
        return answer

    def write(
        self, statement: str, values: Mapping[str, str], watchdog: Watchdog
    ) -> Failure | None:
        """Run a statement and commit; after a Failure it may or may not have happened."""
        connected = False
        self._local.watchdog = watchdog
        try:
            with self._engines.writing.begin() as connection:
                connected = True
                self._engines.begin(connection)
                connection.execute(_parsed(statement), values)
        except Exception as error:  # noqa: BLE001 - drivers raise whatever their parsers trip over
            return _failure_of(error, watchdog, connected=connected)
        finally:
            self._release(watchdog)
        return None

    def close(self) -> None:
        """Close the connections. Not while a statement runs."""
        self._engines.dispose()

    def _read(
        self, query: str, values: Mapping[str, str], watchdog: Watchdog
    ) -> tuple[Rows | Failure, bool]:
        """The answer, and whether there is none because the connection was lost."""
        connected = False
        self._local.watchdog = watchdog
        try:
            with self._engines.reading.connect() as connection:
                connected = True
                self._engines.begin(connection)
                result = connection.execute(_parsed(query), values)
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


@functools.cache
def _parsed(statement: str) -> TextClause:
    """Of a statement of the settings, of which there are few."""
    return text(statement)


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
