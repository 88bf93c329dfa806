"""When a call is sent again: the policy as data, and the decision. No I/O, no clock, no chance.

For what gRPC's own retries (channel.py) cannot do: they know no deadline of one
attempt, wait for no slot, and tell a verdict from a failure by the status only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from wxauth_client.errors import (
    DeadlineExceeded,
    DeadlineTooShort,
    Overloaded,
    ServerUnreachable,
    StoreUnavailable,
    WeChatUnavailable,
    WxauthError,
)

# Less is too little for a round trip and a write. The server itself refuses to
# begin a login in under 20 ms.
MIN_ATTEMPT_S = 0.1


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a call is sent in all, and after which failures again."""

    max_attempts: int = 1
    attempt_timeout_s: float = math.inf  # within the deadline of the call
    first_delay_s: float = 0.0  # doubles with each attempt
    after: tuple[type[WxauthError], ...] = ()


ONCE = RetryPolicy()

# Safe with a request_id only: the server then goes on where the former attempt
# stopped, or gives the session that it has begun (auth_service.proto, Login).
LOGIN = RetryPolicy(
    max_attempts=4,
    # Of a login's 8 s: an answer lost without a trace leaves 3 s to ask for it
    # again, and a server that waits for WeChat (3 s) is not cut short.
    attempt_timeout_s=5.0,
    first_delay_s=0.1,
    # No answer, or one that decides nothing. Everything else is a verdict: final
    # for the code, so that a repetition would be CODE_USED.
    after=(
        ServerUnreachable,
        DeadlineExceeded,
        DeadlineTooShort,
        StoreUnavailable,
        Overloaded,
        WeChatUnavailable,
    ),
)


def next_delay_s(
    policy: RetryPolicy, attempts: int, failure: WxauthError, left_s: float, chance: float
) -> float | None:
    """How long to wait before the next attempt; None to make no more.

    `attempts` have been made and ended with `failure`, and `left_s` is left of
    the call's deadline. `chance`, from 0 to 1, spreads what would otherwise come
    all at once, by up to a half; never to less than the server asked for.
    """
    if attempts >= policy.max_attempts or not isinstance(failure, policy.after):
        return None
    backoff_s = policy.first_delay_s * 2 ** (attempts - 1)
    delay_s = max(backoff_s, failure.retry_after_s or 0.0) * (1 + chance / 2)
    return delay_s if delay_s + MIN_ATTEMPT_S <= left_s else None
