"""JSON files of accounts, as one array and as JSON Lines."""

from __future__ import annotations

import io
import json
import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.imported import BCRYPT, ids
from wxauth_server.accounts.imports.import_columns import ColumnMap
from wxauth_server.accounts.imports.import_files import MAX_ROW_CHARACTERS, FileRefused, FileRow
from wxauth_server.accounts.imports.import_json import JsonFile
from wxauth_server.accounts.imports.import_json_objects import array_elements
from wxauth_server.accounts.imports.importing import AccountRow

TOO_LONG = f"the row is longer than {MAX_ROW_CHARACTERS} characters"
BOTH = pytest.mark.parametrize("lines", [False, True], ids=["array", "lines"])


def read(content: str | bytes, *, lines: bool = False, **said: str) -> list[FileRow]:
    file = io.BytesIO(content.encode() if isinstance(content, str) else content)
    return [*JsonFile(file, ColumnMap(said), encoding="utf-8", lines=lines).rows()]


def file_of(*rows: str, lines: bool) -> str:
    return "\n".join(rows) if lines else "[" + ",\n".join(rows) + "]"


def refusal(content: str, **options: Any) -> str:
    with pytest.raises(FileRefused) as refused:
        read(content, **options)
    return str(refused.value)


@BOTH
def test_every_field(lines: bool) -> None:
    first = {
        "user_id": 10001, "login": "ZhangSan", "nickname": "张三", "mobile": "+8613800138000",
        "phone_verified": True, "password": BCRYPT, "is_active": False, "avatar": {"a": [1]},
    }  # fmt: skip
    second = {"user_id": "2", "login": "lisi", "nickname": None, "is_active": 1}
    rows = read(file_of(json.dumps(first), json.dumps(second), lines=lines), lines=lines)
    assert rows == [
        FileRow(1, AccountRow("10001", "ZhangSan", "张三", "+8613800138000", True, BCRYPT, True)),
        FileRow(2, AccountRow("2", "lisi")),
    ]


@BOTH
@pytest.mark.parametrize(
    ("row", "why"),
    [
        ('{"id": 2, "id": 3, "username": "b"}', "the row has a key twice"),
        ('{"id": 2, "username": b}', "the row is no JSON"),
        ("[2]", "the row is no JSON object"),
        ("null", "the row is no JSON object"),
        ("12", "the row is no JSON object"),
        ("NaN", "the row is no JSON object"),
        ('"a, [{"', "the row is no JSON object"),
        ('{"id": ' + "1" * 5000 + ', "username": "b"}', "the row is no JSON"),
        ('{"id": 2, "username": ' + "[" * 20_000 + "]" * 20_000 + "}", "nested too deeply"),
        ('{"id": 1.5, "username": "b"}', "the id is neither a text nor a whole number"),
        ('{"id": true, "username": "b"}', "the id is neither a text nor a whole number"),
        ('{"id": 2, "username": ["b"]}', "the username is neither"),
        ('{"username": "b"}', "there is no id"),
        ('{"id": 2, "uid": 2, "username": "b"}', "more than one column could be the id"),
        ('{"id": 2, "phone_verified": "maybe"}', "phone_verified is none of true"),
        ('{"id": 2, "phone_verified": 2}', "phone_verified is none of true"),
        ('{"id": "' + "x" * 70_000 + '"}', TOO_LONG),
        ('{"id": "' + 'x\\\\"' * 70_000 + '"}', TOO_LONG),
    ],
    ids=lambda value: value[:50],
)
def test_a_row_that_is_refused_keeps_no_other(lines: bool, row: str, why: str) -> None:
    first, last = '{"id": 1, "username": "a"}', '{"id": 3, "username": "c"}'
    found = ids(read(file_of(first, row, last, lines=lines), lines=lines))
    assert (found[0], found[2]) == ((1, "1"), (3, "3"))
    assert found[1][0] == 2
    assert why in found[1][1]


def test_an_object_that_is_not_closed_ends_with_its_line() -> None:
    found = ids(read('{"id": 1, "username": "a"\n{"id": 2, "username": "b"}', lines=True))
    assert found == [(1, "the row is no JSON"), (2, "2")]


