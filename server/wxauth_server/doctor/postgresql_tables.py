"""What is in the PostgreSQL database: the version of its tables, and what wxauth may do there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wxauth_server.doctor.findings import Check, Finding, Installation, ok, problem, warning
from wxauth_server.store.schema import CODE_VERSION

if TYPE_CHECKING:
    from wxauth_server.store.postgresql_inspection import ServerInspection

_WRITES = ("SELECT", "INSERT", "UPDATE", "DELETE")


def check_tables(installation: Installation, server: ServerInspection) -> Iterator[Finding]:
    version = _version(server)
    yield _schema(installation, version)
    if version:
        yield from _privileges(server)


def _version(server: ServerInspection) -> tuple[int, int] | None:
    """Of the schema, and the oldest code for it; None where there is none, or none to be read."""
    [(there,)] = server.execute(
        "SELECT COALESCE(has_table_privilege(to_regclass('schema_state'), 'SELECT'), false)"
    )
    if not there:
        return None
    rows = server.execute("SELECT version, oldest_compatible FROM schema_state")
    return (int(rows[0][0]), int(rows[0][1])) if rows else None


def _schema(installation: Installation, version: tuple[int, int] | None) -> Finding:
    migrate = installation.command("migrate")
    if version is None:
        return problem(
            Check.DATABASE_SCHEMA,
            "the database has no tables of wxauth, or this role may not read them",
            f"{migrate}, as the role that owns the tables (docs/postgresql.md)",
        )
    there, oldest = version
    if oldest > CODE_VERSION:
        return problem(
            Check.DATABASE_SCHEMA,
            f"the database has schema {there}, which needs a wxauth that knows schema {oldest} "
            f"or later; this one knows {CODE_VERSION}",
            "install the newer wxauth",
        )
    if there < CODE_VERSION:
        return problem(
            Check.DATABASE_SCHEMA,
            f"the database has schema {there}; this wxauth needs {CODE_VERSION}, and no server "
            "migrates by itself",
            f"make a copy of it first (docs/postgresql.md), then {migrate}",
        )
    return ok(Check.DATABASE_SCHEMA, f"schema {there}; this wxauth knows {CODE_VERSION}")


def _privileges(server: ServerInspection) -> Iterator[Finding]:
    from wxauth_server.store.postgresql_opening import TABLES

    rows = server.execute(
        f"""
        SELECT name, COALESCE(bool_and(has_table_privilege(to_regclass(name), privilege)), false)
        FROM unnest(ARRAY[{_quoted(TABLES)}]) AS name,
          unnest(ARRAY[{_quoted(_WRITES)}]) AS privilege
        GROUP BY name ORDER BY name
        """  # noqa: S608 - constants
    )
    lacking = [name for name, may in rows if not may]
    if lacking:
        yield problem(
            Check.DATABASE_PRIVILEGES,
            f"wxauth's role may not read and write {', '.join(lacking)}",
            "as the owner of the tables: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN "
            "SCHEMA public TO wxauth (docs/postgresql.md)",
        )
        return
    [(superuser, owner)] = server.execute(
        f"""
        SELECT rolsuper, EXISTS (
          SELECT 1 FROM pg_class
          WHERE oid = to_regclass('{TABLES[0]}') AND pg_has_role(relowner, 'USAGE')
        ) FROM pg_roles WHERE rolname = current_user
        """  # noqa: S608 - constants
    )
    if superuser:
        yield warning(
            Check.DATABASE_PRIVILEGES,
            "wxauth's role is a superuser, who may do everything on that server",
            "make a role of its own (docs/postgresql.md)",
        )
    elif owner:
        yield ok(
            Check.DATABASE_PRIVILEGES,
            "wxauth's role owns the tables, and may change or drop them",
            "better: a role for servers that may not, and another one for wxauth migrate",
        )
    else:
        yield ok(Check.DATABASE_PRIVILEGES, "wxauth's role may read and write, and change no table")


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)
