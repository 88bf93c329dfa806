"""Login with `rebind`: the user has said that the former binding shall end (lost phone)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.rpc.conftest import MALL, SHOP, Serve, app_of
from tests.running_server import RunningServer, refused
from tests.sandbox_server import RunningSandbox
from wxauth.v1.auth_service_pb2 import LoginResponse

PASSWORD = "correct horse battery"
WRONG = "not it at all"


@dataclass(frozen=True)
class Bound:
    """A WeChat user with two sessions of an account."""

    user: str
    openid: str
    sessions: tuple[str, str]


def bind(server: RunningServer, username: str, user: str = "", **fields: Any) -> Bound:
    """Bind a WeChat user, a new one if none is named, to an account that is there already."""
    user = user or server.new_user()
    app_id = fields.get("app_id") or server.configuration.apps[0].app_id
    pair = {"username": username, "password": PASSWORD}
    first = server.login(code=server.code(user, app_id), **pair, **fields)
    second = server.login(code=server.code(user, app_id), **fields)
    openid = server.validate(first.session_id).openid
    return Bound(user, openid, (first.session_id, second.session_id))


def rebind(server: RunningServer, user: str, username: str, **fields: Any) -> LoginResponse:
    app_id = fields.get("app_id") or server.configuration.apps[0].app_id
    request = {"username": username, "password": PASSWORD, "rebind": True} | fields
    return server.login(code=server.code(user, app_id), **request)


def bindings(server: RunningServer) -> set[tuple[Any, ...]]:
    return set(server.rows("SELECT openid, account_id FROM bindings"))


def rebound(server: RunningServer) -> list[tuple[Any, ...]]:
    """(openid, account) of the bindings that ended so, in their order."""
    return server.rows(
        "SELECT openid, account_id FROM audit_events WHERE event = 'REBOUND' ORDER BY id"
    )


def assert_rebound(server: RunningServer, *displaced: Bound) -> None:
    for who in displaced:
        for session_id in who.sessions:
            refusal = refused(server.validate, session_id)
            assert (refusal.reason, refusal.metadata) == ("SESSION_REVOKED", {"cause": "REBOUND"})


def assert_live(server: RunningServer, *those: Bound) -> None:
    for who in those:
        for session_id in who.sessions:
            server.validate(session_id)


@pytest.mark.parametrize("several", [False, True])
def test_a_wechat_user_moves_to_another_account(serve: Serve, several: bool) -> None:
    """The openid's former binding in this app ends, whatever the policy."""
    server = serve(several_users_per_account=several)
    for username in ("zhangsan", "lisi", "wangwu"):
        server.add_account(username, PASSWORD)
    former, bystander = bind(server, "zhangsan"), bind(server, "wangwu")
    answer = rebind(server, former.user, "lisi")

    assert answer.bound_now
    assert server.validate(answer.session_id).account.id == "id-lisi"
    assert_rebound(server, former)
    assert_live(server, bystander)
    assert bindings(server) == {(former.openid, "id-lisi"), (bystander.openid, "id-wangwu")}
    assert rebound(server) == [(former.openid, "id-zhangsan")]
    # What follows for the account that was left: it is free.
    assert bind(server, "zhangsan").openid != former.openid


def test_an_account_moves_to_another_wechat_user(serve: Serve) -> None:
    """A new phone with a new WeChat: the lost one is out at once."""
    server = serve()
    server.add_account("zhangsan", PASSWORD)
    lost = bind(server, "zhangsan")
    new = server.new_user()
    answer = rebind(server, new, "zhangsan")

    assert answer.bound_now
    assert_rebound(server, lost)
    openid = server.validate(answer.session_id).openid
    assert bindings(server) == {(openid, "id-zhangsan")}
    assert rebound(server) == [(lost.openid, "id-zhangsan")]
    refusal = refused(lambda: server.login(code=server.code(lost.user)))
    assert refusal.reason == "BINDING_REQUIRED"


def test_an_account_for_several_users_displaces_nobody(serve: Serve) -> None:
    server = serve(several_users_per_account=True)
    server.add_account("zhangsan", PASSWORD)
    first = bind(server, "zhangsan")
    rebind(server, server.new_user(), "zhangsan")
    assert_live(server, first)
    assert len(bindings(server)) == 2
    assert rebound(server) == []


