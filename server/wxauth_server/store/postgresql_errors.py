"""Failures of PostgreSQL by the names of their codes: their texts may hold SQL or values."""

from __future__ import annotations

import re

import psycopg

#: Whoever runs the transaction once more may have better luck.
_RUN_AGAIN = {"40001", "40P01"}  # serialization_failure, deadlock_detected
_LOCK_NOT_AVAILABLE = "55P03"
# The server says that it closes the connection: admin_shutdown, crash_shutdown,
# cannot_connect_now, database_dropped, idle_session_timeout and
# idle_in_transaction_session_timeout. Class 08 is about the connection too.
_FAREWELLS = {"57P01", "57P02", "57P03", "57P04", "57P05", "25P03"}

# Constraints of ours, and values that no column takes.
_OURS = (psycopg.IntegrityError, psycopg.DataError)


def name_of(error: Exception) -> str:
    """Such as "40001 SerializationFailure"; the name of its class where it has no code."""
    code = getattr(error, "sqlstate", None)
    return " ".join(filter(None, (code, type(error).__name__.lstrip("_"))))


def is_worth_another_run(error: psycopg.Error) -> bool:
    """Whether the server has undone the transaction because of others that ran beside it."""
    return error.sqlstate in _RUN_AGAIN


def is_duplicate(error: psycopg.Error) -> bool:
    """Whether a row like it is there, perhaps of somebody who was faster by a moment.

    It may be out of sight for the transaction that failed, but not for its next run
    (PostgreSQL's documentation, Serialization Failure Handling).
    """
    return isinstance(error, psycopg.errors.UniqueViolation)


def is_farewell(error: psycopg.Error) -> bool:
    """Whether the server is about to close the connection; it may not have done so yet."""
    code = error.sqlstate or ""
    return code in _FAREWELLS or code.startswith("08")


def is_lock_taken(error: psycopg.Error) -> bool:
    """Whether somebody else holds a lock, and did not let go in time."""
    return error.sqlstate == _LOCK_NOT_AVAILABLE


def fault_of_ours(error: psycopg.Error) -> psycopg.Error | None:
    """A broken promise of our own code, without the values that the server quotes."""
    if isinstance(error, _OURS):
        return type(error)(f"{name_of(error)} {error.diag.constraint_name or ''}".rstrip())
    if error.sqlstate is None and isinstance(error, psycopg.ProgrammingError):
        return type(error)("a statement and its parameters do not fit")
    return None


# What libpq and servers say about a connection that they refuse has no code, only a
# text. It is matched and never shown. A server may say it in another language.
_REFUSALS: dict[str, str] = {
    r"password authentication|no password supplied|pg_hba\.conf|SCRAM|authentication failed": (
        "it refuses the login: check user and password of the URL, and the server's pg_hba.conf"
    ),
    r'database ".*" does not exist': "there is no such database: create it, or correct the URL",
    r'role ".*" does not exist': "it knows no such user: check the URL",
    r"permission denied for database|not currently accepting connections": (
        "the user may not connect to this database: grant CONNECT on it"
    ),
    r"too many (?:clients|connections)|remaining connection slots": (
        "it has no connection left: raise its max_connections, or lower store.connections"
    ),
    r"read-only|in recovery mode|hot standby|is not primary": (
        "none of the hosts is a primary that takes writes: name the primary in the URL"
    ),
    r"system is (?:starting up|shutting down|not accepting)": (
        "it is starting or stopping: try again shortly"
    ),
    r"unsupported startup parameter": (
        "what answers refuses our settings, as PgBouncer does: connect to PostgreSQL itself, "
        "since wxauth has a pool of its own"
    ),
    r"expected authentication request|invalid response|unexpected message|lost synchronization"
    r"|server closed the connection unexpectedly|Connection reset": (
        "what answers there is no PostgreSQL: check host and port of the URL"
    ),
    r"certificate|SSL|TLS|tlsv": (
        "the TLS connection fails: check sslmode and sslrootcert of the URL, and the server's "
        "certificate"
    ),
    r"Connection refused|No such file or directory": (
        "nothing listens there: start PostgreSQL, or check host and port of the URL"
    ),
    r"failed to resolve|could not translate host name": "the host's name is not known: check it",
    r"timeout expired|timed out|No route to host|Network is unreachable": (
        "it does not answer: check host and port of the URL, and the firewalls in between"
    ),
    r"Permission denied": "the Unix socket is closed to this user",
}


def why_not_connected(error: Exception) -> str:
    """What an operator can do about a connection that cannot be made. Holds no text of others."""
    said = str(error)
    for pattern, advice in _REFUSALS.items():
        if re.search(pattern, said):
            return advice
    if isinstance(error, psycopg.Error) and error.sqlstate:
        return f"it refuses ({name_of(error)})"
    return "it refuses the connection: the server's own log tells why"
