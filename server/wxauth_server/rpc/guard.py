"""Wraps every method handler: callers, deadlines, malformed requests, errors to statuses.

The generated add_…_to_server functions hand their RpcMethodHandlers to whatever
they are given; here that is a `GuardedServer`, which wraps them on the way to
the engine. An interceptor would do the same for grpc.aio only.

grpcio sends the text of an unhandled exception to the caller, lets a handler
run on after an abort that nobody awaited, and leaves the caller waiting when a
handler is cancelled from inside (reliability.md F1, F3, F12, F21). So nothing
but this module ever meets the end of a call.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NoReturn, Protocol

import grpc

from wxauth.v1 import admin_service_pb2
from wxauth_server.deadline import Deadline
from wxauth_server.errors import (
    AuthError,
    DeadlineTooShort,
    Internal,
    Overloaded,
    RequestInvalid,
)
from wxauth_server.logs import trace_without_text
from wxauth_server.rpc.arrivals import Arrivals
from wxauth_server.rpc.callers import ROLES, Callers
from wxauth_server.rpc.refused_callers import RefusedCallers
from wxauth_server.rpc.status import abort

log = logging.getLogger("wxauth.rpc")

#: Time for a call whose caller set no deadline (reliability.md row 46).
DEFAULT_DEADLINE_S = 5.0

_ADMIN_SERVICE = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"]

#: With less time left a call is refused before it begins (row 46). Health and
#: reflection, which are not listed, always begin.
LEAST_TIME_S: Mapping[str, float] = {
    "/wxauth.v1.AuthService/Login": 0.020,
    "/wxauth.v1.AuthService/Unbind": 0.020,
    "/wxauth.v1.AuthService/Logout": 0.020,
    "/wxauth.v1.AuthService/ListSessions": 0.002,
    "/wxauth.v1.AuthService/RevokeSession": 0.020,
    "/wxauth.v1.AuthService/DeleteAccount": 0.020,
    "/wxauth.v1.AuthService/ValidateSession": 0.002,
    "/wxauth.v1.AuthService/BatchValidateSessions": 0.002,
    "/wxauth.v1.WeChatService/DecryptUserData": 0.002,
    "/wxauth.v1.WeChatService/VerifyUserData": 0.002,
    "/wxauth.v1.WeChatService/GetPhoneNumber": 0.020,
    "/wxauth.v1.WeChatService/CheckSessionKey": 0.020,
    "/wxauth.v1.WeChatService/ResetSessionKey": 0.020,
    **{f"/{_ADMIN_SERVICE.full_name}/{method.name}": 0.020 for method in _ADMIN_SERVICE.methods},
}

Context = grpc.aio.ServicerContext[Any, Any]

# Raises where the caller may not call.
_Check = Callable[[Context], None]
# From what came over the wire; raises RequestInvalid.
_Parse = Callable[[Any], Any]
# From the messages of a call and its context to what its method takes.
_Read = Callable[[Any, Context], Awaitable[Any]]


class _Registry(Protocol):
    def add_registered_method_handlers(
        self, service_name: str, method_handlers: dict[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None: ...


class GuardedServer:
    """What to hand to add_…_to_server in place of `server`."""

    def __init__(self, server: _Registry, callers: Callers) -> None:
        self._server = server
        self._callers = callers
        self._refused = RefusedCallers(callers)
        self._arrivals = Arrivals()

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Nothing: the same handlers come as registered ones, which take precedence."""

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: dict[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        self._server.add_registered_method_handlers(
            service_name,
            {
                method: self._guarded(f"/{service_name}/{method}", handler)
                for method, handler in method_handlers.items()
            },
        )

    def _guarded(self, method: str, handler: Any) -> grpc.RpcMethodHandler[Any, Any]:
        roles = ROLES[method]  # a method without a line there is a fault of ours

        def check(context: Context) -> None:
            try:
                self._callers.check(roles, context)
            except AuthError as refusal:
                self._refused.note(method, refusal, context)
                raise

        return _guard(handler, check, LEAST_TIME_S.get(method, 0.0), self._arrivals)


def deadline_of(context: Context) -> Deadline:
    """The end of the caller's patience."""
    return Deadline(_time_left_s(context))


def _time_left_s(context: Context) -> float:
    left: float | None = context.time_remaining()  # None without one, whatever its type says
    return DEFAULT_DEADLINE_S if left is None else left


def _guard(
    handler: Any, check: _Check, least_time_s: float, arrivals: Arrivals
) -> grpc.RpcMethodHandler[Any, Any]:
    """The handler at its guard. On the wire a unary request is a stream of one message."""
    # Parsed inside the guard, so that nobody's request is who may not call;
    # an answer is serialized there, so that a wrong one is a fault like others.
    parse = _parser(handler.request_deserializer)
    serialize = handler.response_serializer
    if handler.unary_unary is not None:
        return grpc.stream_unary_rpc_method_handler(
            _guard_unary(handler.unary_unary, parse, serialize, check, least_time_s, arrivals)
        )
    if handler.unary_stream is not None:

        async def the_one(_sent: object, context: Context) -> Any:
            return parse(await arrivals.message(context))

        return grpc.stream_stream_rpc_method_handler(
            _guard_stream(handler.unary_stream, the_one, check), None, serialize
        )
    if handler.stream_stream is not None:

        async def each(sent: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            async def parsed() -> AsyncIterator[Any]:
                async for message in sent:
                    check(context)  # a stream outlives the right to it
                    yield parse(message)

            return parsed()

        return grpc.stream_stream_rpc_method_handler(
            _guard_stream(handler.stream_stream, each, check), None, serialize
        )
    raise TypeError("wxauth has no client-streaming methods")


def _parser(deserialize: Callable[[bytes], Any]) -> _Parse:
    def parse(message: bytes) -> Any:
        try:
            return deserialize(message)
        except Exception:  # noqa: BLE001 - whatever the parser raises, its text is the caller's
            raise RequestInvalid(("request", "not the message that this method takes")) from None

    return parse


def _guard_unary(
    method: Callable[[Any, Context], Any],
    parse: _Parse,
    serialize: Callable[[Any], bytes],
    check: _Check,
    least_time_s: float,
    arrivals: Arrivals,
) -> Any:
    async def guarded(_sent: object, context: Context) -> bytes:
        try:
            check(context)
            request = parse(await arrivals.message(context))
            if least_time_s and _time_left_s(context) < least_time_s:
                raise DeadlineTooShort
            answer = await method(request, context)
            return answer if isinstance(answer, bytes) else serialize(answer)
        except BaseException as error:  # noqa: BLE001 - the outermost handler
            await _end(context, error)

    return guarded


def _guard_stream(method: Callable[[Any, Context], Any], read: _Read, check: _Check) -> Any:
    if inspect.isasyncgenfunction(method):

        async def generate(sent: Any, context: Context) -> AsyncIterator[Any]:
            try:
                check(context)
                async for message in method(await read(sent, context), context):
                    yield message
            except BaseException as error:  # noqa: BLE001 - the outermost handler
                await _end(context, error)

        return generate

    async def write(sent: Any, context: Context) -> None:
        try:
            check(context)
            await method(await read(sent, context), context)
        except BaseException as error:  # noqa: BLE001 - the outermost handler
            await _end(context, error)

    return write


async def _end(context: Context, error: BaseException) -> NoReturn:
    """End the call with what `error` means to the caller."""
    if isinstance(error, AuthError):
        await abort(context, error)
    if isinstance(error, asyncio.CancelledError) and not context.cancelled():
        # Cancelled by us, not by the caller, who would wait until its deadline.
        await abort(context, Overloaded())
    if not isinstance(error, Exception) or isinstance(error, grpc.aio.AbortError):
        raise error
    fault = Internal(secrets.token_hex(6))
    log.error(
        "internal error",
        extra={"error_id": fault.metadata["error_id"], "trace": trace_without_text(error)},
    )
    await abort(context, fault)
    raise AssertionError("abort returned")