def test_a_binding_from_stricter_days_is_not_displaced(serve: Serve) -> None:
    """It was made when the app was one-to-one; what counts is what the app allows now."""
    server = serve(several_users_per_account=True)
    server.add_account("zhangsan", PASSWORD)
    first = bind(server, "zhangsan")
    server.store.write(lambda tx: tx.execute("UPDATE bindings SET exclusive = 1"))
    assert rebind(server, server.new_user(), "zhangsan").bound_now
    assert_live(server, first)


def test_both_former_bindings_end_at_once(serve: Serve) -> None:
    """In one transaction, the openid's and the account's, each with its event."""
    server = serve()
    for username in ("zhangsan", "lisi"):
        server.add_account(username, PASSWORD)
    mine, theirs = bind(server, "zhangsan"), bind(server, "lisi")
    answer = rebind(server, mine.user, "lisi")

    assert answer.bound_now
    assert_rebound(server, mine, theirs)
    assert bindings(server) == {(mine.openid, "id-lisi")}
    assert rebound(server) == [(mine.openid, "id-zhangsan"), (theirs.openid, "id-lisi")]
    assert server.events()[-4:] == [
        ("REBOUND", None),
        ("REBOUND", None),
        ("BOUND", None),
        ("LOGIN", None),
    ]


def test_a_wrong_password_moves_nothing(serve: Serve) -> None:
    server = serve()
    for username in ("zhangsan", "lisi"):
        server.add_account(username, PASSWORD)
    mine, theirs = bind(server, "zhangsan"), bind(server, "lisi")
    before = bindings(server)
    refusal = refused(lambda: rebind(server, mine.user, "lisi", password=WRONG))
    assert refusal.reason == "CREDENTIALS_INVALID"
    assert bindings(server) == before
    assert_live(server, mine, theirs)
    assert rebound(server) == []


def test_a_disabled_account_is_not_moved(serve: Serve) -> None:
    server = serve()
    for username in ("zhangsan", "lisi"):
        server.add_account(username, PASSWORD)
    mine = bind(server, "zhangsan")
    server.accounts.disable("id-lisi")
    assert refused(lambda: rebind(server, mine.user, "lisi")).reason == "CREDENTIALS_INVALID"
    assert_live(server, mine)


def test_the_same_pair_again_ends_nothing(serve: Serve) -> None:
    server = serve()
    server.add_account("zhangsan", PASSWORD)
    mine = bind(server, "zhangsan")
    before = server.rows("SELECT * FROM bindings WHERE bound_at > 0")
    answer = rebind(server, mine.user, "zhangsan")
    assert not answer.bound_now
    assert_live(server, mine)
    server.validate(answer.session_id)
    after = server.rows("SELECT * FROM bindings WHERE bound_at > 0")
    assert [row[:7] for row in after] == [row[:7] for row in before], "all but the session_key"
    assert rebound(server) == []


def test_nothing_in_the_way_is_a_binding_like_any_other(serve: Serve) -> None:
    server = serve()
    server.add_account("zhangsan", PASSWORD)
    assert rebind(server, server.new_user(), "zhangsan").bound_now
    assert server.events() == [("BOUND", None), ("LOGIN", None)]


def test_a_rebind_that_is_sent_again(serve: Serve) -> None:
    """The second time the pair is there already, and still the answer is that of the first."""
    server = serve()
    for username in ("zhangsan", "lisi"):
        server.add_account(username, PASSWORD)
    mine = bind(server, "zhangsan")
    request: dict[str, Any] = {
        "code": server.code(mine.user),
        "request_id": server.new_request_id(),
        "username": "lisi",
        "password": PASSWORD,
        "rebind": True,
    }
    first = server.login(**request)
    assert first.bound_now
    assert server.login(**request) == first
    assert rebound(server) == [(mine.openid, "id-zhangsan")]


