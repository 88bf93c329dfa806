"""Who may call what: every method against every kind of caller, each cell on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.admin_caller import token_of
from tests.rpc.known_callers import a_token, bearer, caller, write_callers
from tests.running_server import ANYBODY, Refusal, RunningServer, read_refusal, running_server
from tests.sandbox_server import RunningSandbox
from wxauth.v1 import admin_service_pb2, auth_service_pb2, wechat_service_pb2
from wxauth_server.callers.caller import Role
from wxauth_server.rpc.callers import ROLES
from wxauth_server.rpc.guard import LEAST_TIME_S, GuardedServer

OURS: list[ServiceDescriptor] = [
    service
    for file in (admin_service_pb2, auth_service_pb2, wechat_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
]
THEIRS: list[ServiceDescriptor] = [
    service
    for file in (health_pb2, reflection_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
]
METHODS = [f"/{s.full_name}/{method.name}" for s in (*OURS, *THEIRS) for method in s.methods]

GATEWAYS = {"gateway", "gateway and admin"}
ADMINS = {"admin", "admin.token", "gateway and admin"}
KNOWN = GATEWAYS | ADMINS | {"service"}
UNKNOWN = {"nobody", "wrong", "wrong admin.token", "ended", "revoked"}

#: Who gets in where callers are required. Whoever adds a method says here who calls it.
WHO: dict[str, set[str]] = {
    "/wxauth.v1.AuthService/Login": GATEWAYS,
    "/wxauth.v1.AuthService/ValidateSession": GATEWAYS | {"service"},
    "/wxauth.v1.AuthService/BatchValidateSessions": GATEWAYS | {"service"},
    "/wxauth.v1.AuthService/Unbind": GATEWAYS,
    "/wxauth.v1.AuthService/Logout": GATEWAYS,
    "/wxauth.v1.AuthService/ListSessions": GATEWAYS,
    "/wxauth.v1.AuthService/RevokeSession": GATEWAYS,
    "/wxauth.v1.AuthService/DeleteAccount": GATEWAYS,
    "/wxauth.v1.WeChatService/DecryptUserData": GATEWAYS,
    "/wxauth.v1.WeChatService/VerifyUserData": GATEWAYS,
    "/wxauth.v1.WeChatService/GetPhoneNumber": GATEWAYS,
    "/wxauth.v1.WeChatService/CheckSessionKey": GATEWAYS,
    "/wxauth.v1.WeChatService/ResetSessionKey": GATEWAYS,
    **{method: ADMINS for method in METHODS if method.startswith("/wxauth.v1.AdminService/")},
    "/grpc.health.v1.Health/Check": KNOWN | UNKNOWN,
    "/grpc.health.v1.Health/Watch": KNOWN | UNKNOWN,
    "/grpc.health.v1.Health/List": KNOWN,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": KNOWN,
}


@dataclass
class Asked:
    """A server, and what each kind of caller sends it."""

    server: RunningServer
    required: bool
    metadata: dict[str, tuple[tuple[str, str], ...]]

    def who_gets_in(self, method: str) -> set[str]:
        if self.required or method.startswith("/wxauth.v1.AdminService/"):
            return WHO[method]
        return KNOWN | UNKNOWN

    def refusal(self, method: str, who: str) -> Refusal:
        """Of a call that is none of the contract: who gets in hears that."""
        bare: Any = self.server.channel.stream_stream(method, None, None)
        answers = bare(iter([b"\xff\xff\xff"]), timeout=10, metadata=self.metadata[who])
        try:
            raise AssertionError(f"answered: {list(answers)}")
        except grpc.RpcError as error:
            return read_refusal(error)


@pytest.fixture(scope="module", params=[True, False], ids=["required", "loopback"])
def asked(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    sandbox: RunningSandbox,
    server_loop: asyncio.AbstractEventLoop,
) -> Iterator[Asked]:
    directory = tmp_path_factory.mktemp("callers")
    file = directory / "callers.json"
    tokens = {name: a_token() for name in ("gateway", "service", "admin", "both", "ended", "gone")}
    kept = [
        caller("gateway", Role.GATEWAY, token=tokens["gateway"]),
        caller("service", Role.SERVICE, token=tokens["service"]),
        caller("admin", Role.ADMIN, token=tokens["admin"]),
        caller("both", Role.GATEWAY, Role.ADMIN, token=tokens["both"]),
        caller("ended", *Role, token=tokens["ended"], ends_ms=1),
    ]
    revoked = caller("gone", *Role, token=tokens["gone"])
    write_callers(file, *kept, revoked)
    with running_server(
        directory / "data",
        sandbox,
        server_loop,
        grpc={"require_callers": request.param},
        callers={"file": file},
    ) as server:
        metadata = {
            "nobody": (),
            "wrong": bearer("wxc_" + "A" * 43),
            "wrong admin.token": bearer("wxa_" + "A" * 43),
            "ended": bearer(tokens["ended"]),
            "revoked": bearer(tokens["gone"]),
            "gateway": bearer(tokens["gateway"]),
            "service": bearer(tokens["service"]),
            "admin": bearer(tokens["admin"]),
            "admin.token": bearer(token_of(server)),
            "gateway and admin": bearer(tokens["both"]),
        }
        asked = Asked(server, request.param, metadata)
        before = asked.refusal("/wxauth.v1.AdminService/GetAccount", "revoked")
        assert before.reason == "REQUEST_INVALID", "not revoked yet"
        write_callers(file, *kept)
        assert server.server._callers.refresh()
        yield asked


def test_every_method_has_a_row_here_and_there() -> None:
    assert set(METHODS) == set(WHO) == set(ROLES)
    ours = {f"/{s.full_name}/{method.name}" for s in OURS for method in s.methods}
    assert set(LEAST_TIME_S) == ours


def test_a_method_without_a_role_is_not_served() -> None:
    class Registry:
        def add_registered_method_handlers(self, service_name: str, handlers: object) -> None:
            raise AssertionError("served")

    async def method(request: object, context: object) -> object:
        raise AssertionError("called")

    guarded = GuardedServer(Registry(), ANYBODY)
    handler: Any = grpc.unary_unary_rpc_method_handler(method)
    with pytest.raises(KeyError, match=r"/wxauth\.v1\.AuthService/New"):
        guarded.add_registered_method_handlers("wxauth.v1.AuthService", {"New": handler})


def test_what_is_served_is_what_the_matrix_asks(asked: Asked) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(asked.server.channel)
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    metadata = asked.metadata["service"]
    [answer] = stub.ServerReflectionInfo(iter([question]), timeout=10, metadata=metadata)
    served = {service.name for service in answer.list_services_response.service}
    assert served == {service.full_name for service in (*OURS, *THEIRS)}


@pytest.mark.parametrize("method", METHODS)
def test_who_gets_in(asked: Asked, method: str) -> None:
    assert set(asked.metadata) == KNOWN | UNKNOWN
    may = asked.who_gets_in(method)
    refusals = {who: asked.refusal(method, who) for who in asked.metadata}
    for who, refusal in refusals.items():
        expected: tuple[grpc.StatusCode, str, dict[str, str]]
        if who in may:
            expected = (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID", {})
        elif who in KNOWN:
            name = "both" if who == "gateway and admin" else who
            expected = (grpc.StatusCode.PERMISSION_DENIED, "CALLER_FORBIDDEN", {"caller": name})
        else:
            expected = (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED", {})
        assert (refusal.code, refusal.reason, refusal.metadata) == expected, who
    # Whoever has an ended token does not learn that it was one.
    unknown = [refusals[who] for who in UNKNOWN - may]
    assert all(one == unknown[0] for one in unknown)


def test_no_caller_did_anything(asked: Asked) -> None:
    assert asked.server.rows("SELECT * FROM audit_events") == []
