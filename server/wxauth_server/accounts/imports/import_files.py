"""What every reader of a file of accounts has in common: what it yields and what it refuses.

The readers are `import_csv.py`, `import_json.py` and `import_sqlite.py`; each
yields rows one at a time, in memory that does not grow with the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple, Protocol

from wxauth_server.accounts.imports.importing import AccountRow

#: The longest row, in characters. A longer one is refused without being kept: the
#: fields of an account, at their limits, are below 2,000.
MAX_ROW_CHARACTERS = 64 * 1024


class Field(StrEnum):
    """What a column can hold."""

    ID = "id"
    USERNAME = "username"
    DISPLAY_NAME = "display_name"
    PHONE = "phone"
    PHONE_VERIFIED = "phone_verified"
    PASSWORD_HASH = "password_hash"  # noqa: S105 - the name of a field
    DISABLED = "disabled"
    #: The opposite of DISABLED, for tables that have it this way.
    ENABLED = "enabled"


class FileRefused(ValueError):
    """A file that cannot be imported as it is. The text says why, and what can be done."""


class FileRow(NamedTuple):
    """A row of a file: an account, or why it is none."""

    #: Where the row begins: the line of a text file, the number of a row in a table.
    line: int
    account: AccountRow | None
    problem: str = ""
    #: Of a row that is no account: which one it would be, as far as that can be read.
    id: str = ""
    username: str = ""


class Place(NamedTuple):
    """How far a file has been read; in bytes, of a table in rows."""

    done: int
    #: None if unknown: what comes through a pipe.
    total: int | None


class AccountFile(Protocol):
    """A file of accounts that is open. For one thread."""

    #: The column that each field is read from, and those that nothing is read from,
    #: for people. Known when the first row is.
    columns: dict[Field, str]
    ignored: list[str]

    def rows(self) -> Iterator[FileRow]:
        """Its rows, once.

        Raises: FileRefused, before the first row where what is wrong shows by then.
        """
        ...

    def place(self) -> Place:
        """How far `rows` has come."""
        ...