def test_the_session_key_goes_with_the_former_binding(serve: Serve) -> None:
    """What is on the new one is of the new user."""
    server = serve()
    server.add_account("zhangsan", PASSWORD)
    lost = bind(server, "zhangsan")
    [(former,)] = server.rows("SELECT session_key FROM bindings")
    rebind(server, server.new_user(), "zhangsan")
    [(openid, session_key)] = server.rows("SELECT openid, session_key FROM bindings")
    assert openid != lost.openid
    assert session_key
    assert session_key != former


# --- Siblings ------------------------------------------------------------------


def siblings(serve: Serve, wechat: RunningSandbox, *, several_in_mall: bool) -> RunningServer:
    mall = {"several_users_per_account": several_in_mall}
    server = serve(
        apps=[app_of(SHOP, open_platform="co"), app_of(MALL, open_platform="co", **mall)],
        wechat=wechat,
    )
    for username in ("zhangsan", "lisi"):
        server.add_account(username, PASSWORD)
    return server


@pytest.mark.parametrize("several_in_mall", [False, True])
def test_the_displaced_user_leaves_the_siblings_too(
    serve: Serve, wechat_of_three: RunningSandbox, several_in_mall: bool
) -> None:
    """Else the lost phone would come right back; others who share the account there stay."""
    server = siblings(serve, wechat_of_three, several_in_mall=several_in_mall)
    in_shop = bind(server, "zhangsan", app_id=SHOP.app_id)
    in_mall = bind(server, "zhangsan", in_shop.user, app_id=MALL.app_id)
    others = [bind(server, "lisi", app_id=MALL.app_id)]
    if several_in_mall:
        others.append(bind(server, "zhangsan", app_id=MALL.app_id))
    new = server.new_user()
    answer = rebind(server, new, "zhangsan", app_id=SHOP.app_id)

    assert_rebound(server, in_shop, in_mall)
    assert_live(server, *others)
    assert rebound(server) == [(in_shop.openid, "id-zhangsan"), (in_mall.openid, "id-zhangsan")]
    assert server.rows("SELECT app_id FROM audit_events WHERE event = 'REBOUND' ORDER BY id") == [
        (SHOP.app_id,),
        (MALL.app_id,),
    ]
    for app in (SHOP, MALL):
        code = server.code(in_shop.user, app.app_id)
        refusal = refused(server.login, code=code, app_id=app.app_id)
        assert refusal.reason == "BINDING_REQUIRED"
    server.validate(answer.session_id, SHOP.app_id)


def test_the_displaced_users_other_accounts_stay(
    serve: Serve, wechat_of_three: RunningSandbox
) -> None:
    """What ends in a sibling is the binding to this account, not to another one."""
    server = siblings(serve, wechat_of_three, several_in_mall=False)
    in_shop = bind(server, "zhangsan", app_id=SHOP.app_id)
    in_mall = bind(server, "lisi", in_shop.user, app_id=MALL.app_id)
    rebind(server, server.new_user(), "zhangsan", app_id=SHOP.app_id)
    assert_rebound(server, in_shop)
    assert_live(server, in_mall)


def test_the_account_that_is_left_stays_bound_in_the_siblings(
    serve: Serve, wechat_of_three: RunningSandbox
) -> None:
    """The user who moves is nobody's thief: only who is displaced leaves the siblings."""
    server = siblings(serve, wechat_of_three, several_in_mall=False)
    in_shop = bind(server, "zhangsan", app_id=SHOP.app_id)
    in_mall = bind(server, "zhangsan", in_shop.user, app_id=MALL.app_id)
    rebind(server, in_shop.user, "lisi", app_id=SHOP.app_id)
    assert_rebound(server, in_shop)
    assert_live(server, in_mall)


def test_a_foreign_app_of_the_displaced_user_stays(
    serve: Serve, wechat_of_three: RunningSandbox
) -> None:
    """Same unionid, but the operator has not said that the apps belong together."""
    server = serve(apps=[app_of(SHOP, open_platform="co"), app_of(MALL)], wechat=wechat_of_three)
    server.add_account("zhangsan", PASSWORD)
    in_shop = bind(server, "zhangsan", app_id=SHOP.app_id)
    in_mall = bind(server, "zhangsan", in_shop.user, app_id=MALL.app_id)
    rebind(server, server.new_user(), "zhangsan", app_id=SHOP.app_id)
    assert_rebound(server, in_shop)
    assert_live(server, in_mall)
