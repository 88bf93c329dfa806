"""CSV files of accounts: what is read, what is refused, and on which line."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.imported import BCRYPT, ids
from wxauth_server.accounts.imports.import_columns import ColumnMap
from wxauth_server.accounts.imports.import_csv import CsvFile
from wxauth_server.accounts.imports.import_files import MAX_ROW_CHARACTERS, FileRefused, FileRow
from wxauth_server.accounts.imports.importing import AccountRow

TOO_LONG = f"the row is longer than {MAX_ROW_CHARACTERS} characters"


def read(
    content: str | bytes, *, encoding: str = "utf-8", delimiter: str = ",", **said: str
) -> list[FileRow]:
    file = io.BytesIO(content.encode() if isinstance(content, str) else content)
    return [*CsvFile(file, ColumnMap(said), encoding=encoding, delimiter=delimiter).rows()]


def refusal(content: str | bytes, **options: str) -> str:
    with pytest.raises(FileRefused) as refused:
        read(content, **options)
    return str(refused.value)


def test_every_field() -> None:
    content = (
        "id,username,display_name,phone,phone_verified,password_hash,disabled\n"
        f"1,ZhangSan,张三,+8613800138000,yes,{BCRYPT},TRUE\n"
        "2,lisi,,,,,\n"
    )
    assert read(content) == [
        FileRow(2, AccountRow("1", "ZhangSan", "张三", "+8613800138000", True, BCRYPT, True)),
        FileRow(3, AccountRow("2", "lisi")),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_and_empty_lines(end: str) -> None:
    assert ids(read(end.join(["id,username", "1,a", "", "2,b"]))) == [(2, "1"), (4, "2")]


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8-sig", "utf-8"),
        ("gb18030", "gb18030"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("big5", "big5"),
    ],
)
def test_encodings(encoding: str, said: str) -> None:
    content = "id,username\n1,張三\n".encode(encoding)
    [row] = read(content, encoding=said)
    assert row.account == AccountRow("1", "張三")


def test_a_byte_order_mark_of_another_program_is_no_part_of_a_column() -> None:
    assert ids(read("\ufeffid,username\n1,a\n".encode("gb18030"), encoding="gb18030"))


def test_quotes_delimiters_and_lines_within_fields() -> None:
    content = 'id;username;nickname\n1;a;"x;y"\n"2";b;"one\ntwo ""three"""\n3;c;z\n'
    rows = read(content, delimiter=";")
    assert ids(rows)[::2] == [(2, "1"), (5, "3")]
    assert rows[1] == FileRow(3, AccountRow("2", "b", 'one\ntwo "three"'))


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=20), max_size=20
    )
)
def test_what_a_program_wrote_is_read(names: list[str]) -> None:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["id", "username", "nickname"])
    writer.writerows((f"id{number}", "x", name) for number, name in enumerate(names))
    rows = read(file.getvalue())
    assert [row.account for row in rows] == [
        AccountRow(f"id{number}", "x", name or None) for number, name in enumerate(names)
    ]


# --- The whole file is refused -------------------------------------------------------


def test_an_empty_file() -> None:
    assert "the file is empty" in refusal("")


def test_a_column_that_is_missing() -> None:
    said = refusal("number,Username\n1,a\n")
    assert "no column for id" in said
    assert "'number', 'Username'" in said
    assert "--map id=COLUMN" in said
    assert "--map username=" in refusal("id,nickname\n1,a\n")


def test_another_delimiter_is_proposed() -> None:
    assert refusal("id;username\n1;a\n").endswith("is it another --delimiter?")


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n"])
def test_what_is_no_delimiter(delimiter: str) -> None:
    assert "the delimiter is one character" in refusal("id,username\n", delimiter=delimiter)


def test_a_wrong_encoding_names_the_line_before_anything_is_read() -> None:
    content = "id,username\n1,a\n2,张三\n".encode("gb18030")
    file = io.BytesIO(content)
    with pytest.raises(FileRefused, match=r"line 3 is not utf-8.*--encoding gb18030"):
        CsvFile(file, ColumnMap({}), encoding="utf-8", delimiter=",")


def test_a_wrong_encoding_far_into_a_file() -> None:
    content = b"id,username\n" + b"1,a\n" * 50_000 + b"2,\xff\n"
    assert "line 50002 is not utf-8" in refusal(content)


def test_a_character_that_is_cut_off_at_the_end() -> None:
    assert "line 2 is not utf-8" in refusal("id,username\n1,张".encode()[:-1])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_recognised(encoding: str) -> None:
    content = ("" if encoding == "utf-16" else "\ufeff") + "id,username\n1,a\n"
    assert "--encoding utf-16" in refusal(content.encode(encoding))
    assert "--encoding utf-16" in refusal(content.encode(encoding), encoding="gb18030")


def test_utf_16_without_its_mark_is_suspected() -> None:
    assert "--encoding utf-16-le" in refusal("id,username\n1,a\n".encode("utf-16-le"))


@pytest.mark.parametrize("encoding", ["nonsense", "rot13", "hex", "undefined"])
def test_what_is_no_encoding(encoding: str) -> None:
    assert f"the encoding {encoding!r} is not known" in refusal("id\n", encoding=encoding)


def test_a_header_that_is_none() -> None:
    assert "the first line must name the columns" in refusal("x" * (MAX_ROW_CHARACTERS + 1))


def test_how_far_it_is() -> None:
    content = b"id,username\n" + b"1,a\n" * 100_000
    file = CsvFile(io.BytesIO(content), ColumnMap({}), encoding="utf-8", delimiter=",")
    rows = file.rows()
    assert file.place() == (0, len(content))
    next(rows)
    assert 0 < file.place().done < len(content)
    assert sum(1 for _ in rows) == 99_999
    assert file.place() == (len(content), len(content))
    assert (file.columns, file.ignored) == ({"id": "id", "username": "username"}, [])
