"""Several mini-programs in one server: each its policy, and what a sibling app may know."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rpc.conftest import BANK, MALL, SHOP, Serve, app_of
from tests.running_server import FakeClock, RunningServer, refused
from tests.sandbox_server import RunningSandbox, running_sandbox
from wechat_sandbox import SandboxApp
from wxauth.v1.auth_service_pb2 import LoginResponse, UnbindRequest

PASSWORD = "correct horse battery"


def log_in(server: RunningServer, app: SandboxApp, user: str, username: str = "") -> LoginResponse:
    """A password login with a username, a silent one without."""
    pair = {"username": username, "password": PASSWORD} if username else {}
    return server.login(app_id=app.app_id, code=server.code(user, app.app_id), **pair)


def refused_login(server: RunningServer, app: SandboxApp, user: str, username: str = "") -> str:
    return refused(lambda: log_in(server, app, user, username)).reason


def unbind(server: RunningServer, app: SandboxApp, user: str, session_id: str) -> None:
    code = server.code(user, app.app_id)
    server.stub.Unbind(UnbindRequest(session_id=session_id, code=code), timeout=10)


def serving(
    serve: Serve, wechat: RunningSandbox, *apps: dict[str, Any], accounts: tuple[str, ...]
) -> RunningServer:
    server = serve(apps=list(apps), wechat=wechat)
    for username in accounts:
        server.add_account(username, PASSWORD)
    return server


@pytest.fixture
def family(serve: Serve, wechat_of_three: RunningSandbox) -> RunningServer:
    """SHOP, MALL and BANK are siblings; accounts zhangsan and lisi."""
    apps = [app_of(app, open_platform="co") for app in (SHOP, MALL, BANK)]
    return serving(serve, wechat_of_three, *apps, accounts=("zhangsan", "lisi"))


# --- Each app for itself -------------------------------------------------------


def test_an_app_must_be_named(serve: Serve, wechat_of_three: RunningSandbox) -> None:
    server = serving(serve, wechat_of_three, app_of(SHOP), app_of(MALL), accounts=())
    for app_id, problem in (
        ("", "required: this server serves several mini-programs"),
        (BANK.app_id, "this server does not serve this mini-program"),
    ):
        refusal = refused(server.login, app_id=app_id, code="x")
        assert (refusal.reason, refusal.violations) == ("REQUEST_INVALID", {"app_id": problem})


def test_a_code_is_of_one_app(serve: Serve, wechat_of_three: RunningSandbox) -> None:
    """Each app asks WeChat with its own AppId and AppSecret."""
    server = serving(serve, wechat_of_three, app_of(SHOP), app_of(MALL), accounts=("zhangsan",))
    user = server.new_user()
    code = server.code(user, SHOP.app_id)
    refusal = refused(lambda: server.login(app_id=MALL.app_id, code=code))
    assert refusal.reason == "CODE_INVALID"
    server.login(app_id=SHOP.app_id, code=code, username="zhangsan", password=PASSWORD)


def test_one_request_id_in_two_apps_is_two_requests(
    serve: Serve, wechat_of_three: RunningSandbox
) -> None:
    server = serving(serve, wechat_of_three, app_of(SHOP), app_of(MALL), accounts=("zhangsan",))
    user, request_id = server.new_user(), server.new_request_id()
    answers = [
        server.login(
            app_id=app.app_id,
            code=server.code(user, app.app_id),
            request_id=request_id,
            username="zhangsan",
            password=PASSWORD,
        )
        for app in (SHOP, MALL)
    ]
    assert answers[0].session_id != answers[1].session_id
    for app, other, answer in ((SHOP, MALL, answers[0]), (MALL, SHOP, answers[1])):
        session = server.validate(answer.session_id, app.app_id)
        assert session.app_id == app.app_id
        refusal = refused(server.validate, answer.session_id, other.app_id)
        assert refusal.reason == "SESSION_INVALID"


def test_each_app_has_its_policy(serve: Serve, wechat_of_three: RunningSandbox) -> None:
    """One account for several WeChat users here, for one there; an unbound user likewise."""
    server = serving(
        serve,
        wechat_of_three,
        app_of(SHOP),
        app_of(MALL, several_users_per_account=True),
        app_of(BANK, unbound="register"),
        accounts=("zhangsan",),
    )
    one, other = server.new_user(), server.new_user()
    log_in(server, SHOP, one, "zhangsan")
    log_in(server, MALL, one, "zhangsan")
    assert refused_login(server, SHOP, other, "zhangsan") == "ACCOUNT_ALREADY_BOUND"
    assert log_in(server, MALL, other, "zhangsan").bound_now
    third = server.new_user()
    assert refused_login(server, SHOP, third) == "BINDING_REQUIRED"
    assert refused_login(server, MALL, third) == "BINDING_REQUIRED"
    assert log_in(server, BANK, third).bound_now


def test_each_app_has_its_limits(
    serve: Serve, wechat_of_three: RunningSandbox, clock: FakeClock
) -> None:
    server = serving(
        serve,
        wechat_of_three,
        app_of(SHOP, session_idle_s=60, session_limit=1),
        app_of(MALL, session_idle_s=600, session_absolute_s=900, session_limit=2),
        accounts=("zhangsan",),
    )
    user = server.new_user()
    sessions = {
        app.app_id: [
            log_in(server, app, user, "zhangsan").session_id,
            log_in(server, app, user).session_id,
        ]
        for app in (SHOP, MALL)
    }
    replaced = refused(lambda: server.validate(sessions[SHOP.app_id][0]))
    assert replaced.metadata == {"cause": "REPLACED"}
    for session_id in sessions[MALL.app_id]:
        server.validate(session_id)
    clock.ms += 60_000
    expired = refused(lambda: server.validate(sessions[SHOP.app_id][1]))
    assert (expired.reason, expired.metadata) == ("SESSION_EXPIRED", {"limit": "idle"})
    live = server.validate(sessions[MALL.app_id][1])
    assert live.absolute_expire_time.ToMilliseconds() == clock.ms + 840_000


def test_unbind_is_of_one_app(family: RunningServer) -> None:
    user = family.new_user()
    in_shop, in_mall = (log_in(family, app, user, "zhangsan") for app in (SHOP, MALL))
    unbind(family, SHOP, user, in_shop.session_id)
    assert refused(lambda: family.validate(in_shop.session_id)).metadata == {"cause": "UNBOUND"}
    family.validate(in_mall.session_id)
    assert family.rows("SELECT app_id FROM bindings") == [(MALL.app_id,)]


def test_a_code_of_another_app_is_no_proof(family: RunningServer) -> None:
    """Not even of the same person's."""
    user = family.new_user()
    in_shop = log_in(family, SHOP, user, "zhangsan")
    code = family.code(user, MALL.app_id)
    request = UnbindRequest(session_id=in_shop.session_id, code=code)
    refusal = refused(lambda: family.stub.Unbind(request, timeout=10))
    assert refusal.reason == "CODE_INVALID"
    family.validate(in_shop.session_id)


