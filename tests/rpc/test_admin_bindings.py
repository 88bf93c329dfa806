"""AdminService: bindings are listed and ended."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.admin_caller import PASSWORD, AdminCaller, admin_of, by_id, by_name
from tests.rpc.conftest import MALL, SHOP, app_of
from tests.running_server import FakeClock, RunningServer, refused, running_server
from tests.sandbox_server import RunningSandbox
from wxauth.v1.admin_service_pb2 import AccountKey, EndBindingRequest, ListBindingsRequest
from wxauth_server.config import DEMO_APP_ID


def listed(admin: AdminCaller, **filters: Any) -> list[tuple[str, str]]:
    answer = admin.ListBindings(ListBindingsRequest(**filters))
    return [(binding.app_id, binding.account_id) for binding in answer.bindings]


def test_a_binding_is_listed_as_it_is(
    timed: RunningServer, admin: AdminCaller, clock: FakeClock
) -> None:
    user = timed.bound("zhangsan", PASSWORD)
    openid = timed.validate(timed.login(code=timed.code(user)).session_id).openid

    [binding] = admin.ListBindings(ListBindingsRequest()).bindings

    assert (binding.app_id, binding.openid) == (DEMO_APP_ID, openid)
    assert (binding.account_source, binding.account_id) == ("local", "id-zhangsan")
    assert binding.bind_time.ToMilliseconds() == clock.ms


def test_the_filters(timed: RunningServer, admin: AdminCaller) -> None:
    for name in ("zhangsan", "lisi"):
        timed.bound(name, PASSWORD)
    timed.add_account("wangwu", PASSWORD)
    zhangsan = [(DEMO_APP_ID, "id-zhangsan")]
    assert listed(admin, account=by_name("ZhangSan")) == zhangsan
    assert listed(admin, account=by_id("id-zhangsan")) == zhangsan
    assert listed(admin, account=by_name("wangwu")) == []
    assert listed(admin, account=by_id("id-zhangsan", "erp")) == []
    assert len(listed(admin, app_id=DEMO_APP_ID)) == 2
    assert listed(admin, app_id="wx9999999999999999") == []
    assert listed(admin, app_id="wx9999999999999999", account=by_name("lisi")) == []
    for binding in admin.ListBindings(ListBindingsRequest()).bindings:
        assert listed(admin, app_id=DEMO_APP_ID, openid=binding.openid) == [
            (DEMO_APP_ID, binding.account_id)
        ]


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"account": by_name("nobody")}, "account.username"),
        ({"account": by_name("no body")}, "account.username"),
        ({"account": by_name("")}, "account.username"),
        ({"account": AccountKey(source="local")}, "account"),
        ({"openid": "o"}, "openid"),
        ({"openid": "o" * 65, "app_id": "wx"}, "openid"),
        ({"app_id": "w" * 65}, "app_id"),
        ({"page_size": -1}, "page_size"),
        ({"page_size": 501}, "page_size"),
        ({"page_token": "nonsense"}, "page_token"),
        ({"page_token": "WyIxIl0="}, "page_token"),  # that of a list of accounts
        ({"page_token": "W1tbW1tb" * 20}, "page_token"),
        ({"page_token": "x" * 513}, "page_token"),
        ({"page_token": "é"}, "page_token"),
    ],
    ids=str,
)
def test_filters_that_make_no_sense(
    admin: AdminCaller, filters: dict[str, Any], field: str
) -> None:
    refusal = refused(lambda: listed(admin, **filters))
    assert (refusal.reason, set(refusal.violations)) == ("REQUEST_INVALID", {field})


def test_an_end_of_a_binding_ends_its_sessions(timed: RunningServer, admin: AdminCaller) -> None:
    user, other = timed.bound("zhangsan", PASSWORD), timed.bound("lisi", PASSWORD)
    session = timed.login(code=timed.code(user)).session_id
    openid = timed.validate(session).openid
    kept = timed.login(code=timed.code(other)).session_id
    request = EndBindingRequest(app_id=DEMO_APP_ID, openid=openid)

    answer = admin.EndBinding(request)

    assert (answer.binding.openid, answer.binding.account_id) == (openid, "id-zhangsan")
    assert answer.sessions_ended == 2
    assert refused(lambda: timed.validate(session)).metadata == {"cause": "UNBOUND"}
    timed.validate(kept)
    assert listed(admin) == [(DEMO_APP_ID, "id-lisi")]
    told = timed.rows(
        "SELECT actor, app_id, openid, account_id, client_address FROM audit_events"
        " WHERE event = 'UNBOUND'"
    )
    assert told == [("admin", DEMO_APP_ID, openid, "id-zhangsan", "127.0.0.1")]
    refusal = refused(lambda: timed.login(code=timed.code(user)))
    assert refusal.reason == "BINDING_REQUIRED"
    again = refused(admin.EndBinding, request)
    assert (again.code, again.metadata) == (grpc.StatusCode.NOT_FOUND, {"what": "binding"})
    # Who has a new WeChat comes back with the password.
    new = timed.new_user()
    assert timed.login(code=timed.code(new), username="zhangsan", password=PASSWORD).bound_now


def test_sessions_past_their_limit_are_not_counted(
    timed: RunningServer, admin: AdminCaller, clock: FakeClock
) -> None:
    user = timed.bound("zhangsan", PASSWORD)
    [binding] = admin.ListBindings(ListBindingsRequest()).bindings
    clock.ms += 8 * 86_400_000
    timed.login(code=timed.code(user))
    request = EndBindingRequest(app_id=DEMO_APP_ID, openid=binding.openid)
    assert admin.EndBinding(request).sessions_ended == 1


def test_a_sibling_does_not_bring_the_binding_back(
    wechat_of_three: RunningSandbox, tmp_path: Path, server_loop: asyncio.AbstractEventLoop
) -> None:
    apps = [app_of(app, open_platform="company") for app in (SHOP, MALL)]
    with running_server(tmp_path / "two", wechat_of_three, server_loop, apps=apps) as server:
        user = server.new_user()
        server.add_account("zhangsan", PASSWORD)
        server.login(
            app_id=SHOP.app_id,
            code=server.code(user, SHOP.app_id),
            username="zhangsan",
            password=PASSWORD,
        )
        server.login(app_id=MALL.app_id, code=server.code(user, MALL.app_id))
        admin = admin_of(server)
        [binding] = admin.ListBindings(ListBindingsRequest(app_id=MALL.app_id)).bindings

        admin.EndBinding(EndBindingRequest(app_id=MALL.app_id, openid=binding.openid))

        assert listed(admin) == [(SHOP.app_id, "id-zhangsan")]
        refusal = refused(
            lambda: server.login(app_id=MALL.app_id, code=server.code(user, MALL.app_id))
        )
        assert refusal.reason == "BINDING_REQUIRED"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, {"app_id", "openid"}),
        ({"app_id": "wx"}, {"openid"}),
        ({"app_id": "w" * 65, "openid": "o" * 65}, {"app_id", "openid"}),
    ],
    ids=["nothing", "an app", "too long"],
)
def test_what_is_needed_to_end_a_binding(
    admin: AdminCaller, fields: dict[str, str], wrong: set[str]
) -> None:
    refusal = refused(lambda: admin.EndBinding(EndBindingRequest(**fields)))
    assert set(refusal.violations) == wrong
