"""Which column of another system's table holds which field, and how its values are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from wxauth_server.accounts.imports.import_files import (
    MAX_ROW_CHARACTERS,
    Field,
    FileRefused,
    FileRow,
)
from wxauth_server.accounts.imports.importing import AccountRow
from wxauth_server.accounts.passwords.foreign_hashes import take_over
from wxauth_server.accounts.passwords.password_refusals import NoUsablePassword, PasswordRefused

FIELDS = tuple(Field)

#: Which columns are read: the place of a field in FIELDS, and that of its column in
#: a row. Numbers, since a million rows are read by them.
Places = tuple[tuple[int, int], ...]

#: A column of plain passwords has this name more often than one of hashes.
_PASSWORD = "password"  # noqa: S105 - the name of a column

#: What each field's column is called where nobody says so. Case does not matter.
COMMON_NAMES: Mapping[Field, tuple[str, ...]] = {
    Field.ID: ("id", "user_id", "uid"),
    Field.USERNAME: ("username", "user_name", "login"),
    Field.DISPLAY_NAME: ("display_name", "nickname"),
    Field.PHONE: ("phone", "mobile"),
    Field.PHONE_VERIFIED: ("phone_verified",),
    Field.PASSWORD_HASH: ("password_hash", _PASSWORD),
    Field.DISABLED: ("disabled",),
    Field.ENABLED: ("enabled", "is_active"),
}
# Python refuses to write much longer numbers, and no id has them.
_MAX_BITS = 1024

_REQUIRED = (Field.ID, Field.USERNAME)

_BOOLEANS = {
    "0": False, "false": False, "no": False,
    "1": True, "true": True, "yes": True,
}  # fmt: skip


class ValueRefused(ValueError):
    """A value that a field cannot hold. The text does not repeat it."""


class ColumnMap:
    """What was said about columns: field -> column, or "" for none; the rest by its name.

    Raises: FileRefused for a field that there is not.
    """

    def __init__(self, said: Mapping[str, str]) -> None:
        for name in said:
            if name not in set(Field):
                raise FileRefused(f"there is no field {name!r}: the fields are {', '.join(Field)}")
        self._said = {Field(name): column for name, column in said.items()}

    def places(self, columns: Sequence[str], *, all_there: bool = True) -> Places:
        """The places of the fields' columns among these.

        With `all_there` False a column can be missing: an object has no key for it.
        Raises: FileRefused for a column that is missing, or there twice.
        """
        names = [column.strip().casefold() for column in columns]
        found: dict[Field, int] = {}
        for field, common in COMMON_NAMES.items():
            said = self._said.get(field)
            if said is None:
                places = [place for place, name in enumerate(names) if name in common]
            else:
                places = [place for place, column in enumerate(columns) if column == said]
                if not places and said and all_there:
                    raise FileRefused(f"there is no column {said!r} for {field}; {_found(columns)}")
            if len(places) > 1:
                which = ", ".join(repr(columns[place]) for place in places)
                raise FileRefused(
                    f"more than one column could be the {field}: {which}; "
                    f"say which with --map {field}=COLUMN; columns of one name cannot be told apart"
                )
            if places:
                found[field] = places[0]
        if {Field.DISABLED, Field.ENABLED} <= set(found):
            raise FileRefused(
                "there is a column for disabled and one for enabled: "
                "leave one out with --map disabled= or --map enabled="
            )
        if all_there:
            self.require(found, columns)
        return tuple((FIELDS.index(field), place) for field, place in found.items())

    def require(self, found: Collection[Field], columns: Sequence[str]) -> None:
        """Raises: FileRefused for a required field without a column."""
        missing = [
            field
            for field in _REQUIRED
            if field not in found and (field is Field.ID or self._said.get(field) != "")
        ]
        if missing:
            raise FileRefused(
                f"there is no column for {' and '.join(missing)}; {_found(columns)}; "
                f"name it with --map {missing[0]}=COLUMN"
                + (", or accounts without usernames with --map username=" * ("id" not in missing))
            )

    @property
    def takes_any_password(self) -> bool:
        """Whether it was said that a column holds hashes."""
        return bool(self._said.get(Field.PASSWORD_HASH))


def read_columns(places: Places, columns: Sequence[str]) -> dict[Field, str]:
    """The name of each field's column."""
    return {FIELDS[field]: columns[place] for field, place in places}


