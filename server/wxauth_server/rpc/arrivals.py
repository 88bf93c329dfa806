"""The message of a call, which has to come soon after the call began.

grpcio hands a unary call over when its message has come, however long that takes;
until then the call has its place among MAX_CONCURRENT_RPCS, and nobody has asked
who calls. Whoever sends headers only, on some connections, so keeps everybody out
(reliability.md F10). So calls are taken at their headers and read here.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from wxauth_server.errors import DeadlineTooShort, RequestInvalid

#: From headers to message. Clients send both at once; a slow network takes a second.
MESSAGE_TIMEOUT_S = 5.0
# One look at all calls instead of a timer for each, which would be a tenth of a validation.
_INTERVAL_S = 1.0

Context = grpc.aio.ServicerContext[Any, Any]


class Arrivals:
    """Reads messages in time. For one event loop."""

    def __init__(self) -> None:
        # Since when each call waits; None: its time was up.
        self._waiting: dict[asyncio.Task[Any], float | None] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def message(self, context: Context) -> bytes:
        """The first message of a call.

        Raises: DeadlineTooShort when it does not come in time, up to a second later;
        RequestInvalid when there is none.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is None:
            raise TypeError("only a task waits")
        self._waiting[task] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(_INTERVAL_S, self._look, loop)
        try:
            message = await context.read()
        except asyncio.CancelledError:
            if self._waiting[task] is not None:
                raise
            task.uncancel()
            raise DeadlineTooShort from None
        finally:
            del self._waiting[task]
        if not isinstance(message, bytes):  # grpc.aio.EOF
            raise RequestInvalid(("request", "missing"))
        return message

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(_INTERVAL_S, self._look, loop) if self._waiting else None
        latest_s = loop.time() - MESSAGE_TIMEOUT_S
        for task, since_s in self._waiting.items():
            if since_s is not None and since_s < latest_s:
                self._waiting[task] = None
                task.cancel()
