"""How much time a call has left, for code that knows no transport."""

from __future__ import annotations

import time


class Deadline:
    """A moment on the monotonic clock. Thread-safe; immune to changes of the wall clock."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds left, 0.0 when it has passed."""
        return max(0.0, self._end - time.monotonic())