@BOTH
def test_ten_megabytes_are_not_kept(lines: bool) -> None:
    rows = [
        '{"id": 1, "username": "a"}',
        '{"id": 2, "username": "' + '\\"' * 5_000_000 + '"}',
        '{"id": 3, "username": "c"}',
    ]
    content = file_of(*rows, lines=lines).encode()
    del rows
    tracemalloc.start()
    try:
        found = ids(read(content, lines=lines))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == [(1, "1"), (2, TOO_LONG), (3, "3")]
    assert peak < 2_000_000


@BOTH
def test_what_is_no_utf_8(lines: bool) -> None:
    rows = ['{"id": 1, "username": "a"}', '{"id": 2, "username": "张"}']
    with pytest.raises(FileRefused, match=r"line 2 is not utf-8.*--encoding gb18030"):
        read(file_of(*rows, lines=lines).encode("gb18030"), lines=lines)


@BOTH
def test_the_first_object_says_which_columns_there_are(lines: bool) -> None:
    row = '{"number": 1, "username": "a"}'
    assert "no column for id; the columns are 'number', 'username'" in refusal(
        file_of(row, lines=lines), lines=lines
    )
    [found] = read(file_of(row, lines=lines), lines=lines, id="number")
    assert found.account == AccountRow("1", "a")


@BOTH
def test_keys_may_be_missing_later(lines: bool) -> None:
    rows = ['{"id": 1, "username": "a"}', '{"id": 2}', '{"phone": "+1", "id": 3}']
    assert [row.account for row in read(file_of(*rows, lines=lines), lines=lines)] == [
        AccountRow("1", "a"),
        AccountRow("2"),
        AccountRow("3", phone="+1"),
    ]


def test_half_surrogates_are_left_to_the_importer() -> None:
    [row] = read(r'[{"id": 1, "username": "\ud800"}]')
    assert row.account == AccountRow("1", "\ud800")


def test_lines_without_rows() -> None:
    found = ids(read('\n{"id": 1, "username": "a"}\r\n \n{"id": 2}\n\n', lines=True))
    assert found == [(2, "1"), (4, "2")]
    assert read("", lines=True) == []


# --- Arrays ----------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["[]", " [ \n ] \n", "\ufeff[]"])
def test_an_empty_array(content: str) -> None:
    assert read(content) == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "line 1: the file ends before its array does"),
        ("  \n", "line 2: the file ends before its array does"),
        ('{"id": 1}', "--format jsonl"),
        ("[", "the file ends before its array does"),
        ('[{"id": 1, "username": "a"}', "the file ends before its array does"),
        ('[\n{"id": 1, "username": "a"', "line 2: the file ends within the row that begins here"),
        ('[{"id": "' + "x" * 70_000, "the file ends within a row that is too long"),
        ('[{"id": 1, "username": "a"}\n{"id": 2}]', "line 2: the array is no JSON from here on"),
        ('[{"id": 1, "username": "a"}] x', "there is more after the end of the array"),
    ],
    ids=lambda value: value[:30],
)
def test_a_file_that_is_no_array(content: str, why: str) -> None:
    assert why in refusal(content)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=4), _VALUES, max_size=4), max_size=8),
    st.sampled_from([None, 2]),
    st.booleans(),
    st.integers(),
)
@settings(max_examples=40, deadline=None)
def test_an_array_in_pieces_is_what_json_makes_of_it(
    objects: list[dict[str, object]], indent: int | None, ascii_only: bool, seed: int
) -> None:
    """Wherever the pieces are cut."""
    text = json.dumps(objects, indent=indent, ensure_ascii=ascii_only)
    cuts = random.Random(seed)
    pieces = []
    while text:
        cut = cuts.randint(1, 12)
        pieces.append(text[:cut])
        text = text[cut:]
    assert [element for _, element in array_elements(iter(pieces))] == objects


@given(st.text(st.sampled_from('{}[],:"\\ 1n\n'), max_size=40), st.integers(1, 5))
def test_no_array_breaks_the_reader(text: str, width: int) -> None:
    """What is between two good objects is refused, or the file; the pieces do not matter."""
    content = f'[{{"a": 1}}, {text}, {{"b": 2}}]'

    def read_in(pieces: list[str]) -> list[object] | str:
        try:
            return [element for _, element in array_elements(iter(pieces))]
        except FileRefused as error:
            return str(error)

    whole = read_in([content])
    assert whole == read_in([content[at : at + width] for at in range(0, len(content), width)])
    try:
        proper = json.loads(content)
    except ValueError:
        return
    assert isinstance(whole, list)
    assert len(whole) == len(proper)
