"""The sandbox put together: one ASGI application with its state."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Route

from wechat_sandbox.control import Control
from wechat_sandbox.exchange import CodeToSession, Mischief
from wechat_sandbox.world import SandboxApp, World

__all__ = ["SandboxApp", "create_app"]

_log = logging.getLogger(__name__)


def create_app(
    apps: Sequence[SandboxApp], clock: Callable[[], float] = time.time, slow_ms: int = 0
) -> Starlette:
    """A WeChat that knows `apps` and nobody else, its state empty.

    `clock` gives unix seconds; `slow_ms` is milliseconds that each answer of
    code2Session is held back (`POST /_control/slow` changes it). Raises
    ValueError for two apps of one app_id. For one event loop and one process.
    """
    world = World(apps, clock)
    mischief = Mischief(slow_ms=slow_ms)
    return Starlette(
        routes=[
            Route("/sns/jscode2session", CodeToSession(world, mischief), methods=["GET"]),
            *Control(world, mischief).routes(),
        ],
        lifespan=_lifespan,
    )


@asynccontextmanager
async def _lifespan(_app: Starlette) -> AsyncIterator[None]:
    _log.warning(
        "This is a sandbox, not WeChat: it logs anybody in as anybody. "
        "Keep it off the internet and away from production."
    )
    yield