# --- Sibling login -------------------------------------------------------------


def test_who_is_known_in_a_sibling_is_known_here(family: RunningServer) -> None:
    """A real binding is written; from then on it is a login like any other."""
    user = family.new_user()
    in_shop = family.validate(log_in(family, SHOP, user, "zhangsan").session_id)
    first = log_in(family, MALL, user)
    assert first.bound_now
    session = family.validate(first.session_id)
    assert (session.account.id, session.app_id) == ("id-zhangsan", MALL.app_id)
    assert session.openid != in_shop.openid
    assert session.unionid == in_shop.unionid != ""
    assert not log_in(family, MALL, user).bound_now
    assert family.rows("SELECT COUNT(*) FROM bindings WHERE account_id = 'id-zhangsan'") == [(2,)]
    events = [event for event, _ in family.events()]
    assert events == ["BOUND", "LOGIN", "BOUND", "LOGIN", "LOGIN"]


def test_a_sibling_login_that_is_sent_again(family: RunningServer) -> None:
    user = family.new_user()
    log_in(family, SHOP, user, "zhangsan")
    request = {
        "app_id": MALL.app_id,
        "code": family.code(user, MALL.app_id),
        "request_id": family.new_request_id(),
    }
    first = family.login(**request)
    assert first.bound_now
    assert family.login(**request) == first


