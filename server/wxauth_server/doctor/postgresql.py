"""The PostgreSQL server: whether it is reached, fit to keep what is acknowledged, and ours.

What the tables need of it is in postgresql_tables.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from wxauth_client.target import is_loopback
from wxauth_server.doctor.findings import (
    TIMEOUT_S,
    Check,
    Finding,
    Installation,
    ok,
    problem,
    skipped,
    warning,
)
from wxauth_server.doctor.postgresql_tables import check_tables
from wxauth_server.store.inspection import InspectionFailed
from wxauth_server.store.interface import StoreUnusable
from wxauth_server.store.opening import COMMAND_CONNECTIONS, require_driver
from wxauth_server.store.postgresql_url import DatabasePlace, read_database_url

if TYPE_CHECKING:
    from wxauth_server.store.postgresql_inspection import ServerInspection

_CORRECT_URL = "correct store.url or store.url_file (docs/postgresql.md)"


def check_postgresql(installation: Installation) -> Iterator[Finding]:
    if installation.offline:
        yield skipped(Check.DATABASE_CONNECTION, "offline: nothing is connected to")
        return
    settings = installation.configuration.store
    try:
        require_driver()
        url = settings.database_url()
    except StoreUnusable as error:
        yield problem(Check.DATABASE_CONNECTION, str(error), _CORRECT_URL)
        return
    from wxauth_server.store.postgresql_inspection import inspected_server

    place = read_database_url(url)
    try:
        with inspected_server(url, timeout_s=TIMEOUT_S) as server:
            yield ok(Check.DATABASE_CONNECTION, f"the database {place} is reached")
            looks = (
                _tls(place, server),
                _version(server),
                _recovery(server),
                _durability(server),
                _encoding(server),
                _connections(settings.connections, server),
            )
            yield from chain(looks, check_tables(installation, server))
    except InspectionFailed as failed:
        yield _unreachable(place, str(failed))


def _unreachable(place: DatabasePlace, reason: str) -> Finding:
    why, _, cure = reason.partition(": ")
    return problem(
        Check.DATABASE_CONNECTION,
        f"the database {place} cannot be used: {why}",
        cure or "the server's own log says more",
    )


def _tls(place: DatabasePlace, server: ServerInspection) -> Finding:
    version = server.tls
    if all(host.startswith("/") or is_loopback(host) for host, _ in place.hosts):
        return ok(Check.DATABASE_TLS, "the database is on this machine")
    if not version:
        return warning(
            Check.DATABASE_TLS,
            "the connection is not encrypted: who is on the way reads and changes all of it",
            "turn TLS on at the server, and give sslmode=verify-full&sslrootcert=FILE in the URL",
        )
    if place.sslmode not in {"verify-full", "verify-ca"}:
        return warning(
            Check.DATABASE_TLS,
            f"the connection is encrypted ({version}), and nobody checks who answers",
            "give sslmode=verify-full&sslrootcert=FILE in the URL",
        )
    return ok(Check.DATABASE_TLS, f"the connection is encrypted ({version}) and the server known")


def _version(server: ServerInspection) -> Finding:
    from wxauth_server.store.postgresql_opening import OLDEST_SERVER

    [(number, name)] = server.execute(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version')"
    )
    if number < OLDEST_SERVER * 10_000:
        return problem(
            Check.DATABASE_VERSION,
            f"the server is PostgreSQL {name}",
            f"wxauth needs PostgreSQL {OLDEST_SERVER} or later",
        )
    return ok(Check.DATABASE_VERSION, f"the server is PostgreSQL {name}")


def _recovery(server: ServerInspection) -> Finding:
    [(standby, reads_only)] = server.execute(
        "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on'"
    )
    if standby:
        return problem(
            Check.DATABASE_RECOVERY,
            "the server is a standby: nobody can log in, and what it says is behind the times",
            "name the primary in the URL, or all of them with target_session_attrs=read-write",
        )
    if reads_only:
        return problem(
            Check.DATABASE_RECOVERY,
            "the server does not write (default_transaction_read_only)",
            "find out who turned that on and why, then turn it off",
        )
    return ok(Check.DATABASE_RECOVERY, "the server is a primary, and writes")


def _durability(server: ServerInspection) -> Finding:
    found = server.execute(
        "SELECT name FROM pg_settings WHERE setting = 'off'"
        " AND name IN ('fsync', 'full_page_writes', 'synchronous_commit') ORDER BY name"
    )
    off = [name for (name,) in found]
    if "synchronous_commit" in off and len(off) == 1:
        return ok(
            Check.DATABASE_DURABILITY,
            "synchronous_commit is off there; wxauth turns it on for itself",
        )
    if off:
        return problem(
            Check.DATABASE_DURABILITY,
            f"{' and '.join(off)} off: a crash of the server's machine loses what was "
            "acknowledged, or more",
            "turn it on in postgresql.conf",
        )
    return ok(Check.DATABASE_DURABILITY, "the server keeps what it has acknowledged")


def _encoding(server: ServerInspection) -> Finding:
    [(encoding,)] = server.execute("SELECT current_setting('server_encoding')")
    if encoding != "UTF8":
        return problem(
            Check.DATABASE_ENCODING,
            f"the database has the encoding {encoding}: there are names it cannot hold",
            "make another one: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
        )
    return ok(Check.DATABASE_ENCODING, "the database has the encoding UTF8")


def _connections(ours: int, server: ServerInspection) -> Finding:
    [(most, reserved, of_role, of_database)] = server.execute(
        """
        SELECT current_setting('max_connections')::int,
          current_setting('superuser_reserved_connections')::int
            + COALESCE(current_setting('reserved_connections', true)::int, 0),
          (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),
          (SELECT datconnlimit FROM pg_database WHERE datname = current_database())
        """
    )
    # -1: no limit of its own.
    there = min([most - reserved, *(limit for limit in (of_role, of_database) if limit >= 0)])
    if there < ours + COMMAND_CONNECTIONS:
        return problem(
            Check.DATABASE_CONNECTIONS,
            f"the server has {there} connections for wxauth's role; a wxauth server takes up to "
            f"{ours}, and a command beside it {COMMAND_CONNECTIONS}",
            "raise max_connections or CONNECTION LIMIT, or lower store.connections",
        )
    return ok(
        Check.DATABASE_CONNECTIONS,
        f"the server has {there} connections for wxauth's role and others; a wxauth server takes "
        f"up to {ours}, so there is room for {(there - COMMAND_CONNECTIONS) // ours}",
    )
