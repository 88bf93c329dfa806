"""Says in the log which callers were refused; a flood of them in few lines."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from wxauth_server.auth.refusal_counts import network_of
from wxauth_server.errors import AuthError
from wxauth_server.rpc.callers import Callers
from wxauth_server.rpc.peers import peer_address

log = logging.getLogger("wxauth.rpc")

#: Seconds between two lines of one address and reason.
INTERVAL_S = 10.0
#: Addresses and reasons told apart, so that no more lines than these and one for each
#: reason come in that time. What is beyond shares a line.
MOST_APART = 100


@dataclass(slots=True)
class _Told:
    at_s: float
    left_out: int = 0


class RefusedCallers:
    """For one event loop."""

    def __init__(self, callers: Callers, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._callers = callers
        self._monotonic_s = monotonic_s
        # What was told last is last.
        self._told: OrderedDict[tuple[str, str], _Told] = OrderedDict()

    def note(
        self, method: str, refusal: AuthError, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """Log it, unless its address was told with this reason a moment ago.

        The line has `left_out`, the number of those since the last one.
        """
        address, reason = peer_address(context.peer()), refusal.reason_name()
        left_out = self._left_out(network_of(address), reason)
        if left_out is None:
            return
        log.warning(
            "a caller was refused",
            extra={
                "method": method,
                "reason": reason,
                "address": address,
                "left_out": left_out,
                **self._callers.claims(context),
            },
        )

    def _left_out(self, network: str, reason: str) -> int | None:
        """None for what is left out itself."""
        now_s = self._monotonic_s()
        if (network, reason) not in self._told and len(self._told) >= MOST_APART:
            oldest = next(iter(self._told))
            if now_s - self._told[oldest].at_s < INTERVAL_S:
                network = ""
            else:
                del self._told[oldest]
        told = self._told.get((network, reason))
        if told is not None and now_s - told.at_s < INTERVAL_S:
            told.left_out += 1
            return None
        self._told[network, reason] = _Told(now_s)
        self._told.move_to_end((network, reason))
        return told.left_out if told is not None else 0