def test_another_person_is_not_known(family: RunningServer) -> None:
    log_in(family, SHOP, family.new_user(), "zhangsan")
    assert refused_login(family, MALL, family.new_user()) == "BINDING_REQUIRED"


@pytest.mark.parametrize(
    ("shop", "mall"),
    [("", ""), ("co", ""), ("", "co"), ("co", "other"), ("co", "CO")],
    ids=["off", "one-side", "other-side", "other-platform", "other-case"],
)
def test_only_apps_of_the_same_platform_are_siblings(
    serve: Serve, wechat_of_three: RunningSandbox, shop: str, mall: str
) -> None:
    """By the operator's word alone: WeChat sends the same unionid in all of these."""
    server = serving(
        serve,
        wechat_of_three,
        app_of(SHOP, open_platform=shop),
        app_of(MALL, open_platform=mall),
        accounts=("zhangsan",),
    )
    user = server.new_user()
    in_shop = server.validate(log_in(server, SHOP, user, "zhangsan").session_id)
    assert in_shop.unionid
    assert refused_login(server, MALL, user) == "BINDING_REQUIRED"


def test_a_foreign_app_beside_siblings(serve: Serve, wechat_of_three: RunningSandbox) -> None:
    """BANK sees the same unionid, and what it knows is nothing to SHOP and MALL."""
    server = serving(
        serve,
        wechat_of_three,
        app_of(SHOP, open_platform="co"),
        app_of(MALL, open_platform="co"),
        app_of(BANK, open_platform="other"),
        accounts=("zhangsan", "lisi"),
    )
    user = server.new_user()
    log_in(server, BANK, user, "zhangsan")
    assert refused_login(server, SHOP, user) == "BINDING_REQUIRED"
    log_in(server, MALL, user, "lisi")
    assert log_in(server, SHOP, user).account.id == "id-lisi"
    assert log_in(server, BANK, user).account.id == "id-zhangsan"


def test_without_a_unionid_nobody_is_known(serve: Serve) -> None:
    """The operator says siblings, WeChat knows nothing of it."""
    lone = [SandboxApp(app.app_id, app.secret) for app in (SHOP, MALL)]
    with running_sandbox(lone) as wechat:
        server = serving(
            serve,
            wechat,
            *(app_of(app, open_platform="co") for app in lone),
            accounts=("zhangsan",),
        )
        user = server.new_user()
        log_in(server, SHOP, user, "zhangsan")
        assert refused_login(server, MALL, user) == "BINDING_REQUIRED"


def test_a_unionid_that_appears_later(serve: Serve) -> None:
    """It is filled in on the binding and on the live sessions, and then siblings know it."""
    lone = [SandboxApp(app.app_id, app.secret) for app in (SHOP, MALL)]
    with running_sandbox(lone) as wechat:
        server = serving(
            serve,
            wechat,
            *(app_of(app, open_platform="co") for app in lone),
            accounts=("zhangsan",),
        )
        user = server.new_user()
        before = log_in(server, SHOP, user, "zhangsan")
        # Not asked for: its answer would be in memory for five minutes.
        assert server.rows("SELECT unionid FROM sessions") == [(None,)]
        for app in lone:
            wechat.move_to_platform(app.app_id, "company")
        # Known in SHOP, but with which unionid is known only when they come again.
        assert refused_login(server, MALL, user) == "BINDING_REQUIRED"
        unionid = server.validate(log_in(server, SHOP, user).session_id).unionid
        assert unionid
        assert server.validate(before.session_id).unionid == unionid
        assert server.rows("SELECT unionid FROM bindings") == [(unionid,)]
        assert log_in(server, MALL, user).bound_now


