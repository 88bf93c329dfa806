"""One of the two databases of a copy, as the other one sees it. No engine here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from wxauth_server.store.copy_tables import CopiedTable
from wxauth_server.store.interface import Row

T = TypeVar("T")


class CopyFailed(Exception):
    """There is no copy, and the destination is as it was. The text says why and what to do."""


class CopyEnd(Protocol):
    """A database in one transaction, in which nobody else writes.

    Raises everywhere: CopyFailed when the engine fails or refuses.
    """

    @property
    def place(self) -> str:
        """Which database it is, for the operator. No secret."""
        ...

    def execute(self, sql: str, parameters: Mapping[str, object] = ...) -> Sequence[Row]:
        """Run one statement, as `Transaction.execute` does."""
        ...

    def rows(self, table: CopiedTable) -> Iterator[Row]:
        """Every row, in the order of the key, a bounded number of them in memory."""
        ...

    def insert(self, table: CopiedTable, rows: Iterable[Row]) -> None:
        """Add rows as they are, their numbers too."""
        ...

    def number_after(self, table: CopiedTable, newest: int) -> None:
        """Have the rows that come later numbered higher than this."""
        ...


class HoldEnd(Protocol):
    """Opens one of the two databases."""

    def __call__(self, work: Callable[[CopyEnd], T], /) -> T:
        """Run `work` in one transaction, which holds if `work` returns, else is undone.

        Raises: CopyFailed, also when the database is not there, has another schema, or
        others use it.
        """
        ...