def ignored_columns(places: Places, columns: Sequence[str]) -> list[str]:
    """The names of those that are read as no field."""
    used = {place for _, place in places}
    return [column for place, column in enumerate(columns) if place not in used]


class RowReader:
    """Makes accounts of the values of rows."""

    def __init__(self, column_map: ColumnMap) -> None:
        self._column_map = column_map
        self._password_was_seen = column_map.takes_any_password

    def row(
        self, line: int, places: Places, columns: Sequence[str], values: Sequence[object]
    ) -> FileRow:
        """The account of one row, or why it is none. Raises: FileRefused, as `account`."""
        try:
            return FileRow(line, self.account(places, columns, values))
        except ValueRefused as error:
            named = (_readable(field, places, values) for field in (Field.ID, Field.USERNAME))
            return FileRow(line, None, str(error), *named)

    def account(
        self, places: Places, columns: Sequence[str], values: Sequence[object]
    ) -> AccountRow:
        """The account of one row.

        Raises: ValueRefused; FileRefused if the first password is none that was hashed.
        """
        texts: list[str | None] = [None] * len(FIELDS)
        for field, place in places:
            value = values[place]
            if value is None or value == "":
                continue
            if type(value) is not str:
                value = _text(FIELDS[field], value)
            if len(value) > MAX_ROW_CHARACTERS:
                raise ValueRefused(
                    f"the {FIELDS[field]} is longer than {MAX_ROW_CHARACTERS} characters"
                )
            texts[field] = value
        account_id, username, display_name, phone, verified, password, disabled, enabled = texts
        if account_id is None:
            raise ValueRefused("there is no id")
        if password is not None and not self._password_was_seen:
            column = read_columns(places, columns)[Field.PASSWORD_HASH]
            self._refuse_plain_passwords(column, password)
        return AccountRow(
            account_id,
            username,
            display_name,
            phone,
            _boolean(Field.PHONE_VERIFIED, verified),
            password,
            not _boolean(Field.ENABLED, enabled) if enabled else _boolean(Field.DISABLED, disabled),
        )

    def _refuse_plain_passwords(self, column: str, password: str) -> None:
        """Raises: FileRefused when a column that is called "password" holds no hashes."""
        self._password_was_seen = True
        if column.strip().casefold() != _PASSWORD:
            return
        try:
            take_over(password)
        except NoUsablePassword:
            self._password_was_seen = False
        except PasswordRefused as error:
            raise FileRefused(
                f"the column {column!r} holds no password hashes that can be taken over ({error}). "
                "Passwords in plain text are not imported: hashing a million of them takes days, "
                "and no file should hold them. Export the hashes that your system keeps, so that "
                "users keep their passwords; or leave passwords out with --map password_hash="
                f"; or have only such rows refused with --map password_hash={column}"
            ) from None


def _readable(field: Field, places: Places, values: Sequence[object]) -> str:
    """A field of a row that is refused; "" if that has none, or none that can be stored."""
    for index, place in places:
        value = values[place]
        if FIELDS[index] is field and value is not None:
            try:
                text = value if isinstance(value, str) else _text(field, value)
            except ValueRefused:
                return ""
            return text if len(text) <= MAX_ROW_CHARACTERS else ""
    return ""


def _text(field: Field, value: object) -> str:
    """A number of JSON or SQL as decimal text. Raises: ValueRefused."""
    if isinstance(value, bool):
        if field in {Field.PHONE_VERIFIED, Field.DISABLED, Field.ENABLED}:
            return "1" if value else "0"
    elif isinstance(value, int) and value.bit_length() <= _MAX_BITS:
        return str(value)
    raise ValueRefused(f"the {field} is neither a text nor a whole number")


def _boolean(field: Field, text: str | None) -> bool:
    if text is None:
        return False
    value = _BOOLEANS.get(text.casefold())
    if value is None:
        raise ValueRefused(f"{field} is none of true, false, 1, 0, yes, no and nothing")
    return value


def _found(columns: Sequence[str]) -> str:
    shown = ", ".join(repr(column[:64]) for column in columns[:50])
    more = f" and {len(columns) - 50} more" if len(columns) > 50 else ""
    return f"the columns are {shown}{more}"
