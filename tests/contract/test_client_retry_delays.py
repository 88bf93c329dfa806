"""Whether and when the next attempt is: the decision, without clock and chance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxauth_client import (
    DeadlineExceeded,
    ServerUnreachable,
    StoreUnavailable,
    Throttled,
    WeChatUnavailable,
    WxauthError,
    account_calls,
)
from wxauth_client.errors import OF_THE_CONTRACT
from wxauth_client.retrying import LOGIN, MIN_ATTEMPT_AFTER_S, MIN_ATTEMPT_S, ONCE, next_delay_s

FAILURES = st.builds(
    lambda kind, wait_s: kind("", retry_after_s=wait_s),
    st.sampled_from([*OF_THE_CONTRACT.values(), DeadlineExceeded, ServerUnreachable]),
    st.none() | st.floats(0, 100),
)


@given(st.integers(1, 9), FAILURES, st.floats(-1, 30), st.floats(0, 1))
def test_a_wait_fits_and_is_no_shorter_than_asked(
    attempts: int, failure: WxauthError, left_s: float, chance: float
) -> None:
    delay_s = next_delay_s(LOGIN, attempts, failure, left_s, chance)
    most = LOGIN.after.get(type(failure), 1)
    needed_s = MIN_ATTEMPT_AFTER_S.get(type(failure), MIN_ATTEMPT_S)
    if delay_s is None:
        least_s = max(min(0.1 * 2 ** (attempts - 1), 2), failure.retry_after_s or 0)
        assert attempts >= most or least_s + needed_s > left_s - 1e-9
    else:
        assert attempts < most
        assert delay_s >= (failure.retry_after_s or 0)
        assert delay_s + needed_s <= left_s + 1e-9
    assert next_delay_s(ONCE, attempts, failure, left_s, chance) is None


@pytest.mark.parametrize(
    ("attempts", "wait_s", "chance", "expected"),
    [
        (1, None, 0, 0.1),
        (2, None, 0, 0.2),
        (3, None, 0, 0.4),
        (3, None, 1, 0.6),
        (1, 0.05, 0, 0.1),
        (1, 2, 0, 2),
        (1, 2, 1, 3),
        (4, None, 0, None),
    ],
)
def test_the_delays(
    attempts: int, wait_s: float | None, chance: float, expected: float | None
) -> None:
    failure = WeChatUnavailable(retry_after_s=wait_s)
    assert next_delay_s(LOGIN, attempts, failure, 8, chance) == (
        expected if expected is None else pytest.approx(expected)
    )


@pytest.mark.parametrize("chance", [0, 1])
def test_how_long_a_server_may_be_away(chance: float) -> None:
    """At least 4 s, whatever the chance, and all of it within a login's 8 s."""
    delays = [
        next_delay_s(LOGIN, attempts, ServerUnreachable(), 8, chance) for attempts in range(1, 8)
    ]
    expected = [0.1, 0.2, 0.4, 0.8, 1.6, 2]
    assert delays == [*(pytest.approx(each * (1 + chance / 2)) for each in expected), None]
    assert (
        4
        <= sum(delay for delay in delays if delay)
        <= account_calls.LOGIN_TIMEOUT_S - MIN_ATTEMPT_S
    )


def test_a_delay_that_just_fits() -> None:
    failure = StoreUnavailable(retry_after_s=1)
    assert next_delay_s(LOGIN, 1, failure, 1 + MIN_ATTEMPT_S, 0) == 1
    assert next_delay_s(LOGIN, 1, failure, 1 + MIN_ATTEMPT_S - 0.01, 0) is None


@pytest.mark.parametrize(("left_s", "delay_s"), [(8.0, 1.5), (2.7, 1.2), (2.5, 1.0), (2.4, None)])
def test_chance_takes_no_attempt_away(left_s: float, delay_s: float | None) -> None:
    """It may only lengthen a wait where there is time for it."""
    failure = Throttled(retry_after_s=1)
    assert next_delay_s(LOGIN, 1, failure, left_s, 1) == (
        delay_s if delay_s is None else pytest.approx(delay_s)
    )
    assert (next_delay_s(LOGIN, 1, failure, left_s, 0) is None) == (delay_s is None)
