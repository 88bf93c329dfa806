"""The database as it lies there, looked at beside a server or without one, and left as it is.

SQLiteStore makes, migrates and tidies up; this does nothing of that, not even the
files that SQLite puts beside a database.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wxauth_server.store.interface import Row
from wxauth_server.store.revocation_log import Revocation
from wxauth_server.store.sqlite import BUSY_TIMEOUT_MS, DATABASE_NAME
from wxauth_server.store.sqlite_errors import failures_as

WAL_SUFFIX, SHM_SUFFIX = "-wal", "-shm"

# SQLite asks whether time is up after this many of its instructions, about a millisecond.
_STEPS = 10_000


class InspectionFailed(Exception):
    """The database cannot be read. The text is the name of SQLite's error."""


class Inspection:
    """One consistent state of the database; a `Transaction` that cannot write.

    Raises everywhere: InspectionFailed.
    """

    def __init__(self, connection: sqlite3.Connection, wal: Path, *, immutable: bool) -> None:
        self._connection = connection
        self._wal = wal
        self._immutable = immutable
        self.revocations: list[Revocation] = []

    def execute(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Row]:
        with failures_as(InspectionFailed):
            return self._connection.execute(sql, dict(parameters or {})).fetchall()

    def is_sound(self, within_s: float) -> bool | None:
        """Whether SQLite finds no fault in the file; None when it takes longer than that."""
        end = time.monotonic() + within_s
        self._connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        try:
            # One row, "ok" or the first fault, whose text may hold values.
            [(verdict,)] = self.execute("PRAGMA quick_check(1)")
        except InspectionFailed:
            if time.monotonic() > end:
                return None
            raise
        finally:
            self._connection.set_progress_handler(None, 0)
        return bool(verdict == "ok")

    @property
    def overtaken(self) -> bool:
        """Whether somebody began to write since, so that what was read may be of two states."""
        return self._immutable and _holds_something(self._wal)


@contextlib.contextmanager
def inspected(directory: Path) -> Iterator[Inspection]:
    """The database of a data directory. Raises: InspectionFailed."""
    path = directory / DATABASE_NAME
    wal = path.with_name(path.name + WAL_SUFFIX)
    # Without anything in the write-ahead log the database file has it all, and nothing has
    # to be locked; SQLite would put the mode of an empty log right. With something in it
    # its index is there too, and is read as it is.
    immutable = not _holds_something(wal)
    options = "immutable=1" if immutable else "readonly_shm=1"
    with failures_as(InspectionFailed):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro&{options}",
            uri=True,
            isolation_level=None,
            timeout=BUSY_TIMEOUT_MS / 1000,
        )
    with contextlib.closing(connection):
        with failures_as(InspectionFailed):
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("BEGIN")
        yield Inspection(connection, wal, immutable=immutable)


def _holds_something(wal: Path) -> bool:
    try:
        return wal.stat().st_size > 0
    except OSError:
        return False
