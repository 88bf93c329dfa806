"""One login of a code at a time; callers who ask for the very same share its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from wxauth_server.auth.exchange_code import CodeReplayed

T = TypeVar("T")


class LoginsInFlight(Generic[T]):
    """Runs logins by code, for one event loop.

    A login goes on when its caller gives up: the code is spent, and whoever asks
    again finds what came of it.
    """

    def __init__(self) -> None:
        self._running: dict[Hashable, tuple[Hashable | None, asyncio.Task[T]]] = {}

    async def run(
        self,
        code: Hashable,
        request: Hashable | None,
        login: Callable[[], Coroutine[Any, Any, T]],
    ) -> T:
        """Run `login`, or share the one of `code` that runs, if its request is equal.

        `request` is everything the caller asked for, None if nobody may share it.

        Raises: CodeReplayed for the code of another request; what `login` raises.
        """
        if code in self._running:
            running, task = self._running[code]
            if request is None or running != request:
                raise CodeReplayed(openid=None)
        else:
            task = asyncio.create_task(login())
            self._running[code] = (request, task)
            task.add_done_callback(lambda task: self._done(code, task))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Wait for the logins whose callers have gone."""
        await asyncio.gather(*(task for _, task in self._running.values()), return_exceptions=True)

    def _done(self, code: Hashable, task: asyncio.Task[T]) -> None:
        del self._running[code]
        if not task.cancelled():
            task.exception()  # looked at, or asyncio logs it when its caller has gone
