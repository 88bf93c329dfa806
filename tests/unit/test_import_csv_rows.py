"""Broken and endless rows of CSV files: each is refused, and the next one read."""

from __future__ import annotations

import csv
import io
import tracemalloc

import pytest

from tests.unit.imported import ids
from wxauth_server.accounts.imports.import_columns import ColumnMap
from wxauth_server.accounts.imports.import_csv import CsvFile
from wxauth_server.accounts.imports.import_files import MAX_ROW_CHARACTERS, FileRow
from wxauth_server.accounts.imports.importing import AccountRow

TOO_LONG = f"the row is longer than {MAX_ROW_CHARACTERS} characters"


def read(content: str | bytes) -> list[FileRow]:
    file = io.BytesIO(content.encode() if isinstance(content, str) else content)
    return [*CsvFile(file, ColumnMap({}), encoding="utf-8", delimiter=",").rows()]


def test_a_row_of_another_width() -> None:
    assert ids(read("id,username\n1\n2,b,c\n3,d\n")) == [
        (2, "the row has 1 column, the header 2"),
        (3, "the row has 3 columns, the header 2"),
        (4, "3"),
    ]


@pytest.mark.parametrize("megabytes", [1, 10])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_line_of_megabytes_is_not_kept(quote: str, megabytes: int) -> None:
    line = f"2,{quote}{'x' * megabytes * 1_000_000}{quote}\n"
    content = f"id,username\n1,a\n{line}3,c\n".encode()
    del line
    tracemalloc.start()
    try:
        rows = read(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ids(rows) == [(2, "1"), (3, TOO_LONG), (4, "3")]
    assert peak < 2_000_000


def test_a_long_line_at_the_end() -> None:
    assert ids(read("id,username\n1,a\n" + "x" * 200_000))[1:] == [(3, TOO_LONG)]


def test_the_longest_row() -> None:
    short = "1," + "x" * (MAX_ROW_CHARACTERS - 3) + "\n"
    assert len(short) == MAX_ROW_CHARACTERS
    assert ids(read("id,username\n" + short + "x" + short)) == [(2, "1"), (3, TOO_LONG)]


@pytest.mark.parametrize("filler", ["x" * 100_000, "x\n" * 50_000, '"",""' * 20_000])
def test_what_is_written_into_a_field_is_no_account(filler: str) -> None:
    """However long the field is: its author does not get to add accounts."""
    biography = f"{filler}\n99,intruder,\n{filler}\n98,intruder,\n"
    file = io.StringIO()
    csv.writer(file).writerows(
        [("id", "username", "biography"), ("1", "a", biography), ("2", "b", "")]
    )
    content = file.getvalue()
    last = content.count("\n")
    first, second = ids(read(content))
    assert first[0] == 2
    assert first[1].startswith(f"{TOO_LONG}; it ends on line {last - 1}")
    assert second == (last, "2")


def test_a_quote_that_is_not_closed() -> None:
    rows = ids(read('id,username\n1,a\n2,"b\n3,c\n'))
    assert rows == [
        (2, "1"),
        (3, "the row is no CSV; it ends on line 4: a quotation mark in it is not matched"),
    ]


def test_a_quote_that_is_closed_too_late() -> None:
    content = 'id,username\n1,"a\n' + "2,b\n" * 50_000 + '9,c"\n10,d\n'
    assert ids(read(content)) == [
        (2, f"{TOO_LONG}; it ends on line 50003: a quotation mark in it is not matched"),
        (50_004, "10"),
    ]


def test_quotes_in_the_wrong_place() -> None:
    assert ids(read('id,username\n1,"a"b\n2,c"d\n3,e\n')) == [
        (2, "the row is no CSV"),
        (3, "2"),
        (4, "3"),
    ]


def test_nul_characters_are_refused_with_their_row() -> None:
    rows = read("id,username\n1,a\0b\n2,c\n")
    assert ids(rows)[1] == (3, "2")
    assert rows[0].account == AccountRow("1", "a\0b")  # which the importer refuses
