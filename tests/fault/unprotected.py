"""Servers with one protection taken away, for the negative controls. Never for anything else.

Each variant replaces what `wxauth_server.wiring` puts together, in a process of
its own, so that everything else is the real server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, TypeVar

from wxauth_server import wiring
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.apps import App
from wxauth_server.auth import finish_login, login
from wxauth_server.auth.exchange_code import CodeExchange, Exchange
from wxauth_server.auth.logins_in_flight import LoginsInFlight
from wxauth_server.deadline import Deadline
from wxauth_server.pools import BoundedPool, Pools
from wxauth_server.store import opening
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.revocation_log import run_and_append
from wxauth_server.store.sessions import SessionRecord
from wxauth_server.store.shared_reads import SharedReads
from wxauth_server.store.sqlite import SQLiteStore, SQLiteTransaction

T = TypeVar("T")

#: All work in one unbounded thread pool, as asyncio.to_thread would do it.
ONE_POOL = "one-pool"
#: Answers before it commits; every five hundredth write commits.
LATE_COMMIT = "late-commit"
#: Refuses at once where there is no hash to check.
NO_DUMMY_HASH = "no-dummy-hash"
#: Answers validations from a cache that no Unbind empties.
STALE_READS = "stale-reads"
#: Logs in as if no caller had sent a request_id.
IGNORED_REQUEST_ID = "ignored-request-id"
#: Keeps nothing of what WeChat said about a code, and nothing of what came of it.
NO_EXCHANGE_ROW = "no-exchange-row"
#: Logs every caller in by itself, whoever else is at it with the same code.
NO_SHARING = "no-sharing"
#: Waits for PostgreSQL as long as its driver does.
NO_WATCHDOG = "no-watchdog"

#: What asyncio's default executor has on two cores.
_DEFAULT_EXECUTOR_THREADS = 6
_WRITES_OF_A_COMMIT = 500
_STALE_FOR_S = 0.5


def without_protection(name: str) -> None:
    """Take the protection of this name away in this process; "" takes none."""
    variants: dict[str, Callable[[], None]] = {
        "": lambda: None,
        ONE_POOL: _one_pool,
        LATE_COMMIT: _late_commit,
        NO_DUMMY_HASH: _no_dummy_hash,
        STALE_READS: _stale_reads,
        IGNORED_REQUEST_ID: _ignored_request_id,
        NO_EXCHANGE_ROW: _no_exchange_row,
        NO_SHARING: _no_sharing,
        NO_WATCHDOG: _no_watchdog,
    }
    variants[name]()


def replace(owner: object, name: str, replacement: object) -> None:
    """Have everyone in this process who looks `name` up in `owner` find something else."""
    assert hasattr(owner, name)
    setattr(owner, name, replacement)


def _one_pool() -> None:
    pool = BoundedPool("everything", threads=_DEFAULT_EXECUTOR_THREADS, capacity=1_000_000)

    class ReadsInThePool(SharedReads):
        def read(self, digest: bytes) -> asyncio.Future[SessionRecord | None]:
            return asyncio.ensure_future(self._read_one(digest))

        async def _read_one(self, digest: bytes) -> SessionRecord | None:
            return (await pool.run(self._store.read_sessions, [digest])).get(digest)

    replace(
        Pools,
        "create",
        lambda **_: Pools(
            wechat=pool,
            wechat_calls=pool,
            readers=pool,
            passwords=pool,
            writer=pool,
            admin=pool,
        ),
    )
    replace(wiring, "SharedReads", ReadsInThePool)


def _late_commit() -> None:
    class CommitsLate(SQLiteStore):
        _uncommitted = 0

        def write(self, work: Callable[[SQLiteTransaction], T]) -> T:
            with self._write_lock:
                if not self._writer.conn.in_transaction:
                    self._writer.execute("BEGIN IMMEDIATE")
                result = run_and_append(SQLiteTransaction(self._writer), work)
                self._uncommitted += 1
                if self._uncommitted % _WRITES_OF_A_COMMIT == 0:
                    self._writer.execute("COMMIT")
                return result

    replace(opening, "SQLiteStore", CommitsLate)


def _no_dummy_hash() -> None:
    class SkipsTheHash(PasswordHasher):
        def verify(self, stored: str | None, password: str, *, allowed: bool = True) -> bool:
            return stored is not None and super().verify(stored, password, allowed=allowed)

    replace(wiring, "PasswordHasher", SkipsTheHash)


def _stale_reads() -> None:
    class ReadsFromACache(SharedReads):
        def __init__(self, store: Store) -> None:
            super().__init__(store)
            self._known: dict[bytes, tuple[float, SessionRecord | None]] = {}

        def read(self, digest: bytes) -> asyncio.Future[SessionRecord | None]:
            read_at, record = self._known.get(digest, (0.0, None))
            if time.monotonic() - read_at < _STALE_FOR_S:
                future: asyncio.Future[SessionRecord | None] = self._loop.create_future()
                future.set_result(record)
                return future
            future = super().read(digest)
            future.add_done_callback(partial(self._remember, digest))
            return future

        def _remember(self, digest: bytes, future: asyncio.Future[SessionRecord | None]) -> None:
            if not future.cancelled() and future.exception() is None:
                self._known[digest] = (time.monotonic(), future.result())

    replace(wiring, "SharedReads", ReadsFromACache)


def _ignored_request_id() -> None:
    class NoticesNoRequestId(CodeExchange):
        async def exchange(
            self, app: App, code: str, request_id: str, deadline: Deadline
        ) -> Exchange:
            return await super().exchange(app, code, "", deadline)

    replace(wiring, "CodeExchange", NoticesNoRequestId)


def _no_exchange_row() -> None:
    def stores_nothing(tx: Transaction, exchange: Exchange, *, settled: str | None) -> bool:
        return True

    replace(finish_login, "store_exchange", stores_nothing)


def _no_sharing() -> None:
    class RunsEachAlone(LoginsInFlight[T]):
        async def run(
            self,
            code: Hashable,
            request: Hashable | None,
            login: Callable[[], Coroutine[Any, Any, T]],
        ) -> T:
            return await login()

    replace(login, "LoginsInFlight", RunsEachAlone)


def _no_watchdog() -> None:
    from wxauth_server.store.postgresql_connection import TimedConnection

    del TimedConnection.wait
