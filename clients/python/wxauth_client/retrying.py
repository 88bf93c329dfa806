"""When a call is sent again: the policy as data, and the decision. No I/O, no clock, no chance.

For what gRPC's own retries (channel.py) cannot do: they know no deadline of one
attempt, wait for no slot, and tell a verdict from a failure by the status only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from wxauth_client.errors import (
    AccountSourceUnavailable,
    DeadlineExceeded,
    DeadlineTooShort,
    Overloaded,
    ServerUnreachable,
    StoreUnavailable,
    Throttled,
    WeChatUnavailable,
    WxauthError,
)

# Less is too little for a round trip and a write. The server itself refuses to
# begin a login in under 20 ms.
MIN_ATTEMPT_S = 0.1
# After these, less is too little for a queue of bcrypt, or for another system's
# answer: the attempt would end with an answer that nobody hears.
MIN_ATTEMPT_AFTER_S: Mapping[type[WxauthError], float] = {
    Throttled: 1.5,
    AccountSourceUnavailable: 2.5,
}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """After which failures a call is sent again, and how long after."""

    # Of each such failure, the attempts there are in all, whatever the others
    # failed of: the one that makes up this number and fails so is the last.
    after: Mapping[type[WxauthError], int] = field(default_factory=dict)
    attempt_timeout_s: float = math.inf  # within the deadline of the call
    first_delay_s: float = 0.0  # doubles with each attempt
    max_delay_s: float = math.inf  # up to this; a server may ask for more


ONCE = RetryPolicy()

# Safe with a request_id only: the server then goes on where the former attempt
# stopped, or gives the session that it has begun (auth_service.proto, Login).
LOGIN = RetryPolicy(
    # No answer, or one that decides nothing. Everything else is a verdict: final
    # for the code, so that a repetition would be CODE_USED.
    after={
        # A server that was killed needs 1 s and more to be back, and gRPC up to 2 s
        # to notice. So 5.1 to 7.7 s of waiting, which costs nobody anything.
        ServerUnreachable: 7,
        # These have cost a server something: 0.7 s of waiting, or what it asks for.
        DeadlineExceeded: 4,
        DeadlineTooShort: 4,
        StoreUnavailable: 4,
        Overloaded: 4,
        WeChatUnavailable: 4,
        # It is asked for at most twice: what ails it will rarely pass in a second.
        AccountSourceUnavailable: 2,
        # These have cost it a look at a counter. It waits up to 2 s by itself for the
        # attempts before to be decided, then asks for 1 s: all that fit into a login's
        # 8 s, and so 20 right logins at once end well. It asks for more, up to 15
        # minutes, after wrong passwords: that fits in no deadline and is raised at once.
        Throttled: 6,
    },
    # Of a login's 8 s: an answer lost without a trace leaves 3 s to ask for it
    # again, and a server that waits for WeChat (3 s) is not cut short.
    attempt_timeout_s=5.0,
    first_delay_s=0.1,
    max_delay_s=2.0,  # as gRPC between two tries to connect: channel.py
)


def next_delay_s(
    policy: RetryPolicy, attempts: int, failure: WxauthError, left_s: float, chance: float
) -> float | None:
    """How long to wait before the next attempt; None to make no more.

    `attempts` have been made and ended with `failure`, and `left_s` is left of
    the call's deadline. `chance`, from 0 to 1, spreads what would otherwise come
    all at once, by up to a half as far as the deadline allows; never to less than
    the server asked for. Whether there is a next attempt is not left to it.
    """
    if attempts >= policy.after.get(type(failure), 1):
        return None
    backoff_s = min(policy.first_delay_s * 2 ** (attempts - 1), policy.max_delay_s)
    least_s = max(backoff_s, failure.retry_after_s or 0.0)
    most_s = left_s - MIN_ATTEMPT_AFTER_S.get(type(failure), MIN_ATTEMPT_S)
    return min(least_s * (1 + chance / 2), most_s) if least_s <= most_s else None
