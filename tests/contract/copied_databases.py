"""Databases to copy from and to, and what is in them, read without the code of the copy."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from hypothesis import strategies as st

from wxauth_server.store.copy_end import CopyEnd, HoldEnd
from wxauth_server.store.copy_postgresql import hold_postgresql
from wxauth_server.store.copy_sqlite import hold_sqlite
from wxauth_server.store.copy_tables import COPIED, CopiedTable
from wxauth_server.store.copying import Step
from wxauth_server.store.interface import Row
from wxauth_server.store.sqlite import DATABASE_NAME, SQLiteStore

T = TypeVar("T")

Content = dict[str, list[tuple[Any, ...]]]

_ACCOUNT = ("account_source", "account_id")
#: The integers that are a key.
_NUMBERS = {"id"}
_TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    | st.sampled_from("\\N\t\n'%"),
    max_size=12,
)
_INTEGERS = st.integers(-(2**63), 2**63 - 1)


class Unwatched:
    """A copy that nobody watches."""

    def expect(self, rows: Mapping[str, int], steps: int) -> None:
        """Nothing."""

    def follow(self, step: Step, table: str, rows: Iterable[Row]) -> Iterator[Row]:
        return iter(rows)


def sqlite_end(directory: Path, *, create: bool = False) -> HoldEnd:
    def hold(work: Callable[[CopyEnd], T]) -> T:
        return hold_sqlite(directory, work, create=create)

    return hold


def postgresql_end(url: str) -> HoldEnd:
    def hold(work: Callable[[CopyEnd], T]) -> T:
        return hold_postgresql(url, work)

    return hold


def new_sqlite(directory: Path, content: Content | None = None) -> Path:
    """A database of today's schema with these rows; its directory."""
    SQLiteStore(directory).close()
    with closing(sqlite3.connect(directory / DATABASE_NAME)) as database, database:
        for table in COPIED:
            marks = ", ".join("?" * len(table.columns))
            database.executemany(
                f"INSERT INTO {table.name} ({table.column_list}) VALUES ({marks})",
                (content or {}).get(table.name, []),
            )
    return directory


def run_in_sqlite(directory: Path, *statements: str) -> list[tuple[Any, ...]]:
    """What the last of them selects."""
    with closing(sqlite3.connect(directory / DATABASE_NAME)) as database, database:
        return [database.execute(statement).fetchall() for statement in statements][-1]


def run_in_postgresql(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """What the last of them selects."""
    with psycopg.connect(url) as database:
        cursors = [database.execute(statement.encode()) for statement in statements]
        return cursors[-1].fetchall() if cursors[-1].description else []


def in_sqlite(directory: Path) -> Content:
    """Every copied row, sorted."""
    return _sorted(lambda statement: run_in_sqlite(directory, statement))


def in_postgresql(url: str) -> Content:
    """Every copied row, sorted."""
    return _sorted(lambda statement: run_in_postgresql(url, statement))


def _sorted(run: Callable[[str], list[tuple[Any, ...]]]) -> Content:
    return {
        table.name: sorted(run(f"SELECT {table.column_list} FROM {table.name}"), key=repr)
        for table in COPIED
    }


def not_null(directory: Path) -> dict[str, set[str]]:
    """The columns of each table that must have a value."""
    return {
        table.name: {
            name
            for _, name, _, required, _, key in run_in_sqlite(
                directory, f"PRAGMA table_info({table.name})"
            )
            if required or key
        }
        for table in COPIED
    }


@st.composite
def contents(draw: st.DrawFn, required: Mapping[str, set[str]]) -> Content:
    """Rows that the schema takes: every kind of value, NULL wherever it may be."""
    content: Content = {}
    for table in COPIED:
        accounts = [row[:2] for row in content.get("accounts", [])]
        wanted = 0 if table.columns.keys() & set(_ACCOUNT) and not accounts else 4
        content[table.name] = [
            draw(_row(table, number, accounts, required[table.name]))
            for number in range(draw(st.integers(0, wanted)))
        ]
    return content


@st.composite
def _row(
    draw: st.DrawFn,
    table: CopiedTable,
    number: int,
    accounts: list[tuple[Any, ...]],
    required: set[str],
) -> tuple[Any, ...]:
    account = dict(zip(_ACCOUNT, draw(st.sampled_from(accounts or [("", "")])), strict=True))
    values: list[object] = []
    for column, kind in table.columns.items():
        value: object
        if column in account and column in required:
            value = account[column]
        elif column not in required and draw(st.booleans()):
            value = None
        elif column == "exclusive":
            value = draw(st.integers(0, 1))
        elif kind is int:
            value = number if column in _NUMBERS else draw(_INTEGERS)
        elif kind is str:
            value = draw(_TEXT) + str(number)
        else:
            value = draw(st.binary(max_size=8)) + bytes([number])
        values.append(value)
    return tuple(values)
