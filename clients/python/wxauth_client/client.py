"""AuthClient, for threads. Its twin for asyncio is in aio.py."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Self

import grpc
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
from wxauth_client.errors import DeadlineExceeded
from wxauth_client.reading import error_of
from wxauth_client.values import ClientInfo, Login, Session, Unbound


class AuthClient:
    """A connection to wxauth. Make one per process and share it between threads.

    `address` is a gRPC target, such as "127.0.0.1:50051" or "dns:///wxauth:50051".
    Connects at the first call and reconnects by itself. Make it after forking.
    At most `max_in_flight` calls are on the wire at a time (channel.py says
    why); the others wait, inside their deadlines.

    Every method raises WxauthError, see errors.py. `timeout_s` bounds a call
    with all its waiting and retries. `options` are gRPC channel arguments that
    override or complete ours.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        options: Options | None = None,
    ) -> None:
        self._channel = grpc.insecure_channel(address, options=channel_options(options))
        self._stub = auth_service_pb2_grpc.AuthServiceStub(self._channel)
        # Any: the published stubs leave its methods out.
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)
        self._slots = threading.BoundedSemaphore(max_in_flight)

    def login(
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
        return self._make(self._stub.Login, call)

    def validate(
        self, session_id: str, *, app_id: str = "", timeout_s: float | None = None
    ) -> Session:
        """Say whose live session this is. 0.5 s. Raises SessionDead if it is none.

        With `app_id`, a session of another mini-program is SessionInvalid.
        """
        return self._make(self._stub.ValidateSession, calls.validate(session_id, app_id, timeout_s))

    def unbind(
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
        return self._make(self._stub.Unbind, calls.unbind(session_id, code, password, timeout_s))

    def logout(self, session_id: str, *, timeout_s: float | None = None) -> None:
        """End a session. 2 s. A repetition is success."""
        self._make(self._stub.Logout, calls.logout(session_id, timeout_s))

    def ready(self, timeout_s: float = calls.READY_TIMEOUT_S) -> bool:
        """Say whether the server answers that it is serving. Raises nothing."""
        try:
            answer = self._health.Check(
                health_pb2.HealthCheckRequest(service=SERVICE), timeout=timeout_s
            )
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def close(self) -> None:
        """Close the connection; calls still under way fail with ServerUnreachable."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _make(
        self,
        method: grpc.UnaryUnaryMultiCallable[RequestT, AnswerT],
        call: Call[RequestT, AnswerT, ResultT],
    ) -> ResultT:
        end = time.monotonic() + call.timeout_s
        if not self._slots.acquire(timeout=max(0.0, call.timeout_s)):
            raise DeadlineExceeded("No turn came in time; nothing was sent.")
        try:
            answer = method(call.request, timeout=end - time.monotonic())
        except grpc.RpcError as error:
            failure = error_of(error)
        else:
            return call.read(answer)
        finally:
            self._slots.release()
        # Out of the handler, so that tracebacks are not doubled by gRPC's own.
        return call.settle(failure)
