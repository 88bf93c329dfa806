"""The connections of a store, kept for the next call."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator
from typing import Any, Self

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from wxauth_server.deadline import Deadline
from wxauth_server.errors import StoreUnavailable
from wxauth_server.store.interface import StoreUnusable
from wxauth_server.store.postgresql_connection import TimedConnection, connection_options
from wxauth_server.store.postgresql_errors import name_of, why_not_connected
from wxauth_server.store.postgresql_opening import admit

log = logging.getLogger("wxauth.store")

#: How long a pool goes on to connect by itself. After that, who needs a connection asks.
_RECONNECT_S = 0.5
#: Threads that connect, so at most so many attempts at a time.
_CONNECTING = 2


class PooledConnection(TimedConnection):
    """A connection that a thread of the pool makes, which tells nobody why it cannot."""

    @classmethod
    def connect(cls, conninfo: str = "", **options: Any) -> Self:
        try:
            return super().connect(conninfo, **options)
        except psycopg.Error as error:
            why = why_not_connected(error)
            log.error("store cannot connect", extra={"why": why})  # noqa: TRY400 - not its text
            raise


Pool = ConnectionPool[PooledConnection]


def open_pool(url: str, patience_s: float, connections: int) -> Pool:
    """A pool that has connected to nothing yet."""
    return ConnectionPool(
        connection_class=PooledConnection,
        kwargs=connection_options(url, patience_s),
        configure=functools.partial(_admit, patience_s),
        min_size=min(2, connections),
        max_size=connections,
        reconnect_timeout=_RECONNECT_S,
        num_workers=min(_CONNECTING, connections),
        name="wxauth",
        open=True,
    )


@contextlib.contextmanager
def borrowed(pool: Pool, end: Deadline) -> Iterator[PooledConnection]:
    """A connection of the pool; what is under way on it when it comes back is undone.

    Raises: StoreUnavailable when there is none before `end`.
    """
    connection = _wait_for_connection(pool, end)
    # What is left of the time to wait for a connection is what its first answer has.
    connection.due = end
    try:
        yield connection
    finally:
        if connection.pgconn.transaction_status in {
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
        }:
            connection.be_patient()
            with contextlib.suppress(psycopg.Error):
                connection.execute(b"ROLLBACK")
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            connection.close()
        pool.putconn(connection)


def _wait_for_connection(pool: Pool, end: Deadline) -> PooledConnection:
    failure = ""
    while not failure:
        try:
            connection = pool.getconn(timeout=end.left_s())
        except (PoolTimeout, PoolClosed) as error:
            failure = name_of(error)
            continue
        if not connection.is_stale:
            return connection
        # The server was started anew, say. The pool connects in its place.
        connection.close()
        pool.putconn(connection)
    log.error("store failed", extra={"postgresql_error": failure})
    raise StoreUnavailable


def _admit(patience_s: float, connection: PooledConnection) -> None:
    try:
        admit(connection, patience_s)
    except StoreUnusable as error:
        log.error("store cannot connect", extra={"why": str(error)})  # noqa: TRY400 - ours
        raise
