"""Calls a method of a client of either kind, for the tests that hold for both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from wxauth_client import AsyncAuthClient, AuthClient

#: Such as ask("login", "code", timeout_s=1).
Ask = Callable[..., Any]


def asker(kind: str, address: str, loop: asyncio.AbstractEventLoop) -> Ask:
    """By a new client of that kind, "sync" or "aio", for each call."""

    def ask_sync(method: str, *args: Any, **kwargs: Any) -> Any:
        with AuthClient(address) as client:
            return getattr(client, method)(*args, **kwargs)

    def ask_aio(method: str, *args: Any, **kwargs: Any) -> Any:
        async def ask() -> Any:
            async with AsyncAuthClient(address) as client:
                return await getattr(client, method)(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(ask(), loop).result(30)

    return ask_sync if kind == "sync" else ask_aio
