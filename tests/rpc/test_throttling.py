"""Guessing is held back, and the owner is not (reliability.md rows 17 to 19)."""

from __future__ import annotations

import grpc
import pytest

from tests.canary import CANARY
from tests.rpc.conftest import Serve
from tests.running_server import FakeClock, Refusal, RunningServer, refused
from wxauth.v1.auth_service_pb2 import LoginRequest, UnbindRequest
from wxauth_server.accounts.throttle import NameDigests
from wxauth_server.keyring import load_keyring
from wxauth_server.store.throttles import unlock_name

RIGHT, WRONG = "correct horse battery", "wrong horse battery"
NAME = "zhangsan"


class Guesser:
    """A WeChat user who tries passwords."""

    def __init__(self, server: RunningServer, user: str = "") -> None:
        self.server = server
        self.user = user or server.new_user()

    def guess(self, password: str = WRONG, name: str = NAME) -> Refusal:
        """Try a password that does not let in."""
        return refused(
            lambda: self.server.login(
                code=self.server.code(self.user), username=name, password=password
            )
        )

    def reasons(self, times: int, name: str = NAME) -> list[str]:
        return [self.guess(name=name).reason for _ in range(times)]


@pytest.fixture
def guarded(serve: Serve) -> RunningServer:
    """A server with an account whose password is RIGHT."""
    server = serve()
    server.add_account(NAME, RIGHT)
    return server


def test_five_wrong_passwords_then_waits_that_double(
    guarded: RunningServer, clock: FakeClock
) -> None:
    guesser = Guesser(guarded)
    assert guesser.reasons(5) == ["CREDENTIALS_INVALID"] * 5
    for wait_s in (1.0, 2.0, 4.0, 8.0):
        refusal = guesser.guess()
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (refusal.reason, refusal.retry_after_s) == ("THROTTLED", wait_s)
        # Not even the right one is looked at.
        assert guesser.guess(RIGHT).reason == "THROTTLED"
        clock.ms += round(wait_s * 1000)
        assert guesser.guess().reason == "CREDENTIALS_INVALID"


def test_a_name_that_nobody_has_is_held_back_alike(guarded: RunningServer) -> None:
    known, unknown = Guesser(guarded), Guesser(guarded)
    assert unknown.reasons(6, "nobody") == known.reasons(6)
    assert unknown.guess(name="nobody") == known.guess()
    # However the name is spelt.
    assert unknown.guess(name="Ｎobody") == known.guess(name="ZhangSan")


def test_twenty_wrong_ones_of_a_stranger_do_not_touch_the_owner(
    guarded: RunningServer, clock: FakeClock
) -> None:
    stranger = Guesser(guarded)
    for _ in range(20):
        assert stranger.guess().reason == "CREDENTIALS_INVALID"
        clock.ms += 900_000
    assert guarded.login(
        code=guarded.code(guarded.new_user()), username=NAME, password=RIGHT
    ).bound_now


def test_a_hundred_wrong_ones_put_the_password_out_of_use(guarded: RunningServer) -> None:
    bound = guarded.new_user()
    guarded.login(code=guarded.code(bound), username=NAME, password=RIGHT)
    for _ in range(20):
        assert Guesser(guarded).reasons(5) == ["CREDENTIALS_INVALID"] * 5
    # Whoever tries, the right one is wrong now, and looks so.
    assert Guesser(guarded).guess(RIGHT) == Guesser(guarded).guess("something else")
    assert Guesser(guarded, bound).guess(RIGHT).reason == "CREDENTIALS_INVALID"
    assert [event for event, _ in guarded.events()].count("PASSWORD_LOCKED") == 1
    # The owner, who is bound, needs none.
    assert guarded.login(code=guarded.code(bound)).account.username == NAME

    names = NameDigests(load_keyring(guarded.configuration.keyring_file))
    assert guarded.store.write(lambda tx: unlock_name(tx, names.of("local", NAME)))
    guarded.login(code=guarded.code(bound), username=NAME, password=RIGHT)


def test_one_user_cannot_try_the_password_of_the_year_on_everybody(
    guarded: RunningServer,
) -> None:
    sprayer = Guesser(guarded)
    reasons = [sprayer.guess(name=f"user{number}").reason for number in range(11)]
    assert reasons == ["CREDENTIALS_INVALID"] * 10 + ["THROTTLED"]


