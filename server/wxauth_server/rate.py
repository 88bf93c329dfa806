"""A steady rate, kept in memory."""

from __future__ import annotations

import math


class SteadyRate:
    """Lets so many pass in a period, evenly, or all of them at once after a pause (GCRA).

    For one thread; under a microsecond each. Times are seconds of a monotonic clock.
    """

    __slots__ = ("_due_s", "_interval_s", "_tolerance_s")

    def __init__(self, most: int, period_s: float) -> None:
        self._interval_s = period_s / most
        # A period's worth at once but for the first; the rest is for rounding.
        self._tolerance_s = period_s - self._interval_s + 1e-6
        # When the next would be due if they came evenly; one may come so much earlier.
        self._due_s = -math.inf

    def wait_s(self, now_s: float) -> float:
        """How long whoever comes now has to wait; 0 if they may pass."""
        return max(self._due_s - now_s - self._tolerance_s, 0.0)

    def count(self, now_s: float) -> None:
        """One passes."""
        self._due_s = max(self._due_s, now_s) + self._interval_s
