"""Steps 3 to 6 in their order: from a code to a SessionId."""

from __future__ import annotations

from dataclasses import dataclass, field

from wxauth_server.apps import Apps
from wxauth_server.auth.attempt import ClientInfo, LoginAttempt
from wxauth_server.auth.bind_account import (
    Bound,
    Changed,
    Outcome,
    log_in_silently,
    log_in_with_credentials,
    record_refusal,
)
from wxauth_server.auth.exchange_code import CodeExchange
from wxauth_server.auth.start_session import NewSession
from wxauth_server.auth.verify_credentials import CredentialVerifier
from wxauth_server.clock import Clock
from wxauth_server.deadline import Deadline
from wxauth_server.errors import AuthError, CredentialsInvalid, Overloaded, StoreUnavailable
from wxauth_server.pools import Pools
from wxauth_server.store.accounts import AccountRecord
from wxauth_server.store.interface import Store, Transaction


@dataclass(frozen=True)
class Credentials:
    """A username and the password that goes with it."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class LoginResult:
    """A login that succeeded. Times in milliseconds since 1970."""

    session_id: str = field(repr=False)
    account: AccountRecord
    bound_now: bool
    idle_end_ms: int
    absolute_end_ms: int


class LoginFlow:
    """Logs WeChat users in. Each step waits in the pool of its kind of work."""

    def __init__(
        self,
        *,
        apps: Apps,
        exchange: CodeExchange,
        verifier: CredentialVerifier,
        store: Store,
        clock: Clock,
        pools: Pools,
    ) -> None:
        self._apps = apps
        self._exchange = exchange
        self._verifier = verifier
        self._store = store
        self._clock = clock
        self._pools = pools

    async def log_in(
        self,
        *,
        app_id: str,
        code: str,
        credentials: Credentials | None,
        client: ClientInfo,
        deadline: Deadline,
    ) -> LoginResult:
        """Exchange the code, verify the credentials if there are any, bind, start a session.

        Raises: what AuthService.Login lists in the contract.
        """
        app = self._apps.choose(app_id)
        if credentials is not None and self._pools.passwords.full:
            raise Overloaded  # now, before the code is spent
        # The code first: whoever guesses passwords spends a fresh one per guess.
        person = await self._exchange.exchange(app, code, deadline)
        attempt = LoginAttempt(app, person, client)
        new = NewSession.create()
        now_ms = self._clock.now_ms()
        # Once more if the account or the binding changed under our hands.
        for _ in range(2):
            if credentials is None:
                outcome = await self._silently(attempt, new, now_ms)
            else:
                outcome = await self._with_credentials(attempt, credentials, new, now_ms)
            match outcome:
                case Bound(account, bound_now):
                    return LoginResult(
                        session_id=new.session_id,
                        account=account,
                        bound_now=bound_now,
                        idle_end_ms=now_ms + app.limits.idle_ms,
                        absolute_end_ms=now_ms + app.limits.absolute_ms,
                    )
                case AuthError():
                    raise outcome
                case Changed():
                    continue
        raise StoreUnavailable

    async def _silently(self, attempt: LoginAttempt, new: NewSession, now_ms: int) -> Outcome:
        def transaction(tx: Transaction) -> Outcome:
            return log_in_silently(tx, attempt, new, now_ms=now_ms)

        return await self._pools.writer.run(self._store.write, transaction)

    async def _with_credentials(
        self, attempt: LoginAttempt, credentials: Credentials, new: NewSession, now_ms: int
    ) -> Outcome:
        try:
            verified = await self._pools.passwords.run(
                self._verifier.verify,
                attempt.app.account_source,
                credentials.username,
                credentials.password,
            )
        except CredentialsInvalid as refusal:
            account = refusal.account

            def record(tx: Transaction) -> Outcome:
                refused = CredentialsInvalid()
                record_refusal(tx, attempt, refused, account, now_ms=now_ms)
                return refused

            return await self._pools.writer.run(self._store.write, record)

        def transaction(tx: Transaction) -> Outcome:
            return log_in_with_credentials(tx, attempt, verified, new, now_ms=now_ms)

        return await self._pools.writer.run(self._store.write, transaction)
