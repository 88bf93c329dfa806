"""An `sql` account source on a company's database, as the tests of all databases use it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import bcrypt
import pytest

from tests.canary import CANARY
from tests.contract.company_database import BY_ID, BY_NAME, GONE, Company
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.accounts.sources.source import SourceAccount, VerifiedAccount
from wxauth_server.accounts.sources.sql_source import SqlSource
from wxauth_server.accounts.sources.sql_source_settings import SqlSourceSettings
from wxauth_server.deadline import Deadline
from wxauth_server.errors import AuthError, CredentialsInvalid
from wxauth_server.pools import BoundedPool

T = TypeVar("T")

PASSWORD = "correct horse battery"
#: bcrypt at cost 4, as PHP writes it.
HASH = "$2y$" + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()[4:]

OpenSource = Callable[..., "OpenedSource"]


@dataclass
class OpenedSource:
    """A source and what a test does with it, one call after another."""

    source: SqlSource
    run: Callable[[Coroutine[Any, Any, Any]], Any] = field(repr=False)

    def verify(self, username: str, password: str = PASSWORD, **options: bool) -> VerifiedAccount:
        verified: VerifiedAccount = self.run(
            self.source.verify(username, password, Deadline(10), **options)
        )
        return verified

    def verify_owner(
        self, user_id: str, password: str = PASSWORD, **options: bool
    ) -> VerifiedAccount:
        verified: VerifiedAccount = self.run(
            self.source.verify_owner(user_id, "anybody", password, Deadline(10), **options)
        )
        return verified

    def get(self, user_id: str) -> SourceAccount | None:
        account: SourceAccount | None = self.run(self.source.get(user_id, Deadline(10)))
        return account

    def tell_deleted(self, user_id: str) -> None:
        self.run(self.source.tell_deleted(user_id, Deadline(10)))

    def refusal(self, username: str, password: str = PASSWORD, **options: bool) -> AuthError:
        """Why these credentials are refused."""
        try:
            self.verify(username, password, **options)
        except AuthError as refusal:
            return refusal
        raise AssertionError("the password was accepted")

    def accepts(self, username: str, password: str = PASSWORD) -> bool:
        """Whether these credentials are somebody's; raises what it raises if not."""
        return self.verify(username, password).account.id != ""

    def refuses(self, username: str, password: str = PASSWORD, **options: bool) -> bool:
        """Whether it is because they are wrong."""
        return isinstance(self.refusal(username, password, **options), CredentialsInvalid)


def settings_of(company: Company, **changes: Any) -> SqlSourceSettings:
    """Settings with the queries of this table."""
    fields: dict[str, Any] = {
        "kind": "sql",
        "name": "members",
        "url": company.url,
        "verify_query": BY_NAME,
        "get_query": BY_ID,
        "deleted_statement": GONE,
    }
    return SqlSourceSettings(**fields | changes)


@contextmanager
def sources(company: Company, hasher: PasswordHasher) -> Iterator[OpenSource]:
    """Opens sources on a company's database with changed settings; closes them in the end."""
    CANARY.keep(PASSWORD)
    passwords = BoundedPool("passwords", threads=2, capacity=64)
    opened: list[SqlSource] = []
    with asyncio.Runner() as runner:

        def open_source(**changes: Any) -> OpenedSource:
            source = SqlSource.open(settings_of(company, **changes), hasher, passwords)
            opened.append(source)
            return OpenedSource(source, runner.run)

        try:
            yield open_source
        finally:
            for source in opened:
                runner.run(source.close())
            runner.run(passwords.close())


def alarms(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """What the source told the operator, as fields of the log."""
    return [
        {key: vars(record).get(key) for key in ("source", "call", "kind", "detail")}
        for record in caplog.records
        if record.levelno == logging.ERROR and record.message == "account source failed"
    ]


def alarm(call: str, kind: str, detail: str) -> dict[str, object]:
    """The alarm of the source `members`."""
    return {"source": "members", "call": call, "kind": kind, "detail": detail}
