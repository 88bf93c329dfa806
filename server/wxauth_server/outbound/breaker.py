"""A circuit breaker: after some failures in a row, stop asking for a while. No I/O here."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

# Five failed logins in a row are no accident; five seconds spare a server that is down and
# let the first login after its return wait no longer than a user would.
FAILURES_TO_OPEN = 5
OPEN_S = 5.0

# Told to those who come while the probe is under way: it takes no longer than a login does.
_PROBE_RETRY_S = 1.0


class Outcome(enum.Enum):
    """How a call ended, as far as the breaker is concerned."""

    ANSWERED = "answered"
    FAILED = "failed"
    UNKNOWN = "unknown"  # says nothing about the other side


@dataclass(frozen=True, slots=True)
class Admission:
    """`retry_after_s` is None for a call that may go ahead, else seconds to wait."""

    generation: int
    retry_after_s: float | None = None


class CircuitBreaker:
    """Closed, open, or open with one probe on its way. Thread-safe.

    Every call asks `admit` first; if admitted, it must `settle` with the same
    Admission, whatever happened. Calls admitted before the state last changed
    settle without effect: they speak of the past.
    """

    def __init__(
        self,
        *,
        failures_to_open: int = FAILURES_TO_OPEN,
        open_s: float = OPEN_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures_to_open = failures_to_open
        self._open_s = open_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._generation = 0
        self._failures = 0
        self._closed = True
        self._open_until = 0.0
        self._probing = False

    def admit(self) -> Admission:
        """May this call go ahead? Never blocks."""
        with self._lock:
            if self._closed:
                return Admission(self._generation)
            rest_s = self._open_until - self._monotonic()
            if rest_s > 0:
                return Admission(self._generation, retry_after_s=rest_s)
            if self._probing:
                return Admission(self._generation, retry_after_s=_PROBE_RETRY_S)
            self._probing = True
            return Admission(self._generation)

    def settle(self, admission: Admission, outcome: Outcome) -> bool:
        """Note how an admitted call ended; True if that opened the circuit (again)."""
        with self._lock:
            if admission.generation != self._generation:
                return False
            if not self._closed:
                self._probing = False
            if outcome is Outcome.ANSWERED:
                self._answered()
            elif outcome is Outcome.FAILED:
                return self._failed()
            return False

    def _answered(self) -> None:
        self._failures = 0
        if not self._closed:
            self._closed = True
            self._generation += 1

    def _failed(self) -> bool:
        self._failures += 1
        # A failed probe opens at once: the count is still at the limit.
        if self._failures < self._failures_to_open:
            return False
        self._closed = False
        self._open_until = self._monotonic() + self._open_s
        self._generation += 1
        return True
