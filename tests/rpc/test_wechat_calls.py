"""GetPhoneNumber, CheckSessionKey and ResetSessionKey over a socket: those that ask WeChat."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc
import pytest

from tests.rpc.conftest import Serve
from tests.rpc.mini_program import CHECK, PATHS, RESET, Phone, asking
from tests.running_server import refused
from tests.sandbox_server import RunningSandbox
from wxauth_server.config import DEMO_APP_ID

# --- GetPhoneNumber ------------------------------------------------------------


@pytest.mark.parametrize(("country", "e164"), [("86", "+8613912345678"), ("852", "+85291234567")])
def test_the_phone_number(phone: Phone, country: str, e164: str) -> None:
    national = e164.removeprefix(f"+{country}")
    code = phone.server.sandbox.phone_code(
        DEMO_APP_ID, phone.user, phone=national, countryCode=country
    )
    answer = phone.phone_number(code)
    assert (answer.phone_number, answer.country_code, answer.national_number) == (
        e164,
        country,
        national,
    )
    assert refused(lambda: phone.phone_number(code)).reason == "CODE_USED"


def test_the_phone_number_needs_no_session_key(phone: Phone) -> None:
    phone.server.store.write(lambda tx: tx.execute("UPDATE bindings SET session_key = NULL"))
    phone.phone_number(phone.server.phone_code(phone.user, "13912345678"))


def test_a_phone_code_that_wechat_does_not_know(phone: Phone) -> None:
    refusal = refused(lambda: phone.phone_number("0" * 64))
    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
    assert (refusal.reason, refusal.metadata) == ("CODE_INVALID", {})


@pytest.mark.parametrize(
    ("code", "problem"),
    [("", "required"), ("a" * 129, "longer than 128 bytes"), ("\0", "contains NUL")],
)
def test_not_a_phone_code(phone: Phone, code: str, problem: str) -> None:
    refusal = refused(lambda: phone.phone_number(code))
    assert (refusal.reason, refusal.violations) == ("REQUEST_INVALID", {"code": problem})


def test_a_login_code_for_the_phone_code(phone: Phone) -> None:
    """Refused by its shape: it stays good for the login that it was meant for."""
    code = phone.server.code(phone.user)
    refusal = refused(lambda: phone.phone_number(code))
    assert refusal.violations == {
        "code": "a code of wx.login: the phone number button gives another one"
    }
    phone.server.login(code=code)


# --- CheckSessionKey and ResetSessionKey ----------------------------------------


def test_check(phone: Phone) -> None:
    phone.check()
    phone.check()
    assert phone.calls(CHECK) == 2


def test_check_after_wechat_has_ended_it(phone: Phone) -> None:
    """The session is good all the same, and a login heals."""
    assert phone.server.sandbox.expire_session_key(DEMO_APP_ID, phone.user)
    for call in (phone.check, phone.reset):
        refusal = refused(call)
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refusal.reason == "SESSION_KEY_INVALID"
    phone.server.validate(phone.session_id)
    phone.log_in()
    phone.check()


def test_check_after_a_login_elsewhere(phone: Phone) -> None:
    phone.log_in_elsewhere()
    assert refused(phone.check).reason == "SESSION_KEY_INVALID"
    assert refused(phone.reset).reason == "SESSION_KEY_INVALID"
    phone.log_in()
    phone.check()


def test_reset(phone: Phone) -> None:
    """What was given before no longer opens, what is given after does; sessions go on."""
    before = phone.got()
    phone.decrypt(before)
    phone.reset()
    refusal = refused(lambda: phone.decrypt(before))
    assert (refusal.reason, refusal.metadata) == ("USER_DATA_INVALID", {})
    assert refused(lambda: phone.verify(before["rawData"], before["signature"])).reason == (
        "USER_DATA_INVALID"
    )
    after = phone.got()
    phone.decrypt(after)
    phone.verify(after["rawData"], after["signature"])
    phone.check()
    session = phone.server.validate(phone.session_id)
    assert phone.server.rows(
        "SELECT event, openid, session_handle FROM audit_events ORDER BY id DESC LIMIT 1"
    ) == [("SESSION_KEY_RESET", session.openid, session.session_handle)]


def test_reset_again_and_again(phone: Phone) -> None:
    for _ in range(3):
        phone.reset()
        phone.decrypt(phone.got())


@pytest.mark.parametrize("method", ["decrypt", "verify", "check", "reset"])
def test_without_a_session_key(phone: Phone, method: str) -> None:
    """As after a password change elsewhere and before the next login; WeChat is not asked."""
    got = phone.got()
    phone.server.store.write(
        lambda tx: tx.execute("UPDATE bindings SET session_key = NULL, session_key_id = NULL")
    )
    calls: dict[str, Callable[[], object]] = {
        "decrypt": lambda: phone.decrypt(got),
        "verify": lambda: phone.verify(got["rawData"], got["signature"]),
        "check": phone.check,
        "reset": phone.reset,
    }
    refusal = refused(calls[method])
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "SESSION_KEY_INVALID"
    assert phone.calls(CHECK) + phone.calls(RESET) == 0
    phone.log_in()
    phone.decrypt(phone.got())


# --- What WeChat answers, for each that asks it ----------------------------------


@pytest.mark.parametrize("method", PATHS)
@pytest.mark.parametrize(
    ("errcode", "code", "reason", "waits"),
    [
        (45011, grpc.StatusCode.RESOURCE_EXHAUSTED, "WECHAT_RATE_LIMITED", True),
        (48001, grpc.StatusCode.INTERNAL, "WECHAT_MISCONFIGURED", False),
        (12345, grpc.StatusCode.UNAVAILABLE, "WECHAT_UNAVAILABLE", True),
    ],
)
def test_wechat_refuses(
    phone: Phone,
    method: str,
    errcode: int,
    code: grpc.StatusCode,
    reason: str,
    waits: bool,
) -> None:
    """Said as it is, and the session goes on."""
    call = asking(phone, method)
    phone.server.sandbox.next_calls(PATHS[method], errcode=errcode)
    refusal = refused(call)
    assert (refusal.code, refusal.reason) == (code, reason)
    assert (refusal.retry_after_s is not None) is waits
    phone.server.validate(phone.session_id)
    call()


@pytest.mark.parametrize("method", PATHS)
def test_a_token_that_wechat_has_revoked(phone: Phone, method: str) -> None:
    """Replaced once, and nobody notices."""
    phone.check()
    assert phone.server.sandbox.revoke_access_tokens(DEMO_APP_ID)
    asking(phone, method)()


@pytest.mark.parametrize("method", PATHS)
def test_wechat_does_not_answer(
    serve: Serve, own_clock_sandbox: tuple[RunningSandbox, list[float]], method: str
) -> None:
    """Within 3 s, while logins and validations have threads of their own (row 11)."""
    wechat, _ = own_clock_sandbox
    server = serve(wechat=wechat)
    user = server.bound()
    phone = Phone(server, user, server.login(code=server.code(user)).session_id)
    phone.check()
    call = asking(phone, method)
    wechat.slow(60_000)
    began = time.monotonic()
    refusal = refused(call)
    assert time.monotonic() - began < 3
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.UNAVAILABLE,
        "WECHAT_UNAVAILABLE",
    )
    server.validate(phone.session_id)
    # A caller who has less time does not wait longer than that.
    began = time.monotonic()
    assert refused(asking(phone, method, timeout=0.2)).code in {
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNAVAILABLE,
    }
    assert time.monotonic() - began < 1
    wechat.slow(0)
