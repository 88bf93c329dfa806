"""One clock's time on another, and the sums of docs/decisions/0015."""

from __future__ import annotations

import pytest

from wxauth_client import lease

#: Two clocks, each up to 500 ppm wrong.
APART = 0.001


@pytest.mark.parametrize(
    ("after_s", "now_s", "as_of_s"),
    [
        (3.0, 103.1, 103.0),
        (-0.15, 100.02, 99.85),  # it had read the log before the call came
        (3.0, 106.0, 103.0),  # a proxy held the message
        (3.0, 102.9, 102.9),  # the server's clock went faster
        (75.0, 175.0, 175.0),
        (75.1, 175.0, None),
        (70.0, 175.1, None),  # ours says that the stream is too old
        (2.0, 4000.0, None),  # the process was stopped for an hour
    ],
)
def test_the_servers_time_on_our_clock(after_s: float, now_s: float, as_of_s: float | None) -> None:
    assert lease.StreamCall(100.0).as_of(after_s, now_s) == as_of_s


def test_the_lease_and_what_clocks_add_are_under_a_second() -> None:
    drift_s = lease.OLDEST_STREAM_S * APART
    assert (lease.CLIENT_LEASE_S + drift_s) * (1 + APART) < 1.0
    assert lease.REOPEN_AFTER_S < lease.OLDEST_STREAM_S


def test_who_joins_a_call_hears_nothing_older_than_a_second() -> None:
    assert lease.Fill(10.0).may_be_joined(10.39)
    assert not lease.Fill(10.0).may_be_joined(10.41)
    assert (lease.JOIN_WITHIN_S + lease.SERVER_LEASE_S) * (1 + APART) < 1.0
    # What a server answers itself may come of a call that was joined there.
    assert lease.JOIN_WITHIN_S < lease.SERVER_LEASE_S
    assert lease.SERVER_LEASE_S * (1 + APART) ** 2 < lease.SERVER_LAG_S
