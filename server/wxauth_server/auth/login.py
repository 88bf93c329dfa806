"""Steps 3 to 6 in their order: from a code to a SessionId, once however often it is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from wxauth_server.apps import App, Apps
from wxauth_server.auth.attempt import ClientInfo, LoginAttempt
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
    CodeExchange,
    CodeReplayed,
    Exchange,
    store_exchange,
)
from wxauth_server.auth.first_login import PhoneNumberNeeded, log_in_unbound
from wxauth_server.auth.logins_in_flight import LoginsInFlight
from wxauth_server.auth.start_session import NewSession, Overtaken
from wxauth_server.auth.validate_session import check_live
from wxauth_server.auth.verify_credentials import CredentialVerifier
from wxauth_server.auth.wechat_calls import WeChatCalls
from wxauth_server.clock import Clock
from wxauth_server.deadline import Deadline
from wxauth_server.errors import (
    AuthError,
    CodeInvalid,
    CodeUsed,
    CredentialsInvalid,
    Overloaded,
    RequestInvalid,
    SessionExpired,
    SessionRevoked,
    StoreUnavailable,
)
from wxauth_server.pools import Pools
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.sessions import SessionRecord
from wxauth_server.store.shared_reads import SharedReads
from wxauth_server.wechat.phone_number import PhoneNumber

T = TypeVar("T")


@dataclass(frozen=True)
class Credentials:
    """A username and the password that goes with it."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class LoginRequest:
    """What a caller asks for. Two that are equal are the same login, sent twice."""

    app_id: str
    code: str = field(repr=False)
    credentials: Credentials | None = None
    phone_code: str = field(default="", repr=False)
    rebind: bool = False
    request_id: str = field(default="", repr=False)


