"""How a command that serves lives: one event loop, the log, and its end by signal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from wxauth_server.config import Configuration
from wxauth_server.logs import set_up_logs

log = logging.getLogger("wxauth.command")


def start_log(configuration: Configuration) -> None:
    """Send the log to standard error as configured."""
    set_up_logs(configuration.log.format, configuration.log.level)
    # uvicorn reports each of its steps; ours say what matters.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def serve_until_signal(serving: AbstractAsyncContextManager[None]) -> None:
    """Enter `serving`, wait for SIGINT or SIGTERM, leave it: a graceful stop.

    A second signal ends the process at once, with status 128 + its number; what
    was acknowledged is on the disk by then. Raises: whatever `serving` raises.
    """
    _open_as_many_files_as_allowed()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(serving))


def _open_as_many_files_as_allowed() -> None:
    """Services start with 1,024 for the sake of select(), which nothing here uses."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS has a limit of its own below this
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(serving: AbstractAsyncContextManager[None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _on_signal, stop, number)
    async with serving:
        await stop.wait()
        log.info("stopping")
    log.info("stopped")


def _on_signal(stop: asyncio.Event, number: signal.Signals) -> None:
    if stop.is_set():
        log.warning("stopped at once", extra={"signal": number.name})
        os._exit(128 + number)
    stop.set()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # not made for every system
        return asyncio.new_event_loop
    return uvloop.new_event_loop
