"""The clock of this machine, against other clocks and against what it wrote down before."""

from __future__ import annotations

import email.utils
from collections.abc import Iterator

from wxauth_server.doctor.database_state import database_state
from wxauth_server.doctor.findings import (
    Check,
    Finding,
    Installation,
    ok,
    problem,
    skipped,
    warning,
)
from wxauth_server.store.inspection import InspectionFailed
from wxauth_server.store.interface import Transaction

#: Off by more, user data is refused by its watermark (wechat.user_data_max_age_s begins at
#: 10 s), and sessions and certificates end at another time than they say.
MOST_OFF_S = 60
#: A clock that something keeps right is never off by so much.
NOTABLY_OFF_S = 5

_SET_IT = "let chronyd, systemd-timesyncd or the hypervisor keep the clock: timedatectl status"


def check_clock(installation: Installation) -> Iterator[Finding]:
    try:
        with database_state(installation) as state:
            newest_ms = _newest_ms(state)
            if installation.configuration.store.is_postgresql:
                yield _against_server(installation, state)
    except InspectionFailed:
        yield skipped(Check.CLOCK_DATABASE, "there is no database that can be read")
        return
    ahead_s = (newest_ms - installation.clock.now_ms()) / 1000
    if ahead_s <= NOTABLY_OFF_S:
        yield ok(Check.CLOCK_DATABASE, "no row of the database is from the future")
        return
    say = problem if ahead_s > MOST_OFF_S else warning
    yield say(
        Check.CLOCK_DATABASE,
        f"the newest row of the database is from {_span(ahead_s)} in the future: the clock was "
        "ahead when it was written, or is behind now",
        f"{_SET_IT}; sessions that began in the future live longer by as much: wxauth sessions end",
    )


def compare(before_ms: int, after_ms: int, date: str) -> Finding:
    """What the Date of an answer says of our clock before the question and after the answer."""
    try:
        theirs_ms = round(email.utils.parsedate_to_datetime(date).timestamp() * 1000)
    except ValueError:
        return skipped(Check.CLOCK_WECHAT, "WeChat's answer does not say when it was made")
    # It was made between the two, and says so in whole seconds, cut off.
    ahead_s = max(0, before_ms - (theirs_ms + 1000)) / 1000
    behind_s = max(0, theirs_ms - after_ms) / 1000
    off_s = max(ahead_s, behind_s)
    if off_s <= NOTABLY_OFF_S:
        return ok(Check.CLOCK_WECHAT, "the clock agrees with WeChat's")
    direction = "ahead of" if ahead_s else "behind"
    what = f"the clock is {_span(off_s)} {direction} WeChat's"
    if off_s > MOST_OFF_S:
        return problem(
            Check.CLOCK_WECHAT,
            f"{what}: user data of WeChat's is refused by its watermark, and sessions, tokens of "
            "callers and certificates end at the wrong time",
            _SET_IT,
        )
    return warning(Check.CLOCK_WECHAT, what, _SET_IT)


def _against_server(installation: Installation, state: Transaction) -> Finding:
    """Servers that share a database have to agree on the time; it stands for the others."""
    before_ms = installation.clock.now_ms()
    [(theirs_ms,)] = state.execute("SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint")
    after_ms = installation.clock.now_ms()
    ahead_s = max(0, before_ms - theirs_ms) / 1000
    behind_s = max(0, theirs_ms - after_ms) / 1000
    if max(ahead_s, behind_s) <= NOTABLY_OFF_S:
        return ok(Check.CLOCK_DATABASE, "the clock agrees with the PostgreSQL server's")
    direction = "ahead of" if ahead_s else "behind"
    return problem(
        Check.CLOCK_DATABASE,
        f"the clock is {_span(max(ahead_s, behind_s))} {direction} the PostgreSQL server's: "
        "where several servers share it, sessions and waits end at another time with each",
        f"{_SET_IT}, here and there",
    )


def _newest_ms(state: Transaction) -> int:
    # By an index and by the key: neither looks at every row.
    rows = [
        *state.execute("SELECT MAX(login_at) FROM sessions"),
        *state.execute("SELECT at FROM audit_events ORDER BY id DESC LIMIT 1"),
    ]
    return max((int(newest) for (newest,) in rows if newest is not None), default=0)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3_600:.0f} hours"
