"""What a work gets of a transaction on PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wxauth_server.store.interface import Row
from wxauth_server.store.postgresql_connection import TimedConnection
from wxauth_server.store.postgresql_statements import with_named_parameters
from wxauth_server.store.revocation_log import Revocation


class PostgreSQLTransaction:
    """The statements of one transaction. Raises psycopg's errors, which stay in the engine."""

    def __init__(self, connection: TimedConnection) -> None:
        self._connection = connection
        self.revocations: list[Revocation] = []

    def execute(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Row]:
        cursor = self._connection.execute(
            with_named_parameters(sql).encode(), dict(parameters or {})
        )
        return cursor.fetchall() if cursor.description else []
