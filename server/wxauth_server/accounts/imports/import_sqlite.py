"""Reads accounts from a table, or a view, of another SQLite database.

Opened read-only. The settings of our own database are not for this one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import sqlite_utils
from sqlite_utils.db import quote_identifier

from wxauth_server.accounts.imports.import_columns import (
    FIELDS,
    ColumnMap,
    RowReader,
    ignored_columns,
    read_columns,
)
from wxauth_server.accounts.imports.import_files import FileRefused, FileRow, Place
from wxauth_server.store.sqlite_errors import failures_as

#: How long another program's write to that database is waited for.
_BUSY_TIMEOUT_S = 5.0


class SqliteFile:
    """An `AccountFile`. `table` None: the only one. Raises: FileRefused."""

    def __init__(self, path: Path, column_map: ColumnMap, *, table: str | None) -> None:
        with failures_as(_refusal):
            self._database = _open_read_only(path)
        try:
            with failures_as(_refusal):
                self._begin(table, column_map)
        except BaseException:
            self.close()
            raise
        self._accounts = RowReader(column_map)
        self._read = 0

    def _begin(self, table: str | None, column_map: ColumnMap) -> None:
        # One state of the database from the first question to the last row.
        self._database.execute("BEGIN")
        self._table = _table(self._database, table)
        names = [column.name for column in self._database[self._table].columns]
        places = column_map.places(names)
        self.columns = read_columns(places, names)
        self.ignored = ignored_columns(places, names)
        quoted = quote_identifier(self._table)
        [self._count] = self._database.execute(
            f"SELECT COUNT(*) FROM {quoted}"  # noqa: S608 - quoted
        ).fetchone()

    def place(self) -> Place:
        return Place(self._read, self._count)

    def rows(self) -> Iterator[FileRow]:
        # Only the columns of fields: others may hold anything, and much of it.
        names = list(self.columns.values())
        places = tuple((FIELDS.index(field), n) for n, field in enumerate(self.columns))
        selected = ", ".join(map(quote_identifier, names))
        statement = f"SELECT {selected} FROM {quote_identifier(self._table)}"  # noqa: S608 - quoted
        with failures_as(_refusal):
            for number, values in enumerate(self._database.execute(statement), start=1):
                self._read = number
                yield self._accounts.row(number, places, names, values)

    def close(self) -> None:
        self._database.close()


def _open_read_only(path: Path) -> sqlite_utils.Database:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        timeout=_BUSY_TIMEOUT_S,
    )
    # What is no UTF-8 is refused with its row, not with the table.
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    database = sqlite_utils.Database(connection, execute_plugins=False)
    database.execute("PRAGMA trusted_schema = OFF")
    return database


def _table(database: sqlite_utils.Database, wanted: str | None) -> str:
    names = sorted(
        name
        for name in [*database.table_names(), *database.view_names()]
        if not name.startswith("sqlite_")
    )
    if wanted in names:
        return wanted
    if wanted is None and len(names) == 1:
        return names[0]
    shown = ", ".join(names[:50]) or "none"
    if wanted is None:
        raise FileRefused(f"say which table with --table; there are: {shown}")
    raise FileRefused(f"there is no table {wanted!r}; there are: {shown}")


def _refusal(failure: str) -> FileRefused:
    return FileRefused(f"cannot be read as an SQLite database ({failure})")
