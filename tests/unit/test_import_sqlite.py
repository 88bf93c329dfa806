"""Accounts in a table of another SQLite database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.imported import BCRYPT
from wxauth_server.accounts.imports.import_columns import ColumnMap
from wxauth_server.accounts.imports.import_files import FileRefused, FileRow
from wxauth_server.accounts.imports.import_sqlite import SqliteFile
from wxauth_server.accounts.imports.importing import AccountRow


@pytest.fixture
def other(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as database:
        yield database


def read(tmp_path: Path, table: str | None = None, **said: str) -> list[FileRow]:
    with closing(SqliteFile(tmp_path / "other.db", ColumnMap(said), table=table)) as file:
        return [*file.rows()]


def refusal(tmp_path: Path, table: str | None = None, **said: str) -> str:
    with pytest.raises(FileRefused) as refused:
        read(tmp_path, table, **said)
    return str(refused.value)


def test_every_field(tmp_path: Path, other: sqlite3.Connection) -> None:
    other.execute(
        "CREATE TABLE users (uid INTEGER, picture BLOB, login, nickname, mobile,"
        " phone_verified, password_hash, is_active)"
    )
    other.executemany(
        "INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (10001, b"\xff" * 100_000, "ZhangSan", "张三", "+8613800138000", 1, BCRYPT, 0),
            (2**62, None, "lisi", None, "", 0, None, None),
        ],
    )
    assert read(tmp_path) == [
        FileRow(1, AccountRow("10001", "ZhangSan", "张三", "+8613800138000", True, BCRYPT, True)),
        FileRow(2, AccountRow(str(2**62), "lisi")),
    ]


def test_values_that_no_field_can_hold(tmp_path: Path, other: sqlite3.Connection) -> None:
    other.execute("CREATE TABLE users (id, username)")
    other.executemany(
        "INSERT INTO users VALUES (?, ?)",
        [
            (1.0, "a"),
            (b"2", "b"),
            (None, "c"),
            (4, "x" * 70_000),
            (5, "e"),
        ],
    )
    other.execute("INSERT INTO users VALUES (6, CAST(x'61ff' AS TEXT))")
    *refused, fifth, sixth = read(tmp_path)
    assert [row.problem for row in refused] == [
        "the id is neither a text nor a whole number",
        "the id is neither a text nor a whole number",
        "there is no id",
        "the username is longer than 65536 characters",
    ]
    assert fifth == FileRow(5, AccountRow("5", "e"))
    assert sixth.account == AccountRow("6", "a\udcff")  # which the importer refuses


def test_the_table_is_named(tmp_path: Path, other: sqlite3.Connection) -> None:
    other.execute('CREATE TABLE "the ""users""; --" (id, username)')
    other.execute(
        'CREATE VIEW mapped AS SELECT \'u\' || id AS id, username FROM "the ""users""; --"'
    )
    other.execute('INSERT INTO "the ""users""; --" VALUES (1, \'a\')')
    [row] = read(tmp_path, 'the "users"; --')
    assert row.account == AccountRow("1", "a")
    [row] = read(tmp_path, "mapped")
    assert row.account == AccountRow("u1", "a")
    listed = 'there are: mapped, the "users"; --'
    assert refusal(tmp_path) == f"say which table with --table; {listed}"
    assert refusal(tmp_path, "gone") == f"there is no table 'gone'; {listed}"


def test_columns_are_mapped(tmp_path: Path, other: sqlite3.Connection) -> None:
    other.execute('CREATE TABLE users ("a ""b""", "列")')
    other.execute("INSERT INTO users VALUES (1, 'x')")
    assert "the columns are 'a \"b\"', '列'" in refusal(tmp_path)
    [row] = read(tmp_path, id='a "b"', username="列")
    assert row.account == AccountRow("1", "x")


def test_nothing_is_written(tmp_path: Path, other: sqlite3.Connection) -> None:
    other.execute("CREATE TABLE users (id, username)")
    before = (tmp_path / "other.db").read_bytes()
    (tmp_path / "other.db").chmod(0o400)
    assert read(tmp_path) == []
    assert (tmp_path / "other.db").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["other.db"]


def test_a_database_that_is_in_use_is_read_as_it_was(
    tmp_path: Path, other: sqlite3.Connection
) -> None:
    other.execute("PRAGMA journal_mode = wal")
    other.execute("CREATE TABLE users (id, username)")
    other.executemany("INSERT INTO users VALUES (?, 'x')", [(n,) for n in range(10)])
    with closing(SqliteFile(tmp_path / "other.db", ColumnMap({}), table=None)) as file:
        rows = file.rows()
        next(rows)
        other.execute("INSERT INTO users VALUES (10, 'x')")
        assert len([*rows]) == 9
        assert file.place() == (10, 10)


def test_what_is_no_database(tmp_path: Path) -> None:
    assert "cannot be read as an SQLite database (SQLITE_CANTOPEN)" in refusal(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "other.db").write_text("id,username\n1,a\n" * 100)
    assert "cannot be read as an SQLite database (SQLITE_NOTADB)" in refusal(tmp_path)
