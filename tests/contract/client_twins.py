"""Calls a method of a client of either kind, for the tests that hold for both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from wxauth_client import AsyncAuthClient, AuthClient

#: Such as ask("login", "code", timeout_s=1).
Ask = Callable[..., Any]

KINDS = ("sync", "aio")


def asker(kind: str, address: str, loop: asyncio.AbstractEventLoop, **options: Any) -> Ask:
    """By a new client of that kind, "sync" or "aio", for each call."""

    def ask(method: str, *args: Any, **kwargs: Any) -> Any:
        with one_client(kind, address, loop, **options) as asked:
            return asked(method, *args, **kwargs)

    return ask


@contextmanager
def one_client(
    kind: str, address: str, loop: asyncio.AbstractEventLoop, **options: Any
) -> Iterator[Ask]:
    """By one client of that kind, until the block ends. `ask` may be called by many threads."""
    if kind == "sync":
        with AuthClient(address, **options) as client:
            yield lambda method, *args, **kwargs: getattr(client, method)(*args, **kwargs)
        return

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    async def make() -> AsyncAuthClient:
        return AsyncAuthClient(address, **options)

    made = run(make())
    try:
        yield lambda method, *args, **kwargs: run(getattr(made, method)(*args, **kwargs))
    finally:
        run(made.close())
