"""AsyncAuthClient, for asyncio. Its twin for threads is in client.py."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio
from grpc_health.v1 import (
    health_pb2,
    health_pb2_grpc,
)

from wxauth.v1 import auth_service_pb2_grpc
from wxauth_client import calls
from wxauth_client.calls import AnswerT, Call, RequestT, ResultT
from wxauth_client.channel import (
    DEFAULT_ADDRESS,
    MAX_IN_FLIGHT,
    SERVICE,
    Options,
    channel_options,
)
from wxauth_client.errors import DeadlineExceeded, ServerUnreachable
from wxauth_client.reading import error_of
from wxauth_client.values import ClientInfo, Login, Session, Unbound

if TYPE_CHECKING:
    from wxauth.v1.auth_service_pb2_grpc import AuthServiceAsyncStub


class AsyncAuthClient:
    """A connection to wxauth for one event loop. Make it while that loop runs.

    In everything else it is AuthClient with `await`: see there.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        options: Options | None = None,
    ) -> None:
        # Without a running loop, grpc.aio binds itself to another one and hangs.
        asyncio.get_running_loop()
        self._channel = grpc.aio.insecure_channel(address, options=channel_options(options))
        self._stub: AuthServiceAsyncStub = auth_service_pb2_grpc.AuthServiceStub(self._channel)
        # Any: the published stubs leave its methods out.
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)
        self._slots = asyncio.Semaphore(max_in_flight)

    async def login(
        self,
        code: str,
        *,
        app_id: str = "",
        username: str = "",
        password: str = "",
        client: ClientInfo | None = None,
        timeout_s: float | None = None,
    ) -> Login:
        """Log in with a code of wx.login, and with username and password to bind. 8 s.

        Never retried: after any failure, get a new code.
        """
        call = calls.login(code, app_id, username, password, client, timeout_s)
        return await self._make(self._stub.Login, call)

    async def validate(
        self, session_id: str, *, app_id: str = "", timeout_s: float | None = None
    ) -> Session:
        """Say whose live session this is. 0.5 s. Raises SessionDead if it is none.

        With `app_id`, a session of another mini-program is SessionInvalid.
        """
        return await self._make(
            self._stub.ValidateSession, calls.validate(session_id, app_id, timeout_s)
        )

    async def unbind(
        self,
        session_id: str,
        *,
        code: str = "",
        password: str = "",
        timeout_s: float | None = None,
    ) -> Unbound:
        """End the binding of the session's WeChat user; the proof is a code or a password. 8 s.

        A repetition is success: see Unbound. Raises ValueError if both proofs
        are given.
        """
        call = calls.unbind(session_id, code, password, timeout_s)
        return await self._make(self._stub.Unbind, call)

    async def logout(self, session_id: str, *, timeout_s: float | None = None) -> None:
        """End a session. 2 s. A repetition is success."""
        await self._make(self._stub.Logout, calls.logout(session_id, timeout_s))

    async def ready(self, timeout_s: float = calls.READY_TIMEOUT_S) -> bool:
        """Say whether the server answers that it is serving. Raises nothing."""
        try:
            answer = await self._health.Check(
                health_pb2.HealthCheckRequest(service=SERVICE), timeout=timeout_s
            )
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def close(self) -> None:
        """Close the connection; calls still under way fail with ServerUnreachable."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _make(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[RequestT, AnswerT],
        call: Call[RequestT, AnswerT, ResultT],
    ) -> ResultT:
        loop = asyncio.get_running_loop()
        end = loop.time() + call.timeout_s
        if self._slots.locked():
            try:
                async with asyncio.timeout_at(end):
                    await self._slots.acquire()
            except TimeoutError:
                raise DeadlineExceeded("No turn came in time; nothing was sent.") from None
        else:
            await self._slots.acquire()  # returns at once
        try:
            answer = await method(call.request, timeout=end - loop.time())
        except grpc.RpcError as error:
            failure = error_of(error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody cancelled this task: the client was closed under the call.
            raise ServerUnreachable("The client was closed.") from None
        else:
            return call.read(answer)
        finally:
            self._slots.release()
        # Out of the handler, so that tracebacks are not doubled by gRPC's own.
        return call.settle(failure)
