"""What the revocation log tells, and the memory of what it told lately. No I/O, no clock."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple


class Revocation(NamedTuple):
    """What one entry of the log ends: one session, or those that began by a time."""

    #: SHA-256 of the SessionId, of one session; None where it is about many.
    digest: bytes | None = None
    #: Of many sessions: the app's; "" for all apps.
    app_id: str = ""
    #: Of many sessions: those whose login was then or before. Milliseconds since 1970.
    login_by_ms: int = 0


class LogPart(NamedTuple):
    """Entries of the log in their order, from one place in it to another.

    Places are resume tokens: opaque, and different for different databases.
    """

    #: The place it goes on from.
    follows: bytes
    #: The place it leads to; the same as `follows` if nothing was appended.
    token: bytes
    revocations: Sequence[Revocation] = ()
    #: Everything that was committed before is in the log up to `token`. None if that is
    #: not known, as with all but the last part of a long read.
    as_of_s: float | None = None


# So that a burst of revocations is no burst again when it is forgotten.
_MOST_FORGOTTEN_AT_ONCE = 1_000


class RecentlyRevoked:
    """The single sessions that were revoked lately, with bounded memory.

    It knows what it does not know: `complete_since` says from when on it has all.
    """

    def __init__(self, *, for_s: float, most: int) -> None:
        self._for_s = for_s
        self._most = most
        self._applied_s: OrderedDict[bytes, float] = OrderedDict()
        #: When the newest of the forgotten ones was applied. Whoever asks about
        #: something older gets no answer here.
        self.complete_since_s = math.inf

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._applied_s

    def __len__(self) -> int:
        return len(self._applied_s)

    def begin(self, now_s: float) -> None:
        """Forget all, and be complete from now on."""
        self._applied_s.clear()
        self.complete_since_s = now_s

    def add(self, digest: bytes, now_s: float) -> None:
        self._applied_s[digest] = now_s
        # One that was there kept its place: what is behind it would wait for it.
        self._applied_s.move_to_end(digest)
        if len(self._applied_s) > self._most:
            self._forget_oldest()

    def forget_old(self, now_s: float) -> None:
        """Forget some of what was applied long ago."""
        for _ in range(min(len(self._applied_s), _MOST_FORGOTTEN_AT_ONCE)):
            if now_s - next(iter(self._applied_s.values())) <= self._for_s:
                return
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, applied_s = self._applied_s.popitem(last=False)
        self.complete_since_s = max(self.complete_since_s, applied_s)
