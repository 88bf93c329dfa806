"""Which mischief is done to which call: a function of the seed, nothing else.

The n-th call of a path suffers what hash(seed, path, n, knob) says. So one
interface's calls do not change another's fate, and turning one knob does not
change what the others do.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections import defaultdict, deque
from dataclasses import dataclass

from wechat_sandbox.mischief import Mischief

_log = logging.getLogger(__name__)

#: Faults that come instead of an answer, nothing done. The first one drawn is done.
BEFORE = ("cut_before", "busy", "html_502")
#: Faults that come instead of the answer to what was done. The same.
AFTER = ("cut_after", "busy_after", "empty", "truncated", "garbage")


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one call.

    `fault` is one of BEFORE or AFTER, or "errcode" with an `errcode` instead of
    an answer, nothing done. `detail`, from 0 to below 1, is where a body is
    truncated, how a connection is cut and which garbage is sent.
    """

    fault: str | None = None
    errcode: int = -1
    delay_s: float = 0
    revokes_token: bool = False
    legacy_errmsg: bool = False
    names_errcode_0: bool = False
    detail: float = 0.5


class MischiefMaker:
    """The knobs as they are now, and how far the sequence has come. For one event loop."""

    def __init__(self, knobs: Mischief) -> None:
        self._ordered: defaultdict[str, deque[Fate]] = defaultdict(deque)  # never empty ones
        self.set(knobs)

    def set(self, knobs: Mischief) -> None:
        """Turn all knobs and begin the sequence of the seed; without one, of a new seed."""
        if knobs.seed is None:
            self.seed = secrets.randbelow(2**32)
        else:
            self.seed = knobs.seed
        self._calls: defaultdict[str, int] = defaultdict(int)  # by path
        self._turn(knobs)

    def adjust(self, knobs: Mischief) -> None:
        """Turn knobs and go on where the sequence is."""
        self._turn(knobs)

    def order(self, path: str, fate: Fate, times: int) -> None:
        """Do this to the next calls of the path; the sequence waits for them. None with 0."""
        self._ordered.pop(path, None)
        if not times:
            self._turn(self.knobs)
            return
        self._ordered[path].extend([fate] * times)
        self.is_on = True

    def announce(self) -> None:
        """Log what is on, with the seed that repeats it."""
        changed = self.knobs.changed()
        if changed:
            told = ", ".join(f"{name}={value}" for name, value in changed.items())
            _log.warning("mischief is on: seed=%d, %s", self.seed, told)

    def fate_of(self, path: str) -> Fate:
        """What happens to this call. Ask once for each call while `is_on`."""
        if path in self._ordered:
            return self._next_ordered(path)
        number = self._calls[path]
        self._calls[path] = number + 1
        knobs, call = self.knobs, f"{path}/{number}"
        happens = {
            knob
            for knob in self._drawn
            if self._chance(f"{call}/{knob}") * 100 < getattr(knobs, f"{knob}_percent")
        }
        delay_ms = 0.0
        if "slow" in happens:
            delay_ms = knobs.slow_ms + knobs.slow_random_ms * self._chance(f"{call}/slow_random")
        return Fate(
            fault=next((fault for fault in (*BEFORE, *AFTER) if fault in happens), None),
            delay_s=delay_ms / 1000,
            revokes_token="revoked_token" in happens,
            legacy_errmsg="legacy_errmsg" in happens,
            names_errcode_0="errcode_0" in happens,
            detail=self._chance(f"{call}/detail"),
        )

    def blocks(self, user: str) -> bool:
        """Whether the user is one of the blocked percentage."""
        percent = self.knobs.blocked_percent
        return percent > 0 and self._chance(f"blocked/{user}") * 100 < percent

    def _next_ordered(self, path: str) -> Fate:
        waiting = self._ordered[path]
        fate = waiting.popleft()
        if not waiting:
            del self._ordered[path]
            self._turn(self.knobs)
        return fate

    def _turn(self, knobs: Mischief) -> None:
        self.knobs = knobs
        drawn = [*BEFORE, *AFTER, "revoked_token", "legacy_errmsg", "errcode_0"]
        self._drawn = [knob for knob in drawn if getattr(knobs, f"{knob}_percent") > 0]
        if knobs.slow_percent > 0 and (knobs.slow_ms or knobs.slow_random_ms):
            self._drawn.append("slow")
        #: Whether a call may suffer anything: what a quiet sandbox asks.
        self.is_on = bool(self._drawn or self._ordered)

    def _chance(self, what: str) -> float:
        """From 0 to below 1, the same for the same seed and text on every machine."""
        digest = hashlib.blake2b(f"{self.seed}/{what}".encode(), digest_size=8).digest()
        # 53 bits are what a float holds: with all 64 the largest would round up to 1.
        return (int.from_bytes(digest) >> 11) / 2**53
