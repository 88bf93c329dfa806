"""SQLite as one of the two databases of a copy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from wxauth_server.errors import StoreUnavailable
from wxauth_server.store.copy_digest import place_of
from wxauth_server.store.copy_end import CopyEnd, CopyFailed
from wxauth_server.store.copy_tables import CopiedTable
from wxauth_server.store.inspection import InspectionFailed, inspected
from wxauth_server.store.interface import Row, Transaction
from wxauth_server.store.schema import CODE_VERSION
from wxauth_server.store.sqlite import DATABASE_NAME, SQLiteStore
from wxauth_server.store.sqlite_errors import failures_as

T = TypeVar("T")

#: Rows of one SELECT: about 2 MB of sessions.
_PAGE_ROWS = 5_000


class SQLiteEnd:
    """See `CopyEnd`."""

    def __init__(self, tx: Transaction, path: Path) -> None:
        self._tx = tx
        self.place = f"the SQLite database {path}"

    def execute(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Row]:
        with failures_as(self._failed):
            return self._tx.execute(sql, parameters or {})

    def rows(self, table: CopiedTable) -> Iterator[Row]:
        columns = list(table.columns)
        places = [columns.index(column) for column in table.key]
        last = ", ".join(f":k{number}" for number in range(len(places)))
        order = f"FROM {table.name} {{}} ORDER BY {table.key_list} LIMIT {_PAGE_ROWS}"
        rest, parameters = order.format(""), dict[str, object]()
        while page := self._page(table, rest, parameters):
            yield from page
            rest = order.format(f"WHERE ({table.key_list}) > ({last})")
            parameters = {f"k{number}": page[-1][place] for number, place in enumerate(places)}

    def _page(
        self, table: CopiedTable, rest: str, parameters: Mapping[str, object]
    ) -> Sequence[Row]:
        try:
            return self.execute(f"SELECT {table.column_list} {rest}", parameters)
        except CopyFailed as failed:
            problem = str(failed)
        # Perhaps no fault of SQLite's: it takes any bytes for a text.
        texts = [kind is str for kind in table.columns.values()]
        raw = ", ".join(
            f"CAST({column} AS BLOB)" if text else column
            for column, text in zip(table.columns, texts, strict=True)
        )
        for row in self.execute(f"SELECT {raw} {rest}", parameters):
            read = tuple(map(_as_text, row, texts))
            for column, value, text in zip(table.columns, read, texts, strict=True):
                if text and isinstance(value, bytes):
                    raise CopyFailed(f"{self.place}: {place_of(table, read)}: {column} is no UTF-8")
        raise CopyFailed(problem)

    def insert(self, table: CopiedTable, rows: Iterable[Row]) -> None:
        columns = list(table.columns)
        values = ", ".join(f":{column}" for column in columns)
        sql = f"INSERT INTO {table.name} ({table.column_list}) VALUES ({values})"  # noqa: S608
        with failures_as(self._failed):
            for row in rows:
                self._tx.execute(sql, dict(zip(columns, row, strict=True)))

    def number_after(self, table: CopiedTable, newest: int) -> None:
        """Nothing: SQLite numbers a row one higher than the highest there is."""

    def _failed(self, problem: str) -> CopyFailed:
        return CopyFailed(f"{self.place} fails ({problem}): wxauth doctor looks at file and disk")


def hold_sqlite(directory: Path, work: Callable[[CopyEnd], T], *, create: bool) -> T:
    """Run `work` on the database of a data directory (copy_end.HoldEnd).

    As the one writer from the first, also where it only reads: the commands on a data
    directory do not ask for its lock. With `create` it is made if it is not there.
    Raises: CopyFailed, StoreUnusable.
    """
    path = directory / DATABASE_NAME
    if _exists(path):
        _require_schema(directory, path)  # SQLiteStore would migrate it
    elif not create:
        raise CopyFailed(f"{directory} holds no wxauth database: name its directory with --data")
    store = SQLiteStore(directory)
    try:
        return store.write(lambda tx: work(SQLiteEnd(tx, path)))
    except StoreUnavailable:
        raise CopyFailed(
            f"{path}: another command writes to it, or what was written cannot be kept: end the "
            "other command, and see whether the disk is full"
        ) from None
    finally:
        store.close()


def _as_text(value: object, text: bool) -> object:
    """A value of a text column as a text, or as the bytes that are none."""
    if text and isinstance(value, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            return value.decode()
    return value


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise CopyFailed(f"{path} cannot be reached: {error.strerror}") from None
    return True


def _require_schema(directory: Path, path: Path) -> None:
    try:
        with inspected(directory) as inspection:
            state = inspection.execute("SELECT version FROM schema_state")
    except InspectionFailed as failed:
        raise CopyFailed(
            f"{path} cannot be read as a database of wxauth ({failed}): wxauth doctor looks at it"
        ) from None
    version = state[0][0] if state else 0
    if version < CODE_VERSION:
        raise CopyFailed(
            f"{path} has schema {version}, and this wxauth copies schema {CODE_VERSION}: run "
            "wxauth migrate with a configuration without store.url first"
        )
    if version > CODE_VERSION:
        raise CopyFailed(newer_schema(path, version))


def newer_schema(place: object, version: int) -> str:
    """That a database may hold more than this code knows of, even if it can serve it."""
    return (
        f"{place} has schema {version}, and this wxauth copies schema {CODE_VERSION}: copy with "
        "the newer wxauth"
    )
