"""A real gRPC server on the loopback that answers AuthService as a test tells it to.

For what the real server cannot be made to do: answer UNAVAILABLE twice, send
garbage, be of a newer version. Everything else is tested against the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import (
    code_pb2,
    error_details_pb2,
    status_pb2,
)
from grpc_health.v1 import health_pb2_grpc
from grpc_status import rpc_status

from tests.scripted_health import Health
from wxauth.v1 import auth_service_pb2 as pb
from wxauth.v1 import auth_service_pb2_grpc

NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
SESSION_ID = "wxs_" + "a" * 49
ACCOUNT = pb.Account(source="local", id="1001", username="张三", display_name="Zhang San")

Answer = Callable[[Any, grpc.ServicerContext], Message]


def at(time: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


LOGGED_IN = pb.LoginResponse(
    session_id=SESSION_ID,
    idle_expire_time=at(NOON),
    absolute_expire_time=at(NOON.replace(microsecond=0)),
    account=ACCOUNT,
    bound_now=True,
)
VALID = pb.ValidateSessionResponse(
    account=ACCOUNT,
    app_id="wx0123456789abcdef",
    openid="openid-1",
    unionid="",
    session_handle="handle-1",
    login_time=at(NOON),
    idle_expire_time=at(NOON),
    absolute_expire_time=at(NOON),
    reuse_for=Duration(seconds=300),
)
VALIDATIONS = pb.BatchValidateSessionsResponse(results=[pb.SessionValidation(session=VALID)])
UNBOUND = pb.UnbindResponse(
    app_id="wx0123456789abcdef", openid="openid-1", account=ACCOUNT, sessions_ended=2
)


HANDLES = ("AAAAAAAAAAAAAAAAAAAA-1", "AAAAAAAAAAAAAAAAAAAA_2")
OWN_SESSIONS = pb.ListSessionsResponse(
    sessions=[
        pb.OwnSession(
            session_handle=HANDLES[0],
            current=True,
            device="iPhone 15",
            user_agent="agent",
            network="192.0.2.0/24",
            login_time=at(NOON),
            last_seen_time=at(NOON),
            idle_expire_time=at(NOON),
            absolute_expire_time=at(NOON.replace(microsecond=0)),
        ),
        pb.OwnSession(
            session_handle=HANDLES[1],
            login_time=at(NOON),
            last_seen_time=at(NOON),
            idle_expire_time=at(NOON),
            absolute_expire_time=at(NOON),
        ),
    ]
)
DELETED = pb.DeleteAccountResponse(
    account=pb.Account(source="local", id="1001"), bindings_ended=2, sessions_ended=3
)


def say(answer: Message) -> Answer:
    return lambda _request, _context: answer


def refuse(
    reason: str,
    status: str,
    *,
    message: str = "A fixed text.",
    domain: str = "wxauth",
    metadata: dict[str, str] | None = None,
    retry_after_s: float | None = None,
    violations: Sequence[tuple[str, str]] = (),
) -> Answer:
    """An error as the contract describes it."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(domain=domain, reason=reason, metadata=metadata or {})
    ]
    if retry_after_s is not None:
        delay = Duration()
        delay.FromMicroseconds(round(retry_after_s * 1e6))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if violations:
        bad_request = error_details_pb2.BadRequest()
        for field, description in violations:
            bad_request.field_violations.add(field=field, description=description)
        details.append(bad_request)
    rich = status_pb2.Status(code=code_pb2.Code.Value(status), message=message)
    for detail in details:
        rich.details.append(packed(detail))

    def answer(_request: Message, context: grpc.ServicerContext) -> NoReturn:
        context.abort_with_status(rpc_status.to_status(rich))

    return answer


def packed(detail: Message) -> any_pb2.Any:
    box = any_pb2.Any()
    box.Pack(detail)
    return box


def fail(status: str, text: str = "plain", trailers: Sequence[tuple[str, bytes]] = ()) -> Answer:
    """An error that does not come from wxauth's own code: without our details."""

    def answer(_request: Message, context: grpc.ServicerContext) -> NoReturn:
        context.set_trailing_metadata(tuple(trailers))
        context.abort(grpc.StatusCode[status], text)

    return answer


def in_turn(*answers: Answer) -> Answer:
    """One answer after the other; the last one stays."""
    left = list(answers)

    def answer(request: Any, context: grpc.ServicerContext) -> Message:
        turn = left.pop(0) if len(left) > 1 else left[0]
        return turn(request, context)

    return answer


class ScriptedServer(auth_service_pb2_grpc.AuthServiceServicer):
    """Answers what `answers` says for a method; keeps what it was asked, oldest first."""

    def __init__(self) -> None:
        self.address = ""
        self.asked: list[tuple[str, Any]] = []
        self.answers: dict[str, Answer] = {}
        self.health = Health()
        self.reset()

    def reset(self) -> None:
        """Back to a good answer for everything, and nothing asked."""
        self.asked.clear()
        self.answers = {
            "Login": say(LOGGED_IN),
            "ValidateSession": say(VALID),
            "BatchValidateSessions": say(VALIDATIONS),
            "Unbind": say(UNBOUND),
            "Logout": say(pb.LogoutResponse()),
            "ListSessions": say(OWN_SESSIONS),
            "RevokeSession": say(pb.RevokeSessionResponse()),
            "DeleteAccount": say(DELETED),
        }
        self.health.serve(True)

    def requests(self, method: str) -> list[Any]:
        return [request for name, request in self.asked if name == method]

    def _answer(self, method: str, request: Message, context: grpc.ServicerContext) -> Any:
        self.asked.append((method, request))
        return self.answers[method](request, context)

    def Login(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's naming
        return self._answer("Login", request, context)

    def ValidateSession(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer("ValidateSession", request, context)

    def BatchValidateSessions(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer("BatchValidateSessions", request, context)

    def Unbind(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer("Unbind", request, context)

    def Logout(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer("Logout", request, context)

    def ListSessions(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer("ListSessions", request, context)

    def RevokeSession(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer("RevokeSession", request, context)

    def DeleteAccount(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer("DeleteAccount", request, context)


@contextmanager
def scripted_server(
    workers: int = 16, credentials: grpc.ServerCredentials | None = None
) -> Iterator[ScriptedServer]:
    """Serve in threads of this process until the block ends; with TLS, given credentials."""
    scripted = ScriptedServer()
    with ThreadPoolExecutor(workers) as pool:
        server = grpc.server(pool)
        auth_service_pb2_grpc.add_AuthServiceServicer_to_server(scripted, server)
        health_pb2_grpc.add_HealthServicer_to_server(scripted.health, server)
        port = (
            server.add_insecure_port("127.0.0.1:0")
            if credentials is None
            else server.add_secure_port("127.0.0.1:0", credentials)
        )
        scripted.address = f"127.0.0.1:{port}"
        server.start()
        try:
            yield scripted
        finally:
            server.stop(grace=None).wait()
