"""Accounts that the company's own HTTP service knows: asked at each login, nothing kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from wxauth_server.accounts.sources.http_source_calls import Call, Service
from wxauth_server.accounts.sources.http_source_messages import (
    fit_username,
    read_account,
    read_told,
)
from wxauth_server.accounts.sources.http_source_settings import HttpSourceSettings
from wxauth_server.accounts.sources.source import SourceAccount, VerifiedAccount
from wxauth_server.clock import Clock, SystemClock
from wxauth_server.deadline import Deadline
from wxauth_server.errors import CredentialsInvalid


class HttpSource:
    """An AccountSource; docs/http-account-source.md says what the service answers.

    What goes wrong is AccountSourceUnavailable and an alarm in the log: never
    taken for a yes or a no. The source's own threads wait, one a connection.
    """

    def __init__(self, service: Service) -> None:
        self.name = service.name
        self._service = service
        self._verify = Call(service, "/verify")
        self._get = Call(service, "/get")
        self._deleted = Call(service, "/deleted")

    @classmethod
    def open(
        cls,
        settings: HttpSourceSettings,
        *,
        clock: Clock | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> HttpSource:
        """The source of these settings. The service is not asked yet.

        `clock` dates the signatures; `monotonic` is the clock of the circuit
        breakers. Raises: SourceSettingsRefused.
        """
        return cls(Service.of(settings, clock or SystemClock(), monotonic))

    @property
    def places(self) -> int:
        """Half of the connections: silent logins, which ask who is enabled, need some too."""
        return max(1, self._service.pool.capacity // 2)

    @property
    def full(self) -> bool:
        """Whether as many calls are under way as there are connections."""
        return self._service.pool.full

    async def verify(
        self, username: str, password: str, deadline: Deadline, *, allowed: bool = True
    ) -> VerifiedAccount:
        """See AccountSource. With `allowed` False the service is not asked."""
        if not allowed:
            raise CredentialsInvalid
        asked = {"username": username, "password": password}
        account = await self._verify.ask(asked, read_account, deadline)
        if account is None:
            raise CredentialsInvalid
        if not account.enabled:
            raise CredentialsInvalid((self.name, account.id))
        if account.username is None:
            # What was typed is a name to log in with, as was just seen.
            account = replace(account, username=fit_username(username))
        return VerifiedAccount(account)

    async def verify_owner(
        self,
        account_id: str,
        username: str | None,
        password: str,
        deadline: Deadline,
        *,
        allowed: bool = True,
    ) -> VerifiedAccount:
        """See AccountSource. Without a `username` the service is not asked.

        CredentialsInvalid also where the username is another account's by now.
        """
        if username is None:
            raise CredentialsInvalid
        verified = await self.verify(username, password, deadline, allowed=allowed)
        if verified.account.id != account_id:
            raise CredentialsInvalid((self.name, account_id))
        return verified

    async def get(self, account_id: str, deadline: Deadline) -> SourceAccount | None:
        """See AccountSource."""
        return await self._get.ask(
            {"id": account_id}, lambda answer: read_account(answer, asked_id=account_id), deadline
        )

    async def tell_deleted(self, account_id: str, deadline: Deadline) -> None:
        """See AccountSource. A service that answers 404 or 410 does not want to know."""
        await self._deleted.ask({"id": account_id}, read_told, deadline)

    async def close(self) -> None:
        """Wait for the calls under way, then let go of the connections."""
        await self._service.pool.close()
        self._service.transport.close()
