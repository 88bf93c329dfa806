"""A store that tells at once what is ended through it, before anybody else hears of it.

The revocation log tells of it too, a moment later. But whoever has logged out must be
refused from then on, at least by the server that said so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from wxauth_client.boot_clock import boot_time_s
from wxauth_client.revocations import Revocation
from wxauth_client.session_cache import SessionCache
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.revocation_log import LoggedRevocation
from wxauth_server.store.revocation_log import Revocation as NotedRevocation
from wxauth_server.store.sessions import SessionRecord

T = TypeVar("T")


class TellingStore:
    """A `Store` over another, whose writes tell a cache what they have ended."""

    def __init__(self, store: Store, cache: SessionCache[Any]) -> None:
        self._store = store
        self._cache = cache

    def read(self, work: Callable[[Transaction], T]) -> T:
        return self._store.read(work)

    def write(self, work: Callable[[Transaction], T]) -> T:
        ended: list[NotedRevocation] = []

        def work_and_note(tx: Transaction) -> T:
            outcome = work(tx)
            # Of the last run that came so far: what is committed, if anything is.
            ended[:] = tx.revocations
            return outcome

        try:
            return self._store.write(work_and_note)
        finally:
            # Also if it failed: the transaction may have been committed.
            if ended:
                self._cache.revoke([as_told(each) for each in ended], boot_time_s())

    def read_sessions(self, digests: Sequence[bytes]) -> Mapping[bytes, SessionRecord]:
        return self._store.read_sessions(digests)

    def close(self) -> None:
        self._store.close()


def as_told(entry: NotedRevocation | LoggedRevocation) -> Revocation:
    """An entry of the log, as a cache takes it."""
    return Revocation(entry.digest, entry.app_id or "", entry.login_by or 0)
