"""When a session is live, and how long the answer may be reused."""

from __future__ import annotations

import pytest

from wxauth_server.apps import App, SessionLimits
from wxauth_server.auth.validate_session import check_live
from wxauth_server.errors import SessionExpired, SessionRevoked
from wxauth_server.store.sessions import SessionRecord

LOGIN = 1_790_000_000_000
MINUTE = 60_000
IDLE = 60 * MINUTE
ABSOLUTE = 240 * MINUTE


def app(idle_ms: int = IDLE, absolute_ms: int = ABSOLUTE) -> App:
    limits = SessionLimits(idle_ms=idle_ms, absolute_ms=absolute_ms, most_live=10)
    return App("wx1", "secret", "local", limits, several_users_per_account=False)


def record(
    *, last_seen: int = 0, ended_at: int | None = None, cause: str | None = None
) -> SessionRecord:
    """A session; times from its login on."""
    return SessionRecord(
        digest=b"d",
        handle="h",
        app_id="wx1",
        openid="o",
        login_at=LOGIN,
        last_seen_at=LOGIN + last_seen,
        ended_at=None if ended_at is None else LOGIN + ended_at,
        ended_cause=cause,
        account_source="local",
        account_id="1",
        username=None,
        display_name=None,
        unionid=None,
    )


@pytest.mark.parametrize(
    ("last_seen", "now"),
    [
        (0, 0),
        (0, IDLE - 1),
        (5, IDLE + 4),
        (ABSOLUTE - 1, ABSOLUTE - 1),
        (ABSOLUTE - IDLE, ABSOLUTE - 1),
        # The clock went back: no reason to end what is live.
        (0, -1),
        (MINUTE, 0),
    ],
)
def test_live(last_seen: int, now: int) -> None:
    live = check_live(record(last_seen=last_seen), app(), LOGIN + now)
    assert live.idle_end_ms == LOGIN + last_seen + IDLE
    assert live.absolute_end_ms == LOGIN + ABSOLUTE
    assert live.reuse_for_ms > 0


@pytest.mark.parametrize(
    ("last_seen", "now", "limit"),
    [
        (0, IDLE, "idle"),
        (0, IDLE + 1, "idle"),
        (0, 10 * ABSOLUTE, "idle"),
        (5, IDLE + 5, "idle"),
        (ABSOLUTE - IDLE - 1, ABSOLUTE - 1, "idle"),
        # Both at once: the idle one, which use would have moved.
        (ABSOLUTE - IDLE, ABSOLUTE, "idle"),
        (ABSOLUTE - IDLE + 1, ABSOLUTE, "absolute"),
        (ABSOLUTE - 1, ABSOLUTE, "absolute"),
        (ABSOLUTE - 1, 10 * ABSOLUTE, "absolute"),
    ],
)
def test_expired(last_seen: int, now: int, limit: str) -> None:
    with pytest.raises(SessionExpired) as refusal:
        check_live(record(last_seen=last_seen), app(), LOGIN + now)
    assert refusal.value.metadata == {"limit": limit}


@pytest.mark.parametrize("now", [0, 5, IDLE, 10 * ABSOLUTE])
@pytest.mark.parametrize("ended_at", [0, 5, IDLE - 1])
def test_ended_before_it_expired(now: int, ended_at: int) -> None:
    """Its client is told the cause, for as long as the row is there."""
    with pytest.raises(SessionRevoked) as refusal:
        check_live(record(ended_at=ended_at, cause="UNBOUND"), app(), LOGIN + now)
    assert refusal.value.metadata == {"cause": "UNBOUND"}


@pytest.mark.parametrize("ended_at", [IDLE, IDLE + 1, 10 * ABSOLUTE])
def test_ended_after_it_expired(ended_at: int) -> None:
    """It had expired by then, whatever ended all sessions of its user later."""
    with pytest.raises(SessionExpired) as refusal:
        check_live(record(ended_at=ended_at, cause="UNBOUND"), app(), LOGIN + ended_at)
    assert refusal.value.metadata == {"limit": "idle"}


@pytest.mark.parametrize("ended_at", [0, IDLE - 1, IDLE, IDLE + 1, 10 * ABSOLUTE])
@pytest.mark.parametrize("now", [-1, 0, IDLE - 1])
def test_a_clock_that_goes_back_revives_nothing(ended_at: int, now: int) -> None:
    """Row 15: what was ended stays ended, at whatever time the clock was then or is now."""
    with pytest.raises((SessionRevoked, SessionExpired)):
        check_live(record(ended_at=ended_at, cause="UNBOUND"), app(), LOGIN + now)


@pytest.mark.parametrize(
    ("idle", "absolute", "last_seen", "now", "expected"),
    [
        # A tenth of the idle limit.
        (IDLE, ABSOLUTE, 0, 0, 5 * MINUTE),
        (20 * MINUTE, ABSOLUTE, 0, 0, 2 * MINUTE),
        (MINUTE, ABSOLUTE, 0, 0, 6_000),
        # Five minutes at most.
        (10 * IDLE, 20 * IDLE, 0, 0, 5 * MINUTE),
        # What is left of the idle limit.
        (IDLE, ABSOLUTE, 0, IDLE - MINUTE, MINUTE),
        (IDLE, ABSOLUTE, 0, IDLE - 1, 1),
        (IDLE, ABSOLUTE, 7, IDLE - 1, 8),
        # What is left of the absolute limit.
        (IDLE, ABSOLUTE, ABSOLUTE - 10, ABSOLUTE - MINUTE, MINUTE),
        (IDLE, ABSOLUTE, ABSOLUTE - 10, ABSOLUTE - 1, 1),
        (IDLE, IDLE, 0, IDLE - 2, 2),
    ],
)
def test_how_long_an_answer_may_be_reused(
    idle: int, absolute: int, last_seen: int, now: int, expected: int
) -> None:
    """The least of the four (design.md section 3)."""
    live = check_live(record(last_seen=last_seen), app(idle, absolute), LOGIN + now)
    assert live.reuse_for_ms == expected


@pytest.mark.parametrize("idle_s", [60, 600, 3_000, 86_400, 365 * 86_400])
def test_reuse_and_write_interval_stay_below_half_the_idle_limit(idle_s: int) -> None:
    """Or a session in use could expire (design.md section 5); 5 s for flush and transport."""
    limits = app(idle_s * 1000, idle_s * 1000).limits
    assert 2 * limits.touch_after_ms + 5_000 < idle_s * 1000 / 2
