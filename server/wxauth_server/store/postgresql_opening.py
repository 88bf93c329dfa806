"""Whether a PostgreSQL server and the schema on it are ones to work with."""

from __future__ import annotations

import re

import psycopg

from wxauth_server.store.interface import StoreTooNew, StoreUnusable
from wxauth_server.store.migrations import MIGRATIONS
from wxauth_server.store.postgresql_connection import (
    PATIENCE_S,
    TimedConnection,
    connection_options,
    quiet_driver,
    set_up,
)
from wxauth_server.store.postgresql_errors import name_of, why_not_connected
from wxauth_server.store.postgresql_url import DatabaseUrlRefused, read_database_url
from wxauth_server.store.schema import CODE_VERSION

#: The oldest that its makers still mend (postgresql.org/support/versioning).
OLDEST_SERVER = 13

_CREATE_TABLE = re.compile(r"\s*CREATE TABLE (\w+)")
#: The tables that a server reads and writes; those that others refer to come first.
TABLES = tuple(
    found[1]
    for migration in MIGRATIONS
    for statement in migration.statements
    if (found := _CREATE_TABLE.match(statement))
)
_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")


def open_connection(url: str, *, patience_s: float = PATIENCE_S) -> TimedConnection:
    """A connection of one's own to a server to work with. Raises: StoreUnusable."""
    quiet_driver()
    place = place_of(url)
    failure: Exception
    try:
        connection = TimedConnection.connect(**connection_options(url, patience_s))
    except (psycopg.Error, UnicodeError) as error:
        failure = StoreUnusable(f"{place}: {why_not_connected(error)}")
    else:
        try:
            admit(connection, patience_s)
        except StoreUnusable as error:
            failure = StoreUnusable(f"{place}: {error}")
        else:
            return connection
    raise failure


def place_of(url: str) -> str:
    """What a text about the database begins with. Raises: StoreUnusable for a URL that is none."""
    try:
        return f"the PostgreSQL database {read_database_url(url)}"
    except DatabaseUrlRefused as error:
        refusal = str(error)
    raise StoreUnusable(refusal)


def admit(connection: TimedConnection, patience_s: float) -> None:
    """Set up a new connection, also one that a pool makes: the primary may be another by now.

    Raises: StoreUnusable when the server is none to work with; the connection is closed then.
    """
    failure: str | None
    try:
        set_up(connection, patience_s)
        failure = _what_is_wrong(connection)
    except psycopg.Error as error:
        failure = f"it fails ({name_of(error)})"
    if failure is not None:
        connection.close()
        raise StoreUnusable(failure)


def _what_is_wrong(connection: TimedConnection) -> str | None:
    version = connection.info.server_version // 10_000
    if version < OLDEST_SERVER:
        return f"it is PostgreSQL {version}: wxauth needs {OLDEST_SERVER} or later"
    [(standby, read_only, encoding, synchronous_commit)] = connection.execute(
        """
        SELECT pg_is_in_recovery(), current_setting('transaction_read_only'),
          current_setting('server_encoding'), current_setting('synchronous_commit')
        """
    )
    if standby:
        return "it is a standby, which is behind the times: name the primary in the URL"
    if read_only == "on":
        return "it takes no writes: default_transaction_read_only is on there"
    if encoding != "UTF8":
        return f"its encoding is {encoding}: create the database with ENCODING 'UTF8'"
    if synchronous_commit == "off":
        # An acknowledged login must survive a crash. Whatever else is set is stronger.
        connection.execute("SET synchronous_commit = on")
    return None


def require_schema(connection: TimedConnection) -> None:
    """Whether the schema is there and of use. Raises: StoreUnusable, StoreTooNew."""
    problem: str | None
    try:
        problem = _missing_privilege(connection) or _missing_schema(connection)
        if problem is None:
            problem = _wrong_version(connection)
    except psycopg.Error as error:
        problem = f"its schema cannot be read ({name_of(error)})"
    if problem is not None:
        raise StoreUnusable(problem)


def _missing_schema(connection: TimedConnection) -> str | None:
    tables = [*TABLES, "schema_state"]
    rows = connection.execute(
        """
        SELECT name, to_regclass(quote_ident(name)) IS NOT NULL, (
            SELECT MIN(nspname) FROM pg_class JOIN pg_namespace
              ON pg_namespace.oid = relnamespace
            WHERE relname = name AND relkind IN ('r', 'p')
              AND NOT has_schema_privilege(pg_namespace.oid, 'USAGE')
          )
        FROM unnest(%s) AS name
        """,
        [tables],
    ).fetchall()
    missing = [name for name, there, _ in rows if not there]
    for _, there, closed_schema in rows:
        if not there and closed_schema is not None:
            return (
                f"the role may not use the schema {closed_schema}, in which the tables are: "
                f"GRANT USAGE ON SCHEMA {closed_schema} to it"
            )
    if "schema_state" in missing:
        return "it has no schema of wxauth: run wxauth migrate"
    version = _version(connection)
    if version is not None and version[0] >= CODE_VERSION and missing:
        return f"the table {missing[0]} is missing: restore the database from a backup"
    return None


def _missing_privilege(connection: TimedConnection) -> str | None:
    needed = [(table, privilege) for table in TABLES for privilege in _PRIVILEGES]
    tables, privileges = zip(("schema_state", "SELECT"), *needed, strict=True)
    rows = connection.execute(
        """
        SELECT name, privilege FROM unnest(%s, %s) AS needed (name, privilege)
        WHERE NOT has_table_privilege(to_regclass(quote_ident(name)), privilege) LIMIT 1
        """,
        [list(tables), list(privileges)],
    )
    for table, privilege in rows:
        return (
            f"the role may not {privilege} on the table {table}: GRANT SELECT, INSERT, UPDATE, "
            "DELETE on the tables of wxauth to it"
        )
    return None


def _wrong_version(connection: TimedConnection) -> str | None:
    found = _version(connection)
    if found is None or found[0] < CODE_VERSION:
        return "its schema is of an older wxauth: run wxauth migrate"
    version, oldest_compatible = found
    if oldest_compatible > CODE_VERSION:
        raise StoreTooNew(
            f"the database has schema {version}, which needs a wxauth that knows schema "
            f"{oldest_compatible} or later; this one knows {CODE_VERSION}"
        )
    return None


def _version(connection: TimedConnection) -> tuple[int, int] | None:
    row = connection.execute("SELECT version, oldest_compatible FROM schema_state").fetchone()
    return None if row is None else (row[0], row[1])
