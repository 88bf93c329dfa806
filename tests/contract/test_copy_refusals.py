"""What a copy refuses: it says why, and the destination stays as it was."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.contract.copied_databases import (
    Content,
    Unwatched,
    in_postgresql,
    in_sqlite,
    new_sqlite,
    postgresql_end,
    run_in_postgresql,
    run_in_sqlite,
    sqlite_end,
)
from tests.pgserver import OWNER_PASSWORD, PostgresProcess
from wxauth_server.store import copy_postgresql
from wxauth_server.store.copy_end import CopyFailed, HoldEnd
from wxauth_server.store.copy_tables import COPIED
from wxauth_server.store.copying import Step, copy_all
from wxauth_server.store.interface import Row, StoreUnusable
from wxauth_server.store.postgresql import PostgreSQLStore
from wxauth_server.store.sqlite import DATABASE_NAME

NOTHING: Content = {table.name: [] for table in COPIED}
ACCOUNT = ("local", "7", "zhang", "zhang", *[None] * 4, 1, 1, None, None, None)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A database with one account."""
    return new_sqlite(tmp_path / "source", {"accounts": [ACCOUNT]})


@pytest.fixture
def url(postgres_url: Callable[[], str]) -> str:
    return postgres_url()


def refusal(source: HoldEnd, destination: HoldEnd) -> str:
    with pytest.raises((CopyFailed, StoreUnusable)) as refused:
        copy_all(source, destination, Unwatched())
    assert OWNER_PASSWORD not in str(refused.value)
    return str(refused.value)


def test_rows_that_postgresql_cannot_hold(source: Path, url: str) -> None:
    """All of them are named, by table and key, before a row is written."""
    run_in_sqlite(
        source,
        "UPDATE accounts SET display_name = 'a' || char(0) || 'secret'",
        "INSERT INTO throttles VALUES (x'00ff', 'wx1', '', 'many', 0, 0, 0)",
        "INSERT INTO no_sibling VALUES (x'41', 'o1')",
        "INSERT INTO sessions_valid_after VALUES ('wx1', 1.5, 1, 'ADMIN')",
    )
    said = refusal(sqlite_end(source), postgresql_end(url))
    assert said.splitlines()[1:] == [
        "accounts 'local', '7': display_name holds a NUL character, which PostgreSQL cannot",
        "sessions_valid_after 'wx1': login_by holds REAL where INTEGER belongs",
        "no_sibling 41, 'o1': app_id holds BLOB where TEXT belongs",
        "throttles 00ff, 'wx1', '': failures holds TEXT where INTEGER belongs",
    ]
    assert in_postgresql(url) == NOTHING


def test_of_very_many_such_rows_the_first_are_named(source: Path, url: str) -> None:
    run_in_sqlite(
        source,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
        " INSERT INTO no_sibling SELECT 'wx1', i || char(0) FROM n",
    )
    lines = refusal(sqlite_end(source), postgresql_end(url)).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "and 4,980 more"


def test_a_text_that_is_no_text(source: Path, url: str) -> None:
    """As a terminal of another encoding would have written it."""
    gb18030 = "张".encode("gb18030").hex()
    run_in_sqlite(source, f"UPDATE accounts SET display_name = CAST(x'{gb18030}' AS TEXT)")
    said = refusal(sqlite_end(source), postgresql_end(url))
    assert said.endswith(": accounts 'local', '7': display_name is no UTF-8")


def test_a_row_without_its_parent(source: Path, url: str) -> None:
    run_in_sqlite(
        source,
        "INSERT INTO bindings (app_id, openid, account_source, account_id, exclusive, bound_at)"
        " VALUES ('wx1', 'o1', 'local', 'nobody', 1, 1)",
    )
    said = refusal(sqlite_end(source), postgresql_end(url))
    assert re.search(r"bindings: .*ForeignKeyViolation", said)
    assert "nobody" not in said
    assert in_postgresql(url) == NOTHING


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("INSERT INTO no_sibling VALUES ('wx1', 'o1')", "no_sibling"),
        ("INSERT INTO keys_in_use (purpose, key_id) VALUES ('seal', 'k')", "keys_in_use"),
        ("INSERT INTO revocations (position, logged_at) VALUES (1, 1)", "revocations"),
    ],
)
def test_a_destination_that_has_rows(
    source: Path, url: str, tmp_path: Path, statement: str, table: str
) -> None:
    run_in_postgresql(url, statement)
    before = in_postgresql(url)
    assert f"rows already, in {table}:" in refusal(sqlite_end(source), postgresql_end(url))
    assert in_postgresql(url) == before
    used = new_sqlite(tmp_path / "used")
    run_in_sqlite(used, statement)
    before = in_sqlite(used)
    assert f"rows already, in {table}:" in refusal(postgresql_end(url), sqlite_end(used))
    assert in_sqlite(used) == before


