"""Reads accounts from CSV (RFC 4180): a header and a row for each account.

A row that is broken or too long is refused and the next one read. Where quotes
do not match, all that they may hold counts as one row: what somebody wrote into
a field must never be taken for an account of its own.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from wxauth_server.accounts.imports.import_columns import (
    ColumnMap,
    Places,
    RowReader,
    ignored_columns,
    read_columns,
)
from wxauth_server.accounts.imports.import_files import (
    MAX_ROW_CHARACTERS,
    Field,
    FileRefused,
    FileRow,
    Place,
)
from wxauth_server.accounts.imports.import_text import DecodedFile, LineTooLong, TextLines

_NO_QUOTES_MATCH = "a quotation mark in it is not matched"


class CsvFile:
    """An `AccountFile`. `delimiter` is one character.

    Raises: FileRefused.
    """

    def __init__(
        self, file: BinaryIO, column_map: ColumnMap, *, encoding: str, delimiter: str
    ) -> None:
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise FileRefused("the delimiter is one character, such as ',' or '\\t'")
        self.columns: dict[Field, str] = {}
        self.ignored: list[str] = []
        self._column_map = column_map
        self._text = DecodedFile(file, encoding)
        self._text.check_all()
        self._lines = TextLines(self._text.pieces())
        # Strict: what is ambiguous is refused, not guessed.
        self._reader = csv.reader(self._lines, delimiter=delimiter, strict=True)

    def place(self) -> Place:
        return self._text.place()

    def rows(self) -> Iterator[FileRow]:
        header = self._header()
        places = self._places(header)
        self.columns = read_columns(places, header)
        self.ignored = ignored_columns(places, header)
        accounts = RowReader(self._column_map)
        while (row := self._next()) is not None:
            if isinstance(row, FileRow):
                yield row
            elif row[1]:
                yield _account(accounts, places, header, *row)

    def _next(self) -> tuple[int, list[str]] | FileRow | None:
        """The next row and the line it begins on; one that is refused; None at the end."""
        self._lines.begin_row()
        line = self._lines.number + 1
        try:
            values = next(self._reader)
        except StopIteration:
            return None
        except LineTooLong as too_long:
            problem = f"the row is longer than {MAX_ROW_CHARACTERS} characters"
            return self._skipped(line, problem, too_long.quotes)
        except csv.Error:
            return self._skipped(line, "the row is no CSV", self._lines.quotes)
        return line, values

    def _skipped(self, line: int, problem: str, quotes: int) -> FileRow:
        """Read on to where quotes match again, and refuse all of it."""
        begun = self._lines.number
        matched = True
        while quotes % 2:
            self._lines.begin_row()
            try:
                next(self._lines)
                quotes += self._lines.quotes
            except LineTooLong as too_long:
                quotes += too_long.quotes
            except StopIteration:
                matched = False
                break
        end = self._lines.number
        if end > line:
            problem += f"; it ends on line {end}"
        if end > begun or not matched:
            problem += f": {_NO_QUOTES_MATCH}"
        return FileRow(line, None, problem)

    def _header(self) -> list[str]:
        first = self._next()
        if first is None:
            raise FileRefused("the file is empty: its first line must name the columns")
        if isinstance(first, FileRow):
            raise FileRefused(f"the first line must name the columns, but {first.problem}")
        if any("\0" in column for column in first[1]):
            raise FileRefused(
                "the first line holds NUL characters: if the file is UTF-16, say which "
                "with --encoding utf-16-le or utf-16-be"
            )
        return first[1]

    def _places(self, header: Sequence[str]) -> Places:
        try:
            return self._column_map.places(header)
        except FileRefused as error:
            hint = "; is it another --delimiter?" if len(header) == 1 else ""
            raise FileRefused(f"{error}{hint}") from None


def _account(
    accounts: RowReader,
    places: Places,
    header: Sequence[str],
    line: int,
    values: Sequence[str],
) -> FileRow:
    if len(values) != len(header):
        count = f"{len(values)} column{'' if len(values) == 1 else 's'}"
        return FileRow(line, None, f"the row has {count}, the header {len(header)}")
    return accounts.row(line, places, header, values)
