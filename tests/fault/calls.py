"""Calls of AuthService whose end is told as a value, refused or not."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

from wxauth.v1.auth_service_pb2 import LoginRequest, LoginResponse, ValidateSessionRequest
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub

#: A validation that has not been answered by then has failed.
VALIDATION_TIMEOUT_S = 1.0
LOGIN_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Answer:
    """How a call ended. `reason` is "OK", a reason of the contract, or a bare status."""

    reason: str
    code: grpc.StatusCode
    seconds: float
    retry_after_s: float | None = None
    login: LoginResponse | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        return self.reason == "OK"


async def log_in(
    stub: AuthServiceStub,
    code: str,
    username: str = "",
    password: str = "",
    *,
    request_id: str = "",
    timeout_s: float = LOGIN_TIMEOUT_S,
) -> Answer:
    """Log in by an aio stub."""
    request = LoginRequest(code=code, username=username, password=password, request_id=request_id)
    return await ended(lambda: stub.Login(request, timeout=timeout_s))


async def validate(stub: AuthServiceStub, session_id: str) -> Answer:
    """Validate by an aio stub."""
    request = ValidateSessionRequest(session_id=session_id)
    return await ended(lambda: stub.ValidateSession(request, timeout=VALIDATION_TIMEOUT_S))


async def ended(call: Callable[[], Any]) -> Answer:
    """Wait for the end of an aio call."""
    started = time.monotonic()
    try:
        response = await call()
    except grpc.RpcError as error:
        return read_refusal(error, time.monotonic() - started)
    login = response if isinstance(response, LoginResponse) else None
    return Answer("OK", grpc.StatusCode.OK, time.monotonic() - started, login=login)


def read_refusal(error: Any, seconds: float) -> Answer:
    """What a refused call, sync or aio, says."""
    status = rpc_status.from_call(error)
    info, retry = ErrorInfo(), RetryInfo()
    retry_after_s = None
    for detail in status.details if status else ():
        detail.Unpack(info)
        if detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToMilliseconds() / 1000
    return Answer(info.reason or error.code().name, error.code(), seconds, retry_after_s)


@dataclass
class Validations:
    """What became of validations. `seconds` count from when each was due, answered or not."""

    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        return self.failures.total()

    def p(self, share: float) -> float:
        """The quantile of the latencies, seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __str__(self) -> str:
        return (
            f"{len(self.seconds)} validations, {self.failed} failed {dict(self.failures)}, "
            f"p50 {self.p(0.5) * 1000:.1f} ms, p99 {self.p(0.99) * 1000:.1f} ms"
        )


async def validate_while(
    stub: AuthServiceStub, session_ids: Sequence[str], work: Awaitable[Any], *, rate_hz: float
) -> Validations:
    """Validate in an open loop, at a fixed rate whatever the answers do, until `work` ends."""
    result = Validations()
    calls: set[asyncio.Task[None]] = set()

    async def one(session_id: str, due: float) -> None:
        answer = await validate(stub, session_id)
        result.seconds.append(time.monotonic() - due)
        if not answer.ok:
            result.failures[answer.reason] += 1

    async def all_of_them() -> None:
        due = time.monotonic()
        turn = 0
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            call = asyncio.create_task(one(session_ids[turn % len(session_ids)], due))
            calls.add(call)
            call.add_done_callback(calls.discard)
            turn += 1
            due += 1 / rate_hz

    loop = asyncio.create_task(all_of_them())
    try:
        await work
    finally:
        loop.cancel()
        await asyncio.gather(loop, *calls, return_exceptions=True)
    return result
