"""Which column is which field, and how values are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.imported import BCRYPT
from wxauth_server.accounts.imports.import_columns import (
    COMMON_NAMES,
    ColumnMap,
    RowReader,
    ValueRefused,
    ignored_columns,
    read_columns,
)
from wxauth_server.accounts.imports.import_files import Field, FileRefused
from wxauth_server.accounts.imports.importing import AccountRow


def refusal(columns: list[str], **said: str) -> str:
    with pytest.raises(FileRefused) as refused:
        ColumnMap(said).places(columns)
    return str(refused.value)


def account(columns: list[str], values: list[object], **said: str) -> AccountRow:
    column_map = ColumnMap(said)
    return RowReader(column_map).account(column_map.places(columns), columns, values)


@pytest.mark.parametrize(
    ("field", "name"), [(field, name) for field, names in COMMON_NAMES.items() for name in names]
)
def test_common_names(field: Field, name: str) -> None:
    others = [other for other in ("id", "username") if other != field]
    columns = ["x", f" {name.upper()} ", *others]
    assert read_columns(ColumnMap({}).places(columns), columns)[field] == columns[1]


def test_the_documentation_has_every_common_name() -> None:
    page = Path(__file__).parents[2] / "docs" / "import.md"
    told = re.findall(
        r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|", page.read_text("utf-8"), re.MULTILINE
    )
    assert {field: tuple(re.findall(r"\w+", names)) for field, names in told} == COMMON_NAMES


def test_what_is_said_goes_before_names() -> None:
    columns = ["id", "Nr", "username", "phone"]
    places = ColumnMap({"id": "Nr", "phone": ""}).places(columns)
    assert read_columns(places, columns) == {Field.ID: "Nr", Field.USERNAME: "username"}
    assert ignored_columns(places, columns) == ["id", "phone"]


def test_two_columns_for_one_field() -> None:
    assert "more than one column could be the id: 'id', 'user_id'" in refusal(
        ["id", "user_id", "username"]
    )
    assert "more than one column" in refusal(["id", "username", "Username"])
    assert "more than one column" in refusal(["n", "n", "username"], id="n")
    # What is not read may be there twice.
    assert ColumnMap({}).places(["id", "x", "x", "username"])


def test_columns_that_are_missing() -> None:
    said = refusal(["a", "b"])
    assert said.startswith("there is no column for id and username; the columns are 'a', 'b'")
    assert "there is no column 'c' for phone" in refusal(["id", "username"], phone="c")
    assert ColumnMap({"username": ""}).places(["x", "id"]) == ((0, 1),)
    assert "no column for id" in refusal(["a"], id="", username="")


def test_a_header_of_a_thousand_columns_is_not_repeated() -> None:
    assert len(refusal(["x" * 1000] * 1000)) < 5000


def test_a_field_that_there_is_not() -> None:
    with pytest.raises(FileRefused, match=r"no field 'email'.*id, username, display_name"):
        ColumnMap({"email": "x"})


def test_disabled_and_enabled() -> None:
    columns = ["id", "username", "is_active"]
    for value, disabled in (("1", False), ("0", True), ("", False), (None, False), (False, True)):
        assert account(columns, ["1", "a", value]).disabled is disabled
    assert account(columns, ["1", "a", "1"], disabled="is_active", enabled="").disabled
    assert "a column for disabled and one for enabled" in refusal([*columns, "disabled"])


@pytest.mark.parametrize("value", ["true", "TRUE", "1", "yes", "Yes", 1, True], ids=repr)
def test_true(value: object) -> None:
    assert account(["id", "username", "disabled"], ["1", "a", value]).disabled


@pytest.mark.parametrize("value", ["false", "0", "no", "", 0, False, None], ids=repr)
def test_false(value: object) -> None:
    assert not account(["id", "username", "disabled"], ["1", "a", value]).disabled


@pytest.mark.parametrize("value", ["2", "on", "y", " 1", 2, 1.0, "2024-01-01"], ids=repr)
def test_neither_true_nor_false(value: object) -> None:
    with pytest.raises(ValueRefused, match="disabled is"):
        account(["id", "username", "disabled"], ["1", "a", value])


def refused_password(column: str, *values: str, **said: str) -> str:
    """The file is refused at the last value, and not before."""
    columns = ["id", "username", column]
    column_map = ColumnMap(said)
    reader = RowReader(column_map)
    places = column_map.places(columns)
    for value in values[:-1]:
        reader.account(places, columns, ["1", "a", value])
    with pytest.raises(FileRefused) as refused:
        reader.account(places, columns, ["1", "a", values[-1]])
    return str(refused.value)


@pytest.mark.parametrize("before", [[], ["", ""], ["!"]], ids=str)
def test_plain_passwords_are_refused_with_an_explanation(before: list[str]) -> None:
    said = refused_password("Password", *before, "correct horse")
    assert "correct horse" not in said
    assert "Passwords in plain text are not imported" in said
    assert "--map password_hash=" in said


def test_a_column_of_hashes_may_be_called_password() -> None:
    columns = ["id", "username", "password"]
    reader = RowReader(ColumnMap({}))
    places = ColumnMap({}).places(columns)
    assert reader.account(places, columns, ["1", "a", BCRYPT]).password_hash == BCRYPT
    # From the first hash on, others are refused by the importer, with their rows.
    assert reader.account(places, columns, ["2", "b", "plain"]).password_hash == "plain"


@pytest.mark.parametrize("column", ["password_hash", "password"])
def test_where_it_was_said_rows_are_refused_one_by_one(column: str) -> None:
    said = {} if column == "password_hash" else {"password_hash": column}
    assert account(["id", "username", column], ["1", "a", "x"], **said).password_hash == "x"