@dataclass(frozen=True)
class LoginResult:
    """A login that succeeded. Times in milliseconds since 1970."""

    session_id: str = field(repr=False)
    session: SessionRecord
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
        wechat: WeChatCalls,
        store: Store,
        reads: SharedReads,
        clock: Clock,
        pools: Pools,
    ) -> None:
        self._apps = apps
        self._exchange = exchange
        self._verifier = verifier
        self._wechat = wechat
        self._store = store
        self._reads = reads
        self._clock = clock
        self._pools = pools
        self._in_flight: LoginsInFlight[LoginResult] = LoginsInFlight()

    async def log_in(
        self, request: LoginRequest, client: ClientInfo, deadline: Deadline
    ) -> LoginResult:
        """Exchange the code, verify the credentials if there are any, bind, start a session.

        Raises: what AuthService.Login lists in the contract.
        """
        app = self._apps.choose(request.app_id)
        if request.phone_code and not app.binds_by_phone:
            raise RequestInvalid(
                ("phone_code", "this mini-program does not bind by phone number (bind_by_phone)")
            )
        try:
            return await self._in_flight.run(
                (app.app_id, request.code),
                request if request.request_id else None,
                lambda: self._log_in(app, request, client, deadline),
            )
        except CodeReplayed as replay:
            await self._record_replay(app, replay.openid, client)
            raise

    async def close(self) -> None:
        """Wait for the logins that go on without their callers."""
        await self._in_flight.close()

    async def _log_in(
        self, app: App, request: LoginRequest, client: ClientInfo, deadline: Deadline
    ) -> LoginResult:
        if request.credentials is not None and self._pools.passwords.full:
            raise Overloaded  # now, before the code is spent
        for _ in range(2):
            # The code first: whoever guesses passwords spends a fresh one per guess.
            exchange = await self._exchange.exchange(
                app, request.code, request.request_id, deadline
            )
            new = NewSession.of(
                salt=exchange.record.salt,
                app_id=app.app_id,
                code=request.code,
                request_id=request.request_id,
            )
            if exchange.record.settled is not None:
                return await self._again(app, exchange, new)
            attempt = LoginAttempt(app, self._apps.siblings(app), exchange.record, client)
            try:
                bound = await self._from_exchange(attempt, request, exchange, new, deadline)
            except Overtaken:  # at another server: see what came of it there
                continue
            return _result(app, new, bound.session, bound_now=bound.bound_now)
        raise StoreUnavailable

    async def _again(self, app: App, exchange: Exchange, new: NewSession) -> LoginResult:
        """The answer that was lost, while its session lives."""
        session = await self._reads.read(new.digest)
        if session is None:
            raise CodeUsed
        try:
            check_live(session, app, self._clock.now_ms())
        except (SessionExpired, SessionRevoked):
            raise CodeUsed from None
        bound_now = exchange.record.settled == BOUND_AND_LOGGED_IN
        return _result(app, new, session, bound_now=bound_now)

    async def _from_exchange(
        self,
        attempt: LoginAttempt,
        request: LoginRequest,
        exchange: Exchange,
        new: NewSession,
        deadline: Deadline,
    ) -> Bound:
        if not exchange.stored and (request.credentials or request.phone_code):
            exchange = await self._keep(exchange)
        # Once more if the account or the binding changed under our hands.
        for _ in range(2):
            if request.credentials is None:
                outcome = await self._without_credentials(attempt, request, exchange, new, deadline)
            else:
                outcome = await self._with_credentials(attempt, request, exchange, new)
            match outcome:
                case Bound():
                    return outcome
                case AuthError():
                    raise outcome
        raise StoreUnavailable

    async def _without_credentials(
        self,
        attempt: LoginAttempt,
        request: LoginRequest,
        exchange: Exchange,
        new: NewSession,
        deadline: Deadline,
    ) -> Outcome:
        now_ms = self._clock.now_ms()
        phone: PhoneNumber | None = None

        def step(tx: Transaction) -> Outcome | PhoneNumberNeeded:
            outcome = log_in_bound(tx, attempt, new, now_ms=now_ms)
            if not isinstance(outcome, Unbound):
                return outcome
            return log_in_unbound(
                tx,
                attempt,
                new,
                phone=phone,
                has_phone_code=bool(request.phone_code),
                now_ms=now_ms,
            )

        outcome = await self._commit(exchange, step)
        if not isinstance(outcome, PhoneNumberNeeded):
            return outcome
        try:
            phone = await self._wechat.phone_number(attempt.app, request.phone_code, deadline)
        except (CodeInvalid, CodeUsed) as error:
            refusal = type(error)(field="phone_code")
            return await self._refuse(attempt, exchange, refusal, None)
        outcome = await self._commit(exchange, step)
        return Changed() if isinstance(outcome, PhoneNumberNeeded) else outcome

    async def _with_credentials(
        self,
        attempt: LoginAttempt,
        request: LoginRequest,
        exchange: Exchange,
        new: NewSession,
    ) -> Outcome:
        credentials = request.credentials
        assert credentials is not None  # noqa: S101
        try:
            verified = await self._pools.passwords.run(
                self._verifier.verify,
                attempt.app.account_source,
                credentials.username,
                credentials.password,
            )
        except CredentialsInvalid as error:
            return await self._refuse(attempt, exchange, CredentialsInvalid(), error.account)
        now_ms = self._clock.now_ms()
        return await self._commit(
            exchange,
            lambda tx: log_in_with_credentials(
                tx, attempt, verified, new, rebind=request.rebind, now_ms=now_ms
            ),
        )

    async def _refuse(
        self,
        attempt: LoginAttempt,
        exchange: Exchange,
        refusal: AuthError,
        account: tuple[str, str] | None,
    ) -> AuthError:
        now_ms = self._clock.now_ms()

        def step(tx: Transaction) -> AuthError:
            record_refusal(tx, attempt, refusal, account, now_ms=now_ms)
            return refusal

        return await self._commit(exchange, step)

    async def _commit(self, exchange: Exchange, step: Callable[[Transaction], T]) -> T:
        """Take a step, and say in the same transaction what became of the exchange.

        Raises: Overtaken; nothing of the step holds then.
        """

        def transaction(tx: Transaction) -> T:
            outcome = step(tx)
            settled = _settled(outcome)
            if settled and not store_exchange(tx, exchange, settled=settled):
                raise Overtaken
            return outcome

        outcome = await self._pools.writer.run(self._store.write, transaction)
        if _settled(outcome):
            self._exchange.is_stored(exchange)
        return outcome

    async def _keep(self, exchange: Exchange) -> Exchange:
        """Store an exchange whose login will take its time, so that a retry can go on."""

        def transaction(tx: Transaction) -> None:
            if not store_exchange(tx, exchange, settled=None):
                raise Overtaken

        await self._pools.writer.run(self._store.write, transaction)
        self._exchange.is_stored(exchange)
        return Exchange(exchange.record, stored=True)

    async def _record_replay(self, app: App, openid: str | None, client: ClientInfo) -> None:
        now_ms = self._clock.now_ms()
        await self._pools.writer.run(
            self._store.write,
            lambda tx: record_event(
                tx,
                Event.CODE_REPLAYED,
                now_ms=now_ms,
                app_id=app.app_id,
                openid=openid,
                client_address=client.address,
            ),
        )


def _settled(outcome: object) -> str | None:
    """How an outcome is noted on the exchange; None for one after which the login goes on."""
    match outcome:
        case Bound(bound_now=bound_now):
            return BOUND_AND_LOGGED_IN if bound_now else LOGGED_IN
        case AuthError():
            return outcome.reason_name()
    return None


def _result(app: App, new: NewSession, session: SessionRecord, *, bound_now: bool) -> LoginResult:
    return LoginResult(
        session_id=new.session_id,
        session=session,
        bound_now=bound_now,
        idle_end_ms=session.last_seen_at + app.limits.idle_ms,
        absolute_end_ms=session.login_at + app.limits.absolute_ms,
    )
