"""An HTTP server as one part of a process: started, stopped, and deaf to signals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Iterator

import uvicorn

from wxauth_client.file_watch import FileUnusable
from wxauth_client.target import split_address
from wxauth_gateway.listening import Server
from wxauth_server.cli.output import CommandFailed

log = logging.getLogger("wxauth.command")

#: Connections that wait to be accepted; uvicorn's own default.
_BACKLOG = 2_048


class HttpPart:
    """Serves an application on a socket that listens already.

    Should it end before it is stopped, it cancels the task that started it, and
    `stop` says why: no process is to live on with a part that serves nobody.
    """

    def __init__(self, name: str, config: uvicorn.Config, listener: socket.socket) -> None:
        self._name = name
        self._server = _Server(config)
        self._listener = listener
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._failed = False

    async def start(self) -> None:
        """Return when requests are served.

        Raises: CommandFailed when its certificate cannot be used, or when the
        application does not start; then the log says why.
        """
        self._task = asyncio.create_task(self._serve(), name=self._name)
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait({self._task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            await self._task
            raise CommandFailed(f"the {self._name} ended while it was starting")
        starter = asyncio.current_task()
        self._task.add_done_callback(lambda _: self._ended(starter))

    async def stop(self) -> None:
        """Let the requests under way end, for as long as the configuration says.

        Raises: CommandFailed when it had ended by itself; then the log says why.
        """
        if self._failed:
            raise CommandFailed(f"the {self._name} ended by itself; the log says why")
        self._stopping = True
        if self._task is not None and not self._task.done():
            self._server.should_exit = True
            await self._task

    def _ended(self, starter: asyncio.Task[None] | None) -> None:
        """The task is done; unless it was to be, so is what was started with it."""
        if self._stopping or self._task is None or self._task.cancelled():
            return
        self._failed = True
        error = self._task.exception()
        # Its class only: the text may quote what was being read.
        reason = type(error).__name__ if error else "it stopped"
        log.critical("the %s ended by itself: %s", self._name, reason)
        if starter is not None:
            starter.cancel()

    async def _serve(self) -> None:
        failed = False
        try:
            await self._server.serve(sockets=[self._listener])
        except FileUnusable as problem:
            raise CommandFailed(f"{self._name}: {problem}") from None
        except SystemExit:  # would end the loop with everything on it
            failed = True
        if failed:
            raise CommandFailed(f"the {self._name} cannot start; the log says why")


def listen(part: str, address: str) -> socket.socket:
    """A socket that listens on host:port; port 0 takes a free one.

    Raises: CommandFailed, naming the part and the address.
    """
    try:
        host, port = split_address(address)
    except ValueError as error:
        raise CommandFailed(f"{part}: {address!r} is {error}") from None
    host = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except UnicodeError:  # a name that cannot be one
        reason = "no such host"
    except OSError as error:
        # A negative number is getaddrinfo's: the name means no address here.
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else "no such host"
    raise CommandFailed(f"{part}: {address} cannot be listened on: {reason}")


def address_of(listener: socket.socket) -> str:
    """Where a socket listens, as host:port, for whoever connects from this machine."""
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Server(Server):
    """The gateway's server, but for two things: signals are not its business, and `ready`."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
