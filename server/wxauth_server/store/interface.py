"""The seam between the SQL and an engine. No engine here, no SQL either."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from wxauth_server.store.revocation_log import Revocation
    from wxauth_server.store.sessions import SessionRecord

T = TypeVar("T")

#: Most sessions of one `Store.read_sessions`.
READ_AT_ONCE = 64

#: Values of the selected columns, in order.
Row = tuple[Any, ...]


class Transaction(Protocol):
    """One transaction of an engine. Valid only inside the work it is handed to."""

    #: Sessions that the work ends are noted here, and `Store.write` appends them to the
    #: revocation log at its end (revocation_log.run_and_append). Empty at first.
    revocations: list[Revocation]

    def execute(self, sql: str, parameters: Mapping[str, object] = ...) -> Sequence[Row]:
        """Run one statement with `:name` parameters; the rows it selects or returns.

        Raises: StoreUnavailable when the engine fails.
        """
        ...


class Store(Protocol):
    """An engine. Thread-safe and blocking.

    Raises everywhere: StoreUnavailable when the engine fails. Its texts stay in
    the engine: they may hold SQL and values.
    """

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on one consistent state of the database. It must not write."""
        ...

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one transaction: all of it holds when this returns.

        Rolled back when `work` raises. `work` can be run more than once, so it
        must have no effect but its statements. When this raises StoreUnavailable
        the transaction may nevertheless have been committed, so every write must
        be safe to repeat.

        What the work noted in `tx.revocations` is appended to the revocation log, as the
        last statements of the transaction.
        """
        ...

    def read_sessions(self, digests: Sequence[bytes]) -> Mapping[bytes, SessionRecord]:
        """The sessions with these digests, live or dead, without those never issued.

        At most READ_AT_ONCE of them. The one read of a validation, so each
        engine has its own fastest way.
        """
        ...

    def close(self) -> None:
        """Bring what was written to its resting place and close every connection."""
        ...


class StoreTooNew(Exception):
    """The database was written by a newer wxauth that this one cannot serve."""


class StoreUnusable(Exception):
    """The database cannot be opened. The text names the path and what to do."""
