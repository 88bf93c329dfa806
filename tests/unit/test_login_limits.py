"""Logins of one address, and of all, before a code is spent."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxauth_server.auth.login_limits import LoginGate, LoginLimits, TooManyFrom, TooManyOfAll

ADDRESS = "8.8.4.4"


class Time:
    """Seconds that stand still until they are moved."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


def passes(gate: LoginGate, address: str = ADDRESS) -> bool:
    try:
        gate.pass_one(address)
    except (TooManyFrom, TooManyOfAll):
        return False
    return True


def test_so_many_at_once_then_one_by_one() -> None:
    time = Time()
    gate = LoginGate(LoginLimits(of_address_per_minute=60), time)
    assert [passes(gate) for _ in range(61)] == [True] * 60 + [False]
    with pytest.raises(TooManyFrom) as refusal:
        gate.pass_one(ADDRESS)
    assert refusal.value.retry_after_s == pytest.approx(1)
    time.s += 0.99
    assert not passes(gate)
    time.s += 0.02
    assert passes(gate)
    assert not passes(gate)


def test_addresses_do_not_share_a_limit() -> None:
    gate = LoginGate(LoginLimits(of_address_per_minute=1), Time())
    assert passes(gate, "8.8.4.4")
    assert passes(gate, "8.8.4.5")
    assert not passes(gate, "8.8.4.4")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2400:cb00:1:2::1", "2400:cb00:1:2:ffff::9", True),
        ("2400:cb00:1:2::1", "2400:cb00:1:3::1", False),
        ("8.8.4.4", "::ffff:8.8.4.4", True),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:
    gate = LoginGate(LoginLimits(of_address_per_minute=1), Time())
    assert passes(gate, one)
    assert passes(gate, other) is not same


@pytest.mark.parametrize("address", ["", "127.0.0.1", "10.1.2.3", "192.168.0.9", "::1", "fd00::1"])
def test_a_proxys_address_is_no_users(address: str) -> None:
    gate = LoginGate(LoginLimits(of_address_per_minute=1), Time())
    assert [passes(gate, address) for _ in range(50)] == [True] * 50


def test_a_private_address_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    gate = LoginGate(LoginLimits(), Time())
    with caplog.at_level(logging.WARNING, "wxauth.auth"):
        for _ in range(3):
            gate.pass_one("10.1.2.3")
    [record] = caplog.records
    assert "gateway.trusted_hops" in record.message


def test_all_together_have_a_limit_and_a_refused_one_counts_for_nobody() -> None:
    time = Time()
    gate = LoginGate(LoginLimits(of_address_per_minute=60, of_all_per_s=10), time)
    passed = sum(passes(gate, f"8.8.{n // 250}.{n % 250}") for n in range(1000))
    assert passed == 10
    with pytest.raises(TooManyOfAll) as refusal:
        gate.pass_one("")
    assert 0 < (refusal.value.retry_after_s or 0) <= 0.1
    time.s += 1
    assert sum(passes(gate, ADDRESS) for _ in range(100)) == 10


@given(st.lists(st.floats(min_value=0, max_value=5), max_size=300))
def test_no_minute_has_more_than_twice_the_limit(pauses: list[float]) -> None:
    """A full burst and a minute of the steady rate are the most."""
    time = Time()
    gate = LoginGate(LoginLimits(of_address_per_minute=20), time)
    passed: list[float] = []
    for pause in pauses:
        time.s += pause
        if passes(gate):
            passed.append(time.s)
    for begin in passed:
        assert sum(begin <= moment <= begin + 60 for moment in passed) <= 40
