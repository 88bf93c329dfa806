"""The wall clock as a constructor argument, so that tests can set it, and how times are written.

Times are stored and compared as whole milliseconds since 1970 in UTC: integers
compare alike in every engine.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


class Clock(Protocol):
    """Tells the time in milliseconds since 1970-01-01T00:00:00Z."""

    def now_ms(self) -> int: ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


def iso(time_ms: int | None) -> str | None:
    """Milliseconds since 1970 as 2026-03-01T12:00:00.250Z; None for none."""
    if time_ms is None:
        return None
    moment = EPOCH + time_ms * MILLISECOND
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
