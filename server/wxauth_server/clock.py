"""The wall clock as a constructor argument, so that tests can set it.

Times are stored and compared as whole milliseconds since 1970 in UTC: integers
compare alike in every engine.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time in milliseconds since 1970-01-01T00:00:00Z."""

    def now_ms(self) -> int: ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000
