"""Steps 4 and 5 of a login whose WeChat user is known: who is it here, and its session.

Each step is one transaction, which also says on the exchange what became of the
login: a retry finds either nothing of it or all of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from wxauth_server.accounts.sources.source import SourceAccount
from wxauth_server.accounts.throttle import Guess, given_up, succeeded
from wxauth_server.auth.attempt import (
    ConfirmationNeeded,
    Confirmed,
    Credentials,
    LoginAsked,
    LoginAttempt,
)
from wxauth_server.auth.bind_account import (
    Bound,
    Changed,
    Outcome,
    Unbound,
    log_in_bound,
    log_in_with_credentials,
    record_refusal,
)
from wxauth_server.auth.exchange_code import (
    BOUND_AND_LOGGED_IN,
    LOGGED_IN,
    RETRY_WITHIN_MS,
    CodeExchange,
    Exchange,
    renew_session_key,
    store_exchange,
)
from wxauth_server.auth.first_login import PhoneNumberNeeded, log_in_unbound
from wxauth_server.auth.recent import Recent
from wxauth_server.auth.start_session import NewSession, Overtaken
from wxauth_server.auth.verify_credentials import CredentialVerifier
from wxauth_server.auth.wechat_calls import WeChatCalls
from wxauth_server.clock import Clock
from wxauth_server.deadline import Deadline
from wxauth_server.errors import (
    AccountDisabled,
    AuthError,
    CodeInvalid,
    CodeUsed,
    CredentialsInvalid,
    StoreUnavailable,
    WeChatUserBlocked,
)
from wxauth_server.pools import Pools
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.wechat.phone_number import PhoneNumber

T = TypeVar("T")

#: Of the last 60 s. Where one is forgotten, a retry needs another phone code.
_MOST_PHONE_NUMBERS = 10_000


@dataclass(frozen=True)
class KnownLogin:
    """A login after step 3."""

    attempt: LoginAttempt
    request: LoginAsked
    exchange: Exchange
    new: NewSession
    deadline: Deadline


class LoginFinisher:
    """Takes the steps. Each waits in the pool of its kind of work."""

    def __init__(
        self,
        *,
        exchange: CodeExchange,
        verifier: CredentialVerifier,
        wechat: WeChatCalls,
        store: Store,
        clock: Clock,
        pools: Pools,
    ) -> None:
        self._exchange = exchange
        self._verifier = verifier
        self._wechat = wechat
        self._store = store
        self._clock = clock
        self._pools = pools
        self._phone_numbers: Recent[tuple[bytes, str], PhoneNumber] = Recent(
            keep_ms=RETRY_WITHIN_MS, most=_MOST_PHONE_NUMBERS
        )

    async def finish(self, login: KnownLogin) -> Bound | AuthError:
        """Find out which account it is, bind it if need be, and start the session.

        A verdict is returned: it is on record, and final for the code. Raises:
        Overtaken when another attempt of the same request was first; Throttled,
        Overloaded, and what says that something is not available, after which the
        same request may go on.
        """
        if login.request.credentials or login.request.phone_code:
            login = await self._kept(login)
        # Once more if the account or the binding changed under our hands.
        for _ in range(2):
            if login.request.credentials is None:
                outcome = await self._without_credentials(login)
            else:
                with self._verifier.place(login.attempt.app.account_source):
                    outcome = await self._with_credentials(login, login.request.credentials)
            if not isinstance(outcome, Changed):
                return outcome
        raise StoreUnavailable

    async def _without_credentials(self, login: KnownLogin) -> Outcome:
        attempt, phone_code, now_ms = login.attempt, login.request.phone_code, self._clock.now_ms()
        phone: PhoneNumber | None = None

        def step(tx: Transaction) -> Outcome | PhoneNumberNeeded:
            outcome = log_in_bound(tx, attempt, login.new, now_ms=now_ms)
            if not isinstance(outcome, Unbound):
                return outcome
            return log_in_unbound(
                tx,
                attempt,
                login.new,
                phone=phone,
                has_phone_code=bool(phone_code),
                now_ms=now_ms,
            )

        # Twice at most something has to be asked for: an account, a phone number.
        for _ in range(3):
            try:
                outcome = await self._commit(login.exchange, step)
            except ConfirmationNeeded as needed:
                login = await self._kept(login)
                asked_ms = self._clock.now_ms()
                confirmed = await self._enabled(needed.account, login.deadline)
                if confirmed is None:
                    return await self._refuse(login, AccountDisabled(), needed.account)
                attempt = dataclasses.replace(
                    attempt, confirmed=Confirmed(needed.account[0], confirmed, asked_ms)
                )
                continue
            if not isinstance(outcome, PhoneNumberNeeded):
                return outcome
            try:
                phone = await self._phone_number(login)
            except (CodeInvalid, CodeUsed) as error:
                return await self._refuse(login, type(error)(field="phone_code"), None)
            except WeChatUserBlocked as refusal:
                return await self._refuse(login, refusal, None)
        return Changed()

    async def _enabled(self, account: tuple[str, str], deadline: Deadline) -> SourceAccount | None:
        """The account as its source has it, if it is enabled there."""
        source = self._verifier.sources.get(account[0])
        found = await source.get(account[1], deadline) if source else None
        return found if found is not None and found.enabled else None

    async def _phone_number(self, login: KnownLogin) -> PhoneNumber:
        # Remembered, since the code is spent and the store can fail after this.
        key = (login.attempt.person.code_digest, login.request.phone_code)
        phone = self._phone_numbers.get(key)
        if phone is None:
            phone = await self._wechat.phone_number(
                login.attempt.app, login.request.phone_code, login.deadline
            )
            self._phone_numbers.put(key, phone, now_ms=self._clock.now_ms())
        return phone

    async def _with_credentials(self, login: KnownLogin, credentials: Credentials) -> Outcome:
        attempt = login.attempt
        source = attempt.app.account_source
        guess = self._verifier.guess(
            source,
            credentials.username,
            app_id=attempt.app.app_id,
            openid=attempt.person.openid,
        )
        asked_ms = self._clock.now_ms()
        try:
            verified = await self._verifier.verify(
                source, guess, credentials.username, credentials.password, login.deadline
            )
        except CredentialsInvalid as error:
            return await self._refuse(login, CredentialsInvalid(), error.account, guess)
        attempt = dataclasses.replace(
            attempt, confirmed=Confirmed(source, verified.account, asked_ms)
        )
        now_ms = self._clock.now_ms()

        def step(tx: Transaction) -> Outcome:
            outcome = log_in_with_credentials(
                tx, attempt, verified, login.new, rebind=login.request.rebind, now_ms=now_ms
            )
            match outcome:
                case Changed():
                    given_up(tx, guess)
                case CredentialsInvalid():
                    self._verifier.failed(
                        tx,
                        guess,
                        account=(source, verified.account.id),
                        client_address=attempt.client.address,
                        now_ms=now_ms,
                    )
                case _:  # a conflict too: the password was right
                    succeeded(tx, guess)
            return outcome

        try:
            return await self._commit(login.exchange, step)
        except ConfirmationNeeded:  # the user has left meanwhile
            await self._verifier.give_up(guess)
            return Changed()
        except StoreUnavailable:  # it would not take that back either; it lapses by itself
            raise
        except (AuthError, Overtaken):
            await self._verifier.give_up(guess)
            raise

    async def _refuse(
        self,
        login: KnownLogin,
        refusal: AuthError,
        account: tuple[str, str] | None,
        guess: Guess | None = None,
    ) -> AuthError:
        now_ms = self._clock.now_ms()
        attempt = login.attempt

        def step(tx: Transaction) -> AuthError:
            record_refusal(tx, attempt, refusal, account, now_ms=now_ms)
            if guess is not None:
                self._verifier.failed(
                    tx,
                    guess,
                    account=account,
                    client_address=attempt.client.address,
                    now_ms=now_ms,
                )
            return refusal

        return await self._commit(login.exchange, step)

    async def _commit(self, exchange: Exchange, step: Callable[[Transaction], T]) -> T:
        """Take a step, and say in the same transaction what became of the exchange.

        Raises: Overtaken; nothing of the step holds then.
        """

        def transaction(tx: Transaction) -> T:
            outcome = step(tx)
            settled = _settled(outcome)
            if settled and not store_exchange(tx, exchange, settled=settled):
                raise Overtaken
            if isinstance(outcome, AuthError):
                renew_session_key(tx, exchange.record)
            return outcome

        outcome = await self._pools.writer.run(self._store.write, transaction)
        if _settled(outcome):
            self._exchange.note_stored(exchange)
        return outcome

    async def _kept(self, login: KnownLogin) -> KnownLogin:
        """Store an exchange whose login will take its time, so that a retry can go on."""
        exchange = login.exchange
        if exchange.stored:
            return login

        def transaction(tx: Transaction) -> None:
            if not store_exchange(tx, exchange, settled=None):
                raise Overtaken

        await self._pools.writer.run(self._store.write, transaction)
        self._exchange.note_stored(exchange)
        return dataclasses.replace(login, exchange=Exchange(exchange.record, stored=True))


def _settled(outcome: object) -> str | None:
    """How an outcome is noted on the exchange; None for one after which the login goes on."""
    match outcome:
        case Bound(bound_now=bound_now):
            return BOUND_AND_LOGGED_IN if bound_now else LOGGED_IN
        case AuthError():
            return outcome.reason_name()
    return None
