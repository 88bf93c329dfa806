"""Accounts in the company's own user table: asked at each login, nothing kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from wxauth_server.accounts.passwords import PasswordHasher, is_foreign_malformed
from wxauth_server.accounts.sources.source import SourceAccount, VerifiedAccount
from wxauth_server.accounts.sources.sql_source_settings import SqlSourceSettings, UrlRefused
from wxauth_server.accounts.sources.sql_users import (
    AnswerRefused,
    Failure,
    Rows,
    SqlUser,
    read_user,
)
from wxauth_server.accounts.sources.sql_watchdog import GRACE_S, Watchdog
from wxauth_server.deadline import Deadline
from wxauth_server.errors import AccountSourceUnavailable, CredentialsInvalid, Overloaded
from wxauth_server.outbound.breaker import CircuitBreaker, Outcome
from wxauth_server.pools import BoundedPool

if TYPE_CHECKING:
    from wxauth_server.accounts.sources.sql_database import Database

log = logging.getLogger("wxauth.accounts")

# Queries that wait for each connection. They take milliseconds; when the database
# is slow, those that have waited for half their time are not begun.
_WAITING = 3

# With less time left no query can end.
_LEAST_S = 0.02

T = TypeVar("T")


@dataclass(frozen=True)
class _Statement:
    """One of the statements of the settings, under its key."""

    key: str
    parameter: str
    text: str


class SqlSource:
    """An AccountSource; docs/sql-account-source.md says what the queries answer.

    What goes wrong is AccountSourceUnavailable and an alarm in the log: never
    taken for a yes or a no. The source's own threads wait, one a connection;
    `passwords` is the pool that hashes are checked in.
    """

    def __init__(
        self,
        settings: SqlSourceSettings,
        database: Database,
        hasher: PasswordHasher,
        passwords: BoundedPool,
        monotonic: Callable[[], float],
    ) -> None:
        self.name = settings.name
        self._timeout_s = settings.timeout_s
        self._verify = _Statement("verify_query", "username", settings.verify_query)
        self._get = _Statement("get_query", "id", settings.get_query)
        deleted = settings.deleted_statement
        self._deleted = _Statement("deleted_statement", "id", deleted) if deleted else None
        self._database = database
        self._hasher = hasher
        self._passwords = passwords
        self._breaker = CircuitBreaker(monotonic=monotonic)
        self._queries = BoundedPool(
            f"source-{settings.name}",
            threads=settings.connections,
            capacity=settings.connections * (1 + _WAITING),
        )

    @classmethod
    def open(
        cls,
        settings: SqlSourceSettings,
        hasher: PasswordHasher,
        passwords: BoundedPool,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> SqlSource:
        """The source of these settings. The database is not asked yet.

        `monotonic` is the clock of the circuit breaker. Raises: SourceSettingsRefused.
        """
        key = "url" if settings.url is not None else "url_file"
        try:
            # SQLAlchemy takes a while to load, and may not be there.
            from wxauth_server.accounts.sources.sql_database import Database

            database = Database(
                settings.database_url(),
                timeout_s=settings.timeout_s,
                connections=settings.connections,
            )
        except UrlRefused as refused:
            raise settings.refused(key, str(refused)) from None
        except ImportError as error:
            raise settings.refused(
                key, f"what it needs is not installed ({error.name}): pip install 'wxauth[sql]'"
            ) from None
        return cls(settings, database, hasher, passwords, monotonic)

    @property
    def places(self) -> None:
        """As many as the password pool has."""
        return None

    @property
    def full(self) -> bool:
        """Whether no query would be begun, or no hash checked."""
        return self._queries.full or self._passwords.full

    async def verify(
        self, username: str, password: str, deadline: Deadline, *, allowed: bool = True
    ) -> VerifiedAccount:
        """See AccountSource."""
        user = await self._find(self._verify, username, deadline)
        return await self._check(user, password, allowed=allowed)

    async def verify_owner(
        self,
        account_id: str,
        username: str | None,
        password: str,
        deadline: Deadline,
        *,
        allowed: bool = True,
    ) -> VerifiedAccount:
        """See AccountSource. The user is found by the id, whatever their name is by now."""
        user = await self._find_by_id(account_id, deadline)
        return await self._check(user, password, allowed=allowed)

    async def get(self, account_id: str, deadline: Deadline) -> SourceAccount | None:
        """See AccountSource."""
        user = await self._find_by_id(account_id, deadline)
        return user.account if user else None

    async def tell_deleted(self, account_id: str, deadline: Deadline) -> None:
        """See AccountSource. Without a `deleted_statement` nobody wants to know."""
        if self._deleted is not None:
            await self._run(self._tell, self._deleted, account_id, deadline)

    async def close(self) -> None:
        """Wait for the queries under way, then let go of the connections."""
        await self._queries.close()
        await asyncio.to_thread(self._database.close)

    async def _check(
        self, user: SqlUser | None, password: str, *, allowed: bool
    ) -> VerifiedAccount:
        stored = user.hash if user else None
        if user and stored is not None and is_foreign_malformed(stored):
            log.error("password hash is malformed", extra={"account": [self.name, user.account.id]})
        allowed = allowed and user is not None and user.account.enabled
        try:
            right = await self._passwords.run(
                self._hasher.verify_foreign, stored, password, allowed=allowed
            )
        except MemoryError:
            raise Overloaded from None
        if user is None or not right:
            raise CredentialsInvalid((self.name, user.account.id) if user else None)
        return VerifiedAccount(user.account)

    async def _find_by_id(self, account_id: str, deadline: Deadline) -> SqlUser | None:
        user = await self._find(self._get, account_id, deadline)
        # "17x" is 17 to MySQL where the column is a number, and "A" is "a": another account.
        return user if user and user.account.id == account_id else None

    async def _find(self, query: _Statement, value: str, deadline: Deadline) -> SqlUser | None:
        if "\0" in value:  # no text to PostgreSQL, and no name to anybody
            return None
        answer = await self._run(self._ask, query, value, deadline)
        try:
            return read_user(answer)
        except AnswerRefused as refused:
            detail = str(refused)
        self._alarm(query, "bad_answer", detail)
        raise AccountSourceUnavailable

    async def _run(
        self,
        job: Callable[[_Statement, str, Watchdog], T],
        statement: _Statement,
        value: str,
        deadline: Deadline,
    ) -> T:
        budget_s = min(self._timeout_s, deadline.left_s())
        if budget_s < _LEAST_S:
            raise AccountSourceUnavailable
        watchdog = self._database.new_watchdog()
        bite = asyncio.get_running_loop().call_later(self._timeout_s + GRACE_S, watchdog.bite)
        try:
            async with asyncio.timeout(budget_s):
                result = await self._queries.run(job, statement, value, watchdog)
        except TimeoutError:
            # Whoever goes away leaves the watchdog behind: the job may go on until it bites.
            raise AccountSourceUnavailable from None
        bite.cancel()
        return result

    def _ask(self, query: _Statement, value: str, watchdog: Watchdog) -> Rows:
        """In a thread of the pool."""
        if watchdog.due.left_s() < self._timeout_s / 2:
            self._alarm(query, "busy", "waited for a connection too long")
            raise AccountSourceUnavailable
        admission = self._breaker.admit()
        if admission.retry_after_s is not None:
            raise AccountSourceUnavailable(admission.retry_after_s)
        outcome = Outcome.UNKNOWN
        try:
            answer = self._database.read(query.text, {query.parameter: value}, watchdog)
            # What a user can provoke with an odd name must not shut the others out.
            dead = isinstance(answer, Failure) and not answer.answered
            outcome = Outcome.FAILED if dead else Outcome.ANSWERED
        finally:
            if self._breaker.settle(admission, outcome):
                self._alarm(query, "circuit_open", "not asked for a while")
        if isinstance(answer, Failure):
            raise self._failed(query, answer)
        return answer

    def _tell(self, statement: _Statement, value: str, watchdog: Watchdog) -> None:
        """In a thread of the pool. Apart from the circuit breaker: nobody needs it to log in."""
        failure = self._database.write(statement.text, {statement.parameter: value}, watchdog)
        if failure is not None:
            raise self._failed(statement, failure)

    def _failed(self, statement: _Statement, failure: Failure) -> AccountSourceUnavailable:
        kind = "statement_refused" if failure.answered else "no_answer"
        self._alarm(statement, kind, failure.error)
        return AccountSourceUnavailable()

    def _alarm(self, statement: _Statement, kind: str, detail: str) -> None:
        """Log it, without a word of what was asked and answered."""
        log.error(
            "account source failed",
            extra={"source": self.name, "call": statement.key, "kind": kind, "detail": detail},
        )
