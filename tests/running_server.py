"""The real gRPC server on a free port of the loopback, with a real SQLite file."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status

from tests.canary import CANARY
from tests.sandbox_server import RunningSandbox
from wxauth.v1.auth_service_pb2 import (
    LoginRequest,
    LoginResponse,
    ValidateSessionRequest,
    ValidateSessionResponse,
)
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub
from wxauth.v1.wechat_service_pb2_grpc import WeChatServiceStub
from wxauth_server.accounts.manage import AccountManager
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.accounts.throttle import NameDigests
from wxauth_server.accounts.usernames import username_key
from wxauth_server.clock import Clock, SystemClock
from wxauth_server.config import DEMO_APP_ID, Configuration, load_configuration
from wxauth_server.keyring import create_keyring, load_keyring
from wxauth_server.rpc.callers import Callers
from wxauth_server.store.accounts import insert_account
from wxauth_server.store.interface import Store
from wxauth_server.wiring import Server

P = ParamSpec("P")

#: bcrypt at its cheapest: what is tested here is not its slowness.
TEST_COST = 4

_numbers = itertools.count(1)


class FakeClock:
    """A clock that stands still until it is moved. Milliseconds since 1970."""

    def __init__(self, now_ms: int = 1_790_000_000_000) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms


@dataclass(frozen=True)
class Refusal:
    """A call that was refused, as the caller sees it."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str]
    retry_after_s: float | None
    violations: dict[str, str]
    trailers: tuple[tuple[str, str | bytes], ...]


