"""`wxauth migrate`: the schema of a PostgreSQL database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from tests.pgserver import STRANGER, STRANGER_PASSWORD, PostgresProcess
from wxauth_server.store import postgresql_schema, schema
from wxauth_server.store.admin_accounts import list_accounts_after
from wxauth_server.store.interface import StoreTooNew, StoreUnusable
from wxauth_server.store.migrations import MIGRATIONS, Migration
from wxauth_server.store.postgresql import PostgreSQLStore
from wxauth_server.store.postgresql_opening import TABLES
from wxauth_server.store.postgresql_schema import in_postgresql, migrate_postgresql
from wxauth_server.store.schema import CODE_VERSION


@pytest.fixture
def url(store_postgres: PostgresProcess) -> str:
    """Of a database with nothing in it."""
    return store_postgres.new_url(migrated=False)


def asked(url: str, question: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(question.encode()).fetchall()


def tables(url: str) -> set[object]:
    found = asked(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {name for (name,) in found}


def test_an_empty_database_is_migrated_once(url: str) -> None:
    """From nothing to the version of the code; then there is nothing to do."""
    assert migrate_postgresql(url) == len(MIGRATIONS)
    assert tables(url) == {*TABLES, "schema_state"}
    ids = "SELECT database_id FROM revocation_log"
    named = asked(url, ids)
    assert len(named) == 1
    assert migrate_postgresql(url) == 0
    assert asked(url, ids) == named
    PostgreSQLStore(url).close()


def test_two_who_migrate_at_once(url: str) -> None:
    """One does it, the others wait and find it done."""
    together = threading.Barrier(4)

    def run(_: int) -> int:
        together.wait(10)
        return migrate_postgresql(url)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(run, range(4))) == [0, 0, 0, len(MIGRATIONS)]


def test_a_database_of_an_earlier_schema(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows stay; servers wait for whoever migrates."""
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", MIGRATIONS[:1])
        assert migrate_postgresql(url) == 1
    with psycopg.connect(url) as connection:
        connection.execute(
            """
            INSERT INTO accounts (source, id, password_version, created_at)
            VALUES ('local', 'a', 1, 1), ('local', 'B', 1, 1), ('local', 'ä', 1, 1)
            """
        )
    with pytest.raises(StoreUnusable, match="older wxauth: run wxauth migrate"):
        PostgreSQLStore(url)
    assert migrate_postgresql(url) == len(MIGRATIONS) - 1
    with closing(PostgreSQLStore(url)) as store:
        found = store.read(lambda tx: list_accounts_after(tx, "local", "", deleted=False, limit=9))
    assert [entry.record.id for entry in found] == ["B", "a", "ä"]


def test_a_table_that_somebody_holds(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The migration gives up before the servers that wait behind it do."""
    monkeypatch.setattr(postgresql_schema, "LOCK_TIMEOUT_MS", 50)
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", MIGRATIONS[:1])
        migrate_postgresql(url)
    with psycopg.connect(url) as elsewhere:
        elsewhere.execute("SELECT 1 FROM bindings")
        with pytest.raises(StoreUnusable, match="somebody holds a table, and nothing was changed"):
            migrate_postgresql(url)
    assert migrate_postgresql(url) == len(MIGRATIONS) - 1


def test_a_database_that_needs_newer_code(url: str) -> None:
    """It is left as it is."""
    migrate_postgresql(url)
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE schema_state SET version = 99, oldest_compatible = 99")
    with pytest.raises(StoreTooNew, match=f"schema 99 or later; this one knows {CODE_VERSION}"):
        migrate_postgresql(url)
    assert asked(url, "SELECT version FROM schema_state") == [(99,)]


def test_a_migration_that_fails_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All migrations are one transaction. The text has the code, and no SQL."""
    bad = Migration(99, 99, ("CREATE TABLE begun (a INTEGER)", "CREATE NONSENSE"))
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, bad))
    with pytest.raises(StoreUnusable, match=r"42601 SyntaxError.* changed nothing") as refused:
        migrate_postgresql(url)
    assert "NONSENSE" not in str(refused.value)
    assert tables(url) == set()


def test_a_role_that_may_not_migrate(store_postgres: PostgresProcess, url: str) -> None:
    stranger = store_postgres.url(url.rpartition("/")[2], role=STRANGER, password=STRANGER_PASSWORD)
    with pytest.raises(StoreUnusable, match="may not change the schema: migrate as the owner"):
        migrate_postgresql(stranger)


def test_texts_sort_by_their_bytes(postgres_url: Callable[[], str]) -> None:
    """As in SQLite, and as Python compares them: pages go on where the last one ended."""
    assert (
        asked(
            postgres_url(),
            """
            SELECT attrelid::regclass::text, attname FROM pg_attribute
            JOIN pg_class ON pg_class.oid = attrelid AND relkind = 'r'
            WHERE relnamespace = 'public'::regnamespace
              AND atttypid = 'text'::regtype AND attcollation <> '"C"'::regcollation
            """,
        )
        == []
    )


def test_statements_of_migrations_in_postgresql() -> None:
    """Types are replaced where tables and columns are made, and nowhere else."""
    assert in_postgresql("CREATE TABLE a (id INTEGER PRIMARY KEY, b BLOB) WITHOUT ROWID") == (
        "CREATE TABLE a (id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, b BYTEA)"
    )
    assert in_postgresql("ALTER TABLE a ADD COLUMN c TEXT") == (
        'ALTER TABLE a ADD COLUMN c TEXT COLLATE "C"'
    )
    other = "UPDATE a SET b = 'BLOB TEXT'"
    assert in_postgresql(other) == other
