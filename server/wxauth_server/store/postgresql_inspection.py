"""A PostgreSQL database as it is, looked at beside servers or without one, and left as it is.

One connection, no pool: PostgreSQLStore refuses what this has to tell about.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import psycopg

from wxauth_server.store.inspection import InspectionFailed
from wxauth_server.store.interface import Row
from wxauth_server.store.postgresql_errors import name_of, why_not_connected
from wxauth_server.store.postgresql_statements import with_named_parameters
from wxauth_server.store.revocation_log import Revocation


class ServerInspection:
    """One consistent state of the database; a `Transaction` that cannot write.

    Raises everywhere: InspectionFailed.
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self.revocations: list[Revocation] = []

    def execute(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Row]:
        with _failures_as(name_of):
            statement = with_named_parameters(sql).encode()
            return self._connection.execute(statement, dict(parameters or {})).fetchall()

    @property
    def tls(self) -> str:
        """The version of TLS that is spoken, such as TLSv1.3; "" for none."""
        [(version,)] = self.execute("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        return version or ""


@contextlib.contextmanager
def inspected_server(url: str, *, timeout_s: float) -> Iterator[ServerInspection]:
    """The database of a URL; every question may take so long.

    Raises: InspectionFailed; when it cannot be connected to, the text says what to do
    after a colon.
    """
    # Its warnings quote hosts and what the server said.
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
    with _failures_as(why_not_connected):
        connection = psycopg.connect(
            url,
            application_name="wxauth doctor",
            client_encoding="UTF8",
            connect_timeout=round(timeout_s),
            tcp_user_timeout=round(timeout_s * 1000),
            prepare_threshold=None,
        )
    # Closed without a COMMIT: nothing was written.
    with contextlib.closing(connection):
        with _failures_as(name_of):
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            connection.execute(f"SET LOCAL statement_timeout = {round(timeout_s * 1000)}".encode())
        yield ServerInspection(connection)


@contextlib.contextmanager
def _failures_as(name: Callable[[psycopg.Error], str]) -> Iterator[None]:
    failure = None
    try:
        yield
    except psycopg.Error as error:
        failure = name(error)
    if failure is not None:
        raise InspectionFailed(failure)