def test_the_right_one_in_time_is_all_it_takes(guarded: RunningServer) -> None:
    owner = Guesser(guarded)
    for _ in range(3):
        assert owner.reasons(3) == ["CREDENTIALS_INVALID"] * 3
        guarded.login(code=guarded.code(owner.user), username=NAME, password=RIGHT)
    assert guarded.rows("SELECT failures FROM throttles WHERE name <> x'' AND failures > 0") == []


def test_unbinding_with_a_password_counts_as_the_same_guessing(guarded: RunningServer) -> None:
    owner = Guesser(guarded)
    session = guarded.login(code=guarded.code(owner.user), username=NAME, password=RIGHT).session_id

    def unbind(password: str) -> Refusal:
        request = UnbindRequest(session_id=session, password=password)
        return refused(lambda: guarded.stub.Unbind(request, timeout=10))

    assert [unbind(WRONG).reason for _ in range(5)] == ["PROOF_INVALID"] * 5
    refusal = unbind(RIGHT)
    assert (refusal.reason, refusal.retry_after_s) == ("THROTTLED", 1.0)
    assert owner.guess(RIGHT).reason == "THROTTLED"
    # A code is proof too, and no guess.
    guarded.stub.Unbind(UnbindRequest(session_id=session, code=guarded.code(owner.user)))
    assert ("THROTTLED", "PASSWORD") in flushed(guarded)


def test_with_a_request_id_a_login_goes_on_after_the_wait(
    guarded: RunningServer, clock: FakeClock
) -> None:
    owner = Guesser(guarded)
    owner.reasons(5)
    fields = {
        "code": guarded.code(owner.user),
        "username": NAME,
        "password": RIGHT,
        "request_id": guarded.new_request_id(),
    }
    assert refused(lambda: guarded.login(**fields)).reason == "THROTTLED"
    clock.ms += 1000
    assert guarded.login(**fields).bound_now
    asked = guarded.sandbox.calls(path="/sns/jscode2session", user=owner.user)
    assert len(asked) == 6


def test_waits_are_no_rows_of_their_own(guarded: RunningServer) -> None:
    guesser = Guesser(guarded)
    guesser.reasons(25)
    events = flushed(guarded)
    assert events.count(("LOGIN_REFUSED", "CREDENTIALS_INVALID")) == 5
    assert events.count(("THROTTLED", "PASSWORD")) == 1
    [(count,)] = guarded.rows("SELECT count FROM audit_events WHERE event = 'THROTTLED'")
    assert count == 20


def test_an_address_has_a_limit_before_any_code_is_spent(serve: Serve) -> None:
    server = serve(tables={"throttle": {"logins_per_minute_of_address": 3}})
    user = server.bound()
    before = len(server.sandbox.calls(path="/sns/jscode2session", user=user))
    client = {"address": "8.8.4.4"}
    for _ in range(3):
        server.login(code=server.code(user), client=client)
    refusal = refused(lambda: server.login(code=server.code(user), client=client))
    assert refusal.reason == "THROTTLED"
    assert refusal.retry_after_s is not None
    assert 0 < refusal.retry_after_s <= 20
    assert len(server.sandbox.calls(path="/sns/jscode2session", user=user)) == before + 3
    server.login(code=server.code(user), client={"address": "8.8.4.5"})
    assert ("THROTTLED", "ADDRESS") in flushed(server)


def test_all_together_have_a_limit(serve: Serve) -> None:
    server = serve(tables={"throttle": {"logins_per_s": 1}})
    user = server.new_user()
    codes = iter([server.code(user) for _ in range(8)])
    reasons = {refused(lambda: server.login(code=next(codes))).reason for _ in range(8)}
    assert reasons == {"BINDING_REQUIRED", "THROTTLED"}
    assert ("THROTTLED", "ALL") in flushed(server)


def test_invented_codes_take_no_place_from_those_who_have_one(guarded: RunningServer) -> None:
    """While WeChat is slow to refuse them, who has a code and a password logs in."""
    code = guarded.code(guarded.new_user())
    guarded.sandbox.slow(700)
    try:
        invented = [
            guarded.stub.Login.future(
                LoginRequest(code=f"invented{number}", username=NAME, password=WRONG), timeout=10
            )
            for number in range(15)
        ]
        login = guarded.stub.Login.future(
            LoginRequest(code=code, username=NAME, password=RIGHT), timeout=10
        )
        assert {refused(call.result).reason for call in invented} == {"CODE_INVALID"}
        assert CANARY.keep(login.result().session_id)
    finally:
        guarded.sandbox.slow(0)


def flushed(server: RunningServer) -> list[tuple[str, str | None]]:
    """The audit log, with what is counted."""
    server.flush_refusals()
    return server.events()
