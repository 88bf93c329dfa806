"""Steps 3 to 6 in their order: from a code to a SessionId, once however often it is asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from wxauth_server.apps import App, Apps
from wxauth_server.auth.attempt import ClientInfo, LoginAsked, LoginAttempt
from wxauth_server.auth.exchange_code import (
    BOUND_AND_LOGGED_IN,
    CodeExchange,
    CodeReplayed,
    Exchange,
)
from wxauth_server.auth.finish_login import KnownLogin, LoginFinisher
from wxauth_server.auth.login_limits import LoginGate, TooManyFrom, TooManyOfAll
from wxauth_server.auth.logins_in_flight import LoginsInFlight
from wxauth_server.auth.refusal_counts import RefusalCounts
from wxauth_server.auth.start_session import NewSession, Overtaken
from wxauth_server.auth.validate_session import check_live
from wxauth_server.auth.verify_credentials import CredentialVerifier
from wxauth_server.auth.wechat_calls import WeChatCalls
from wxauth_server.clock import Clock
from wxauth_server.deadline import Deadline
from wxauth_server.errors import (
    AuthError,
    CodeUsed,
    RequestInvalid,
    SessionExpired,
    SessionRevoked,
    StoreUnavailable,
    Throttled,
)
from wxauth_server.pools import Pools
from wxauth_server.store.audit import Event
from wxauth_server.store.interface import Store
from wxauth_server.store.sessions import SessionRecord
from wxauth_server.store.shared_reads import SharedReads

#: Time for a login that its caller can repeat: WeChat's 2.8 s and some for our own
#: work. A caller with less patience would burn the code for nothing.
_REPEATABLE_S = 5.0


# What a THROTTLED event gives as its reason.
_THROTTLED_BY: Mapping[type[AuthError], str] = {
    TooManyFrom: "ADDRESS",
    TooManyOfAll: "ALL",
    Throttled: "PASSWORD",
}


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
        gate: LoginGate,
        exchange: CodeExchange,
        verifier: CredentialVerifier,
        wechat: WeChatCalls,
        refusals: RefusalCounts,
        store: Store,
        reads: SharedReads,
        clock: Clock,
        pools: Pools,
    ) -> None:
        self._apps = apps
        self._gate = gate
        self._verifier = verifier
        self._refusals = refusals
        self._exchange = exchange
        self._finisher = LoginFinisher(
            exchange=exchange,
            verifier=verifier,
            wechat=wechat,
            store=store,
            clock=clock,
            pools=pools,
        )
        self._reads = reads
        self._clock = clock
        self._in_flight: LoginsInFlight[LoginResult] = LoginsInFlight()

    async def log_in(
        self, request: LoginAsked, client: ClientInfo, deadline: Deadline
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
            self._gate.pass_one(client.address)
        except Throttled as refusal:
            self._count(refusal, app, client)
            raise
        if request.request_id:
            deadline = Deadline(_REPEATABLE_S)
        try:
            return await self._in_flight.run(
                (app.app_id, request.code),
                request if request.request_id else None,
                lambda: self._log_in(app, request, client, deadline),
            )
        except CodeReplayed as replay:
            self._count(replay, app, client, openid=replay.openid or "")
            raise

    async def close(self) -> None:
        """Wait for the logins that go on without their callers."""
        await self._in_flight.close()

    async def _log_in(
        self, app: App, request: LoginAsked, client: ClientInfo, deadline: Deadline
    ) -> LoginResult:
        with contextlib.ExitStack() as login:
            if request.credentials is not None:
                with self._counted(app, client):
                    login.enter_context(self._verifier.entered(app.account_source))
            for _ in range(2):
                with self._counted(app, client):
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
                attempt = LoginAttempt(app, self._apps.siblings(app), exchange.record, client)
                with self._counted(app, client, openid=exchange.record.openid):
                    if exchange.record.settled is not None:
                        return await self._again(app, exchange, new)
                    try:
                        outcome = await self._finisher.finish(
                            KnownLogin(attempt, request, exchange, new, deadline)
                        )
                    except Overtaken:  # at another server: see what came of it there
                        continue
                if isinstance(outcome, AuthError):
                    raise outcome  # a verdict, which is on record
                return _result(app, new, outcome.session, bound_now=outcome.bound_now)
            with self._counted(app, client):
                raise StoreUnavailable

    @contextlib.contextmanager
    def _counted(self, app: App, client: ClientInfo, *, openid: str = "") -> Iterator[None]:
        """Count what is refused here: no transaction has it on record."""
        try:
            yield
        except CodeReplayed:
            raise  # each of its callers counts it
        except AuthError as refusal:
            self._count(refusal, app, client, openid=openid)
            raise

    def _count(self, refusal: AuthError, app: App, client: ClientInfo, *, openid: str = "") -> None:
        match refusal:
            case Throttled():
                event = Event.THROTTLED
            case CodeReplayed():
                event = Event.CODE_REPLAYED
            case _:
                event = Event.LOGIN_REFUSED
        self._refusals.note(
            event,
            reason=_THROTTLED_BY.get(type(refusal), refusal.reason_name()),
            app_id=app.app_id,
            openid=openid,
            client_address=client.address,
        )

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


def _result(app: App, new: NewSession, session: SessionRecord, *, bound_now: bool) -> LoginResult:
    return LoginResult(
        session_id=new.session_id,
        session=session,
        bound_now=bound_now,
        idle_end_ms=session.last_seen_at + app.limits.idle_ms,
        absolute_end_ms=session.login_at + app.limits.absolute_ms,
    )
