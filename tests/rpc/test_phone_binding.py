"""`bind_by_phone`: a number that WeChat confirms stands for the password of one account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from tests.rpc.busy_server import held_writer, wait_until
from tests.rpc.conftest import MALL, SHOP, Serve, app_of
from tests.running_server import FakeClock, RunningServer, refused
from tests.sandbox_server import RunningSandbox
from wxauth.v1.auth_service_pb2 import LoginRequest

PASSWORD = "correct horse battery"
PHONE = "13912345678"
E164 = f"+86{PHONE}"
PHONE_PATH = "/wxa/business/getuserphonenumber"


@pytest.fixture
def server(serve: Serve) -> RunningServer:
    return serve(bind_by_phone=True)


def asked(server: RunningServer, user: str) -> int:
    """How often WeChat was asked about a phone code of this user."""
    return len(server.sandbox.calls(path=PHONE_PATH, user=user))


def request_of(server: RunningServer, user: str, phone: str = PHONE) -> dict[str, Any]:
    return {"code": server.code(user), "phone_code": server.phone_code(user, phone)}


def test_the_one_account_with_the_number(server: RunningServer) -> None:
    server.add_account("zhangsan", PASSWORD, phone=E164, phone_verified=True)
    server.add_account("lisi", PASSWORD, phone="+8613900000000", phone_verified=True)
    user = server.new_user()
    answer = server.login(**request_of(server, user))
    assert answer.bound_now
    assert answer.account.id == "id-zhangsan"
    assert server.events() == [("BOUND", None), ("LOGIN", None)]
    assert server.login(code=server.code(user)).account.id == "id-zhangsan"


def test_the_country_code_counts(server: RunningServer) -> None:
    """The same digits in another country are another number."""
    server.add_account("zhangsan", PASSWORD, phone=E164, phone_verified=True)
    user = server.new_user()
    abroad = server.sandbox.phone_code(
        server.configuration.apps[0].app_id, user, phone=PHONE, countryCode="852"
    )
    refusal = refused(lambda: server.login(code=server.code(user), phone_code=abroad))
    assert refusal.reason == "BINDING_REQUIRED"


def nobody(server: RunningServer) -> None:
    server.add_account("zhangsan", PASSWORD, phone="+8613900000000", phone_verified=True)


def two(server: RunningServer) -> None:
    for username in ("zhangsan", "lisi"):
        server.add_account(username, PASSWORD, phone=E164, phone_verified=True)


def one_of_two_disabled(server: RunningServer) -> None:
    """Who of them has the number now? A number that was given anew looks just so."""
    two(server)
    server.accounts.disable("id-zhangsan")


def unverified(server: RunningServer) -> None:
    server.add_account("zhangsan", PASSWORD, phone=E164, phone_verified=False)


def disabled(server: RunningServer) -> None:
    server.add_account("zhangsan", PASSWORD, phone=E164, phone_verified=True)
    server.accounts.disable("id-zhangsan")


def bound_elsewhere(server: RunningServer) -> None:
    server.add_account("zhangsan", PASSWORD, phone=E164, phone_verified=True)
    code = server.code(server.new_user())
    server.login(code=code, username="zhangsan", password=PASSWORD)


@pytest.mark.parametrize(
    "case", [nobody, two, one_of_two_disabled, unverified, disabled, bound_elsewhere]
)
def test_not_exactly_one_account_that_is_free(
    server: RunningServer, case: Callable[[RunningServer], None]
) -> None:
    """BINDING_REQUIRED alike, so that nobody learns which numbers have an account."""
    case(server)
    bindings = server.rows("SELECT * FROM bindings")
    user = server.new_user()
    request = request_of(server, user) | {"request_id": server.new_request_id()}
    refusal = refused(lambda: server.login(**request))
    assert (refusal.code, refusal.reason, refusal.metadata) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "BINDING_REQUIRED",
        {},
    )
    assert server.rows("SELECT * FROM bindings") == bindings
    assert refused(lambda: server.login(**request)).reason == "CODE_USED"
    assert asked(server, user) == 1


def test_an_account_for_several_users_may_be_bound_elsewhere(serve: Serve) -> None:
    server = serve(bind_by_phone=True, several_users_per_account=True)
    bound_elsewhere(server)
    answer = server.login(**request_of(server, server.new_user()))
    assert answer.account.id == "id-zhangsan"


def test_who_is_bound_spends_no_phone_code(server: RunningServer) -> None:
    """It stays good for another login, or for GetPhoneNumber."""
    server.add_account("zhangsan", PASSWORD)
    user = server.new_user()
    server.login(code=server.code(user), username="zhangsan", password=PASSWORD)
    answer = server.login(**request_of(server, user))
    assert not answer.bound_now
    assert asked(server, user) == 0


def test_the_same_request_again(server: RunningServer) -> None:
    server.add_account("zhangsan", PASSWORD, phone=E164, phone_verified=True)
    user = server.new_user()
    request = request_of(server, user) | {"request_id": server.new_request_id()}
    first = server.login(**request)
    assert first.bound_now
    assert server.login(**request) == first
    assert asked(server, user) == 1


def test_without_the_setting_it_is_refused_and_nothing_is_spent(timed: RunningServer) -> None:
    user = timed.new_user()
    request = request_of(timed, user)
    refusal = refused(lambda: timed.login(**request))
    assert (refusal.reason, list(refusal.violations)) == ("REQUEST_INVALID", ["phone_code"])
    assert "bind_by_phone" in refusal.violations["phone_code"]
    timed.add_account("zhangsan", PASSWORD)
    timed.login(code=request["code"], username="zhangsan", password=PASSWORD)


def test_each_app_has_its_setting(serve: Serve, wechat_of_three: RunningSandbox) -> None:
    server = serve(apps=[app_of(SHOP, bind_by_phone=True), app_of(MALL)], wechat=wechat_of_three)
    server.add_account("zhangsan", PASSWORD, phone=E164, phone_verified=True)
    user = server.new_user()
    for app, reason in ((MALL, "REQUEST_INVALID"), (SHOP, "")):
        request = {
            "app_id": app.app_id,
            "code": server.code(user, app.app_id),
            "phone_code": server.phone_code(user, PHONE, app.app_id),
        }
        if reason:
            assert refused(server.login, **request).reason == reason
        else:
            assert server.login(**request).bound_now


def test_a_phone_code_of_another_app(serve: Serve, wechat_of_three: RunningSandbox) -> None:
    server = serve(
        apps=[app_of(SHOP, bind_by_phone=True), app_of(MALL, bind_by_phone=True)],
        wechat=wechat_of_three,
    )
    user = server.new_user()
    request = {
        "app_id": SHOP.app_id,
        "code": server.code(user, SHOP.app_id),
        "phone_code": server.phone_code(user, PHONE, MALL.app_id),
    }
    refusal = refused(lambda: server.login(**request))
    assert (refusal.reason, refusal.metadata) == ("CODE_INVALID", {"field": "phone_code"})


def test_a_login_code_is_no_phone_code(server: RunningServer) -> None:
    """Told apart by its shape, before anything is spent."""
    user = server.new_user()
    code, mistaken = server.code(user), server.code(user)
    refusal = refused(lambda: server.login(code=code, phone_code=mistaken))
    assert refusal.violations == {
        "phone_code": "a code of wx.login: the phone number button gives another one"
    }
    assert server.sandbox.calls(user=user) == []


def test_a_phone_code_is_no_login_code(server: RunningServer) -> None:
    user = server.new_user()
    phone_code = server.phone_code(user, PHONE)
    refusal = refused(lambda: server.login(code=phone_code))
    assert refusal.violations == {
        "code": "a code of the phone number button: wx.login gives another one"
    }


@pytest.mark.parametrize("case", ["used", "unknown"])
def test_a_phone_code_that_wechat_refuses(server: RunningServer, case: str) -> None:
    """A verdict: which of the two codes it was is in the metadata, and both are new next time."""
    server.add_account("zhangsan", PASSWORD, phone=E164, phone_verified=True)
    user = server.new_user()
    phone_code = "0" * 64
    if case == "used":
        phone_code = server.phone_code(user, "13900000000")
        other = server.new_user()
        refused(lambda: server.login(code=server.code(other), phone_code=phone_code))
    request = {
        "code": server.code(user),
        "phone_code": phone_code,
        "request_id": server.new_request_id(),
    }
    refusal = refused(lambda: server.login(**request))
    reason = "CODE_USED" if case == "used" else "CODE_INVALID"
    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
    assert (refusal.reason, refusal.metadata) == (reason, {"field": "phone_code"})
    assert server.events()[-1] == ("LOGIN_REFUSED", reason)
    mended = request | {"phone_code": server.phone_code(user, PHONE)}
    again = refused(lambda: server.login(**mended))
    assert (again.reason, again.metadata) == ("CODE_USED", {}), "the login code is spent too"
    assert server.login(**request_of(server, user)).bound_now


def test_going_on_after_wechat_failed_to_tell_the_number(server: RunningServer) -> None:
    """Not a verdict: the same request goes on, without a second exchange of the login code."""
    server.add_account("zhangsan", PASSWORD, phone=E164, phone_verified=True)
    user = server.new_user()
    request = request_of(server, user) | {"request_id": server.new_request_id()}
    server.sandbox.next_calls(PHONE_PATH, errcode=45011)
    assert refused(lambda: server.login(**request)).reason == "WECHAT_RATE_LIMITED"
    assert server.login(**request).bound_now
    assert len(server.sandbox.calls(path="/sns/jscode2session", user=user)) == 1


def test_going_on_after_the_store_failed_behind_the_phone_code(
    serve: Serve, own_clock_sandbox: tuple[RunningSandbox, list[float]]
) -> None:
    """AuthService.Login: after an UNAVAILABLE the same call goes on where it stopped."""
    wechat, _ = own_clock_sandbox
    server = serve(bind_by_phone=True, wechat=wechat)
    server.add_account("zhangsan", PASSWORD, phone=E164, phone_verified=True)
    user = server.new_user()
    request = request_of(server, user) | {"request_id": server.new_request_id()}
    wechat.slow(300)  # so that the writer can be held before the number comes
    waiting = server.stub.Login.future(LoginRequest(**request), timeout=10)
    wait_until(lambda: asked(server, user) == 1)
    with held_writer(server):
        assert refused(waiting.result).reason == "STORE_UNAVAILABLE"
    assert server.login(**request).bound_now


def test_a_phone_code_that_has_expired(
    serve: Serve, clock: FakeClock, own_clock_sandbox: tuple[RunningSandbox, list[float]]
) -> None:
    """Five minutes after the user pressed the button."""
    wechat, seconds = own_clock_sandbox
    server = serve(bind_by_phone=True, wechat=wechat)
    user = server.new_user()
    phone_code = server.phone_code(user, PHONE)
    seconds[0] += 301
    clock.ms += 301_000
    refusal = refused(lambda: server.login(code=server.code(user), phone_code=phone_code))
    assert (refusal.reason, refusal.metadata) == ("CODE_INVALID", {"field": "phone_code"})