@dataclass
class RunningServer:
    """A server that runs, and what a test does with it."""

    port: int
    channel: grpc.Channel
    stub: AuthServiceStub
    wechat: WeChatServiceStub
    sandbox: RunningSandbox
    configuration: Configuration
    server: Server
    loop: asyncio.AbstractEventLoop
    clock: Clock
    hasher: PasswordHasher = field(repr=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def store(self) -> Store:
        return self.server.store

    @property
    def accounts(self) -> AccountManager:
        """What an operator does to accounts."""
        names = NameDigests(load_keyring(self.configuration.keyring_file))
        return AccountManager(self.store, self.hasher, self.clock, names=names)

    def code(self, user: str, app_id: str = DEMO_APP_ID) -> str:
        """A code of wx.login for a user of an app."""
        return CANARY.keep(self.sandbox.mint(app_id, user))

    def phone_code(self, user: str, phone: str, app_id: str = DEMO_APP_ID) -> str:
        """A code of the phone button for a user with this number in China, without +86."""
        return CANARY.keep(self.sandbox.phone_code(app_id, user, phone=phone))

    def new_request_id(self) -> str:
        """What a client makes up for one login."""
        return CANARY.keep(secrets.token_urlsafe(16))

    def new_user(self) -> str:
        """A WeChat user whom no other test knows."""
        return f"user{next(_numbers)}"

    def add_account(
        self,
        username: str,
        password: str | None,
        *,
        account_id: str | None = None,
        stored_hash: str | None = None,
        phone: str | None = None,
        phone_verified: bool = False,
    ) -> str:
        """An account of our own store; its id."""
        account_id = account_id or f"id-{username}"
        if password is not None:
            CANARY.keep(password)
            stored_hash = stored_hash or self.hasher.hash(password)
        added = self.store.write(
            lambda tx: insert_account(
                tx,
                source="local",
                account_id=account_id,
                username=username,
                username_key=username_key(username),
                display_name=None,
                phone=phone,
                phone_verified=phone_verified,
                password=stored_hash,
                now_ms=1,
            )
        )
        assert added
        return account_id

    def login(self, **fields: Any) -> LoginResponse:
        """Log in; the SessionId is a secret of the run from then on."""
        answer = self.stub.Login(LoginRequest(**fields), timeout=10)
        CANARY.keep(answer.session_id)
        return answer

    def bound(self, username: str = "zhangsan", password: str = "correct horse battery") -> str:
        """A WeChat user who is bound to a new account; the user."""
        user = self.new_user()
        self.add_account(username, password)
        self.login(code=self.code(user), username=username, password=password)
        return user

    def validate(self, session_id: str, app_id: str = "") -> ValidateSessionResponse:
        return self.stub.ValidateSession(
            ValidateSessionRequest(session_id=session_id, app_id=app_id), timeout=10
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the store holds."""
        return list(self.store.read(lambda tx: tx.execute(sql)))

    def events(self) -> list[tuple[str, str | None]]:
        """The audit log: each event and its reason, oldest first."""
        return [(e, r) for e, r in self.rows("SELECT event, reason FROM audit_events ORDER BY id")]

    def erase(self) -> None:
        """Have the eraser make its round now instead of within half a minute."""
        asyncio.run_coroutine_threadsafe(self.server.eraser.erase(), self.loop).result(10)

    def flush_refusals(self) -> None:
        """Write the refusals that are counted now instead of within five seconds."""
        asyncio.run_coroutine_threadsafe(self.server.refusals.flush(), self.loop).result(10)

    def flush(self) -> None:
        """Write last_seen now instead of within the next second."""
        asyncio.run_coroutine_threadsafe(self.server.last_seen.flush(), self.loop).result(10)


def refused(call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> Refusal:
    """The refusal of a call that must not succeed."""
    try:
        call(*args, **kwargs)
    except grpc.RpcError as error:
        return read_refusal(error)
    raise AssertionError("the call succeeded")


def read_refusal(error: Any) -> Refusal:
    """What the error of a call says; it must say no secret."""
    refusal = _read(error)
    CANARY.hear("status", f"{refusal!r}\n{error}")
    return refusal


def _read(error: Any) -> Refusal:
    status = rpc_status.from_call(error)
    info, retry, bad = ErrorInfo(), RetryInfo(), BadRequest()
    retry_after_s = None
    for detail in status.details if status else ():
        detail.Unpack(info)
        if detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToMilliseconds() / 1000
        detail.Unpack(bad)
    return Refusal(
        code=error.code(),
        message=error.details(),
        reason=info.reason,
        metadata=dict(info.metadata),
        retry_after_s=retry_after_s,
        violations={v.field: v.description for v in bad.field_violations},
        trailers=tuple((key, value) for key, value in error.trailing_metadata()),
    )


#: Whoever reaches a server that is made without a configuration.
ANYBODY = Callers(None, None, SystemClock(), required=False)


def _channel(port: int, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    options = [("grpc.use_local_subchannel_pool", 1)]
    if credentials is None:
        return grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials, options=options)


@contextmanager
def running_server(
    directory: Path,
    sandbox: RunningSandbox,
    loop: asyncio.AbstractEventLoop,
    *,
    clock: Clock | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    **tables: Any,
) -> Iterator[RunningServer]:
    """Serve until the block ends. `tables` are tables of the configuration.

    `credentials` are those of the channel, for a server that speaks TLS as 127.0.0.1.
    """
    clock = clock or SystemClock()
    tables.setdefault("passwords", {"bcrypt_cost": TEST_COST})
    tables.setdefault("wechat", {"base_url": sandbox.base_url})
    configuration = load_configuration(
        store={"directory": directory},
        grpc={"listen": "127.0.0.1:0", "lame_duck_s": 0, "stop_grace_s": 5}
        | tables.pop("grpc", {}),
        **tables,
    )
    if not configuration.keyring_file.exists():
        create_keyring(configuration.keyring_file)
    keyring = load_keyring(configuration.keyring_file)

    async def start() -> tuple[Server, int]:
        server = Server(configuration, clock=clock)
        return server, await server.start()

    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        with _channel(port, credentials) as channel:
            yield RunningServer(
                port=port,
                channel=channel,
                stub=AuthServiceStub(channel),
                wechat=WeChatServiceStub(channel),
                sandbox=sandbox,
                configuration=configuration,
                server=server,
                loop=loop,
                clock=clock,
                hasher=PasswordHasher(keyring, cost=TEST_COST),
            )
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(20)
