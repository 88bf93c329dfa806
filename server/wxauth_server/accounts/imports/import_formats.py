"""The kinds of files that accounts are imported from, and how each is opened."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from wxauth_server.accounts.imports.import_columns import ColumnMap
from wxauth_server.accounts.imports.import_csv import CsvFile
from wxauth_server.accounts.imports.import_files import AccountFile, FileRefused
from wxauth_server.accounts.imports.import_json import JsonFile
from wxauth_server.accounts.imports.import_sqlite import SqliteFile

#: In place of a path: standard input.
STANDARD_INPUT = Path("-")


class Format(StrEnum):
    """A kind of file."""

    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    SQLITE = "sqlite"


_SUFFIXES = {
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".txt": Format.CSV,
    ".json": Format.JSON,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".db": Format.SQLITE,
    ".sqlite": Format.SQLITE,
    ".sqlite3": Format.SQLITE,
}


@contextlib.contextmanager
def open_accounts(
    path: Path,
    file_format: Format | None,
    column_map: ColumnMap,
    *,
    table: str | None = None,
    encoding: str = "utf-8",
    delimiter: str = ",",
) -> Iterator[AccountFile]:
    """The accounts of a file. A format of None is told by the name of the file.

    `table` is for SQLite, `encoding` for the others, `delimiter` for CSV.
    Raises: FileRefused.
    """
    file_format = file_format or _SUFFIXES.get(path.suffix.lower())
    if file_format is None:
        raise FileRefused(f"say with --format what it is: {', '.join(Format)}")
    if table is not None and file_format is not Format.SQLITE:
        raise FileRefused("--table is for SQLite databases")
    with contextlib.ExitStack() as stack:
        if file_format is Format.SQLITE:
            accounts = SqliteFile(path, column_map, table=table)
            stack.callback(accounts.close)
            yield accounts
            return
        file = stack.enter_context(_open(path))
        if file_format is Format.CSV:
            yield CsvFile(file, column_map, encoding=encoding, delimiter=delimiter)
        else:
            lines = file_format is Format.JSONL
            yield JsonFile(file, column_map, encoding=encoding, lines=lines)


def _open(path: Path) -> contextlib.AbstractContextManager[BinaryIO]:
    if path == STANDARD_INPUT:
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return path.open("rb")
    except OSError as error:
        raise FileRefused(f"cannot be read: {error.strerror}") from None
