"""How long a cache may rely on what it was told: the constants of the one second.

What follows from them, and what is assumed, is proved in docs/decisions/0015. All
times are seconds of one clock that goes on while the machine sleeps
(CLOCK_BOOTTIME), all durations are seconds.
"""

from __future__ import annotations

from typing import NamedTuple

#: From the beginning of a read of the log, a server answers so long from memory.
SERVER_LEASE_S = 0.5
#: And a client so long, from the same beginning. What is missing to 1 s is for the
#: clocks of the two, which differ by up to 1 ms for each second that a stream lives.
CLIENT_LEASE_S = 0.9
#: An answer of a server is at most so much older than its question: its lease, and
#: room for clocks.
SERVER_LAG_S = 0.6
#: Who asks for what another call has asked for already may wait for that one's answer
#: if it began no longer ago: with a server's lease that is the lease of a client.
JOIN_WITHIN_S = 0.4
#: A client opens its stream anew after so long: clocks drift apart.
REOPEN_AFTER_S = 60.0
#: A stream this old extends no lease. A client that was stopped may find one in its hands.
OLDEST_STREAM_S = 75.0


class StreamCall(NamedTuple):
    """A call for the log. What its messages tell is counted from it, on two clocks.

    `began_s` is the caller's time when it was made or before, so that it is never
    later than the server's receipt, which the messages count from.
    """

    began_s: float

    def as_of(self, after_s: float, now_s: float) -> float | None:
        """The caller's time for what the server says was `after_s` after it got the call.

        None if the stream is too old to say. Never later than the time of the message's
        receipt, `now_s`: what is told of has been, however fast the server's clock went.
        """
        if max(after_s, now_s - self.began_s) > OLDEST_STREAM_S:
            return None
        return min(self.began_s + after_s, now_s)


class Fill(NamedTuple):
    """A question to the authority, about one session or many, whose answer may be kept."""

    #: When it was asked, or before: not when the answer came.
    began_s: float

    def may_be_joined(self, now_s: float) -> bool:
        """Whether who asks now may wait for this answer instead of asking.

        If `SessionCache.store` then does not keep it, it is for those only who have
        not joined: the others ask again.
        """
        return now_s - self.began_s <= JOIN_WITHIN_S