def test_an_account_that_is_taken_here(family: RunningServer) -> None:
    """One-to-one: the sibling's account is not free in this app."""
    mine, theirs = family.new_user(), family.new_user()
    log_in(family, MALL, theirs, "zhangsan")
    log_in(family, SHOP, mine, "zhangsan")
    assert refused_login(family, MALL, mine) == "BINDING_REQUIRED"


def test_an_account_for_several_users_is_always_free(
    serve: Serve, wechat_of_three: RunningSandbox
) -> None:
    server = serving(
        serve,
        wechat_of_three,
        app_of(SHOP, open_platform="co"),
        app_of(MALL, open_platform="co", several_users_per_account=True),
        accounts=("zhangsan",),
    )
    mine, theirs = server.new_user(), server.new_user()
    log_in(server, MALL, theirs, "zhangsan")
    log_in(server, SHOP, mine, "zhangsan")
    assert log_in(server, MALL, mine).bound_now


def test_two_accounts_in_the_siblings_are_one_too_many(family: RunningServer) -> None:
    user = family.new_user()
    log_in(family, SHOP, user, "zhangsan")
    log_in(family, MALL, user, "lisi")
    assert refused_login(family, BANK, user) == "BINDING_REQUIRED"


def test_the_same_account_in_two_siblings_is_one(family: RunningServer) -> None:
    user = family.new_user()
    log_in(family, SHOP, user, "zhangsan")
    log_in(family, MALL, user)
    assert log_in(family, BANK, user).bound_now


def test_a_disabled_account_does_not_count(family: RunningServer) -> None:
    """Alone it lets nobody in, and beside another one it is not in the way."""
    user = family.new_user()
    log_in(family, SHOP, user, "zhangsan")
    family.accounts.disable("id-zhangsan")
    assert refused_login(family, BANK, user) == "BINDING_REQUIRED"
    log_in(family, MALL, user, "lisi")
    answer = log_in(family, BANK, user)
    assert answer.account.id == "id-lisi"


def test_an_account_that_is_not_free_does_not_count(family: RunningServer) -> None:
    user, other = family.new_user(), family.new_user()
    log_in(family, BANK, other, "zhangsan")
    log_in(family, SHOP, user, "zhangsan")
    log_in(family, MALL, user, "lisi")
    assert log_in(family, BANK, user).account.id == "id-lisi"


def test_who_has_left_needs_a_password_to_come_back(family: RunningServer) -> None:
    """Else Unbind would be undone by the next silent login."""
    user = family.new_user()
    log_in(family, SHOP, user, "zhangsan")
    for _ in range(2):
        in_mall = log_in(family, MALL, user)
        assert in_mall.bound_now
        unbind(family, MALL, user, in_mall.session_id)
        assert refused_login(family, MALL, user) == "BINDING_REQUIRED"
        assert not log_in(family, SHOP, user).bound_now, "the sibling is not concerned"
        again = log_in(family, MALL, user, "zhangsan")
        assert again.bound_now
        # That has cleared the mark, so a binding that ends otherwise comes back.
        family.store.write(
            lambda tx: tx.execute("DELETE FROM bindings WHERE app_id = :app", {"app": MALL.app_id})
        )


def test_a_refused_password_does_not_clear_the_mark(family: RunningServer) -> None:
    user = family.new_user()
    log_in(family, SHOP, user, "zhangsan")
    unbind(family, MALL, user, log_in(family, MALL, user).session_id)
    code = family.code(user, MALL.app_id)
    refusal = refused(
        lambda: family.login(
            app_id=MALL.app_id, code=code, username="zhangsan", password="not it at all"
        )
    )
    assert refusal.reason == "CREDENTIALS_INVALID"
    assert refused_login(family, MALL, user) == "BINDING_REQUIRED"