def test_databases_of_another_schema(
    source: Path, url: str, tmp_path: Path, store_postgres: PostgresProcess
) -> None:
    empty = store_postgres.new_url(migrated=False)
    assert "run wxauth migrate" in refusal(sqlite_end(source), postgresql_end(empty))
    assert "holds no wxauth database" in refusal(sqlite_end(tmp_path), postgresql_end(url))
    assert not (tmp_path / DATABASE_NAME).exists()
    for version, advice in ((4, "run wxauth migrate"), (99, "the newer wxauth")):
        said = f"UPDATE schema_state SET version = {version}"
        run_in_sqlite(source, said)
        assert advice in refusal(sqlite_end(source), postgresql_end(url))
        run_in_postgresql(url, said)
        assert advice in refusal(postgresql_end(url), sqlite_end(tmp_path / "new", create=True))
    assert run_in_sqlite(source, "SELECT version FROM schema_state") == [(99,)]
    run_in_postgresql(url, "UPDATE schema_state SET version = 5", "DROP TABLE no_sibling")
    assert "no_sibling is missing" in refusal(
        postgresql_end(url), sqlite_end(tmp_path / "new", create=True)
    )
    (source / DATABASE_NAME).write_bytes(b"no database at all")
    assert "NOTADB" in refusal(sqlite_end(source), postgresql_end(url))


def test_a_postgresql_that_others_use(
    source: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(PostgreSQLStore(url)):
        assert "is connected to it: stop all" in refusal(sqlite_end(source), postgresql_end(url))
    monkeypatch.setattr(copy_postgresql, "_SETTINGS", ("SET LOCAL lock_timeout = '50ms'",))
    with psycopg.connect(url) as other:
        other.execute("DELETE FROM no_sibling")
        assert "others use its tables" in refusal(sqlite_end(source), postgresql_end(url))
    servers = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'wxauth'"
    here = f"{servers} AND datname = current_database()"
    while run_in_postgresql(url, here):
        """PostgreSQL has not noticed yet that the store is closed."""
    copy_all(sqlite_end(source), postgresql_end(url), Unwatched())


def test_an_sqlite_that_others_write_to(source: Path, url: str) -> None:
    with closing(sqlite3.connect(source / DATABASE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "SQLITE_BUSY" in refusal(sqlite_end(source), postgresql_end(url))


def test_nobody_writes_while_it_is_copied(source: Path, url: str) -> None:
    """Neither at the source, where it would be lost, nor at the destination."""
    refused: list[str] = []

    class Intruder(Unwatched):
        def follow(self, step: Step, table: str, rows: Iterable[Row]) -> Iterator[Row]:
            statement = "INSERT INTO no_sibling VALUES ('wx1', 'o1')"
            if step is Step.WRITE and not refused:
                with closing(sqlite3.connect(source / DATABASE_NAME, timeout=0)) as database:
                    with pytest.raises(sqlite3.OperationalError) as locked:
                        database.execute(statement)
                    refused.append(locked.value.sqlite_errorname)
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    run_in_postgresql(url, "SET lock_timeout = 50", statement)
                refused.append("LockNotAvailable")
                assert in_postgresql(url) == NOTHING
            return super().follow(step, table, rows)

    copy_all(sqlite_end(source), postgresql_end(url), Intruder())
    assert refused == ["SQLITE_BUSY", "LockNotAvailable"]


def test_a_source_that_fails_in_the_middle(source: Path, url: str) -> None:
    class Failing(Unwatched):
        def follow(self, step: Step, table: str, rows: Iterable[Row]) -> Iterator[Row]:
            yield from super().follow(step, table, rows)
            if step is Step.WRITE and table == "accounts":
                raise CopyFailed("the disk of the source is gone")

    with pytest.raises(CopyFailed, match=r"^the disk of the source is gone"):
        copy_all(sqlite_end(source), postgresql_end(url), Failing())
    assert in_postgresql(url) == NOTHING


@pytest.mark.parametrize(
    ("step", "table", "said"),
    [
        (Step.WRITE, "accounts", "accounts: it ended the copy, or the connection was lost"),
        (Step.COMPARE, "audit_events", "lost at the very end, so the copy may be there"),
    ],
    ids=["in the middle", "at the commit"],
)
def test_a_connection_that_is_lost(
    source: Path, url: str, step: Step, table: str, said: str
) -> None:
    class Losing(Unwatched):
        def follow(self, now: Step, at: str, rows: Iterable[Row]) -> Iterator[Row]:
            yield from super().follow(now, at, rows)
            if (now, at) == (step, table):
                run_in_postgresql(
                    url,
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE application_name = 'wxauth copy' AND datname = current_database()",
                )

    with pytest.raises(CopyFailed, match=said):
        copy_all(sqlite_end(source), postgresql_end(url), Losing())
    assert in_postgresql(url) == NOTHING


def test_a_role_that_may_not(source: Path, url: str, store_postgres: PostgresProcess) -> None:
    """That of the servers needs one more right, which is asked for before the rows."""
    database = url.rpartition("/")[2]
    stranger = store_postgres.url(database, role="stranger", password="canary-stranger-password")
    run_in_postgresql(
        url, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO stranger"
    )
    said = refusal(sqlite_end(source), postgresql_end(stranger))
    assert "the role that runs wxauth migrate" in said
    run_in_postgresql(url, "GRANT UPDATE ON ALL SEQUENCES IN SCHEMA public TO stranger")
    copy_all(sqlite_end(source), postgresql_end(stranger), Unwatched())


def test_a_database_that_cannot_be_connected_to(source: Path, url: str) -> None:
    wrong = url.replace(OWNER_PASSWORD, "canary-wrong-password")
    said = refusal(sqlite_end(source), postgresql_end(wrong))
    assert "user and password" in said
    assert "canary" not in said
    assert "not a URL" in refusal(sqlite_end(source), postgresql_end("mysql://x"))
