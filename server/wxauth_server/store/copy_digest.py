"""What a table holds, in one number that does not depend on the order of its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from wxauth_server.store.copy_tables import CopiedTable
from wxauth_server.store.interface import Row

_BITS = 256
_SQL_NAMES = {str: "TEXT", int: "INTEGER", bytes: "BLOB", float: "REAL"}


@dataclass(frozen=True)
class Content:
    """How many rows a table holds, and what is in them."""

    rows: int
    #: Sum of the SHA-256 of each row, modulo 2**256. Equal for equal rows in any order;
    #: compared within one process only.
    digest: int

    @property
    def fingerprint(self) -> str:
        """The digest as 64 hexadecimal digits."""
        return f"{self.digest:0{_BITS // 4}x}"


def content_of(rows: Iterable[Row]) -> Content:
    """Of rows whose values are str, int, bytes and None, in the same order of columns."""
    count = total = 0
    for row in rows:
        count += 1
        # repr tells apart whatever is different: None, 1, '1' and b'1'.
        total += int.from_bytes(hashlib.sha256(repr(row).encode()).digest())
    return Content(count, total % (1 << _BITS))


def fault_of(table: CopiedTable, row: Row) -> str | None:
    """Why a row cannot be copied, with its key, or None. SQLite takes what others refuse."""
    for (column, kind), value in zip(table.columns.items(), row, strict=True):
        if value is None:
            continue
        if type(value) is not kind:
            found, wanted = (_SQL_NAMES.get(each, each.__name__) for each in (type(value), kind))
            return f"{place_of(table, row)}: {column} holds {found} where {wanted} belongs"
        if isinstance(value, str) and "\0" in value:
            return (
                f"{place_of(table, row)}: {column} holds a NUL character, which PostgreSQL cannot"
            )
    return None


def place_of(table: CopiedTable, row: Row) -> str:
    """Which row of a table it is: its key, binary ones in hexadecimal digits."""
    columns = list(table.columns)
    key = [row[columns.index(column)] for column in table.key]
    return f"{table.name} {', '.join(v.hex() if isinstance(v, bytes) else repr(v) for v in key)}"
