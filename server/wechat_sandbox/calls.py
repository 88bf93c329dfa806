"""The history of calls: what was asked and what became of it, nothing secret."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

#: How many calls the history remembers: enough for a long test run, never a leak.
HISTORY_LENGTH = 20_000


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a WeChat interface.

    `time` is unix seconds. `errcode` is what WeChat decided, 0 for success, also
    when the answer never arrived; None when nothing was decided. `fault` is the
    mischief that was done to it. `app_id` and `user` are None when unknown.
    """

    time: float
    path: str
    app_id: str | None
    user: str | None
    errcode: int | None
    fault: str | None = None


Calls = deque[Call]


def new_history() -> Calls:
    return deque(maxlen=HISTORY_LENGTH)
