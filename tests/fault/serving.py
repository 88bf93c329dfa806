"""Starts the server and the sandbox as processes of their own, and ends them: also by force."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fault.server_process import ServerOptions
from tests.sandbox_server import RunningSandbox
from tests.warm_process import WarmProcess
from tests.wxauth_command import environment
from wxauth_server.config import DEMO_APP_ID

REPOSITORY = Path(__file__).parents[2]
_STOP_S = 20
#: uvicorn closes a connection that has idled for 5 s.
_IDLE_LIMIT_S = 3.0


class ChildProcess:
    """A module of ours that prints its port and ends when its standard input does.

    That also happens when this process dies, so that nothing is left behind.
    """

    def __init__(self, module: str, *arguments: str, directory: Path | None = None) -> None:
        given, write_given = os.pipe()
        read_out, out = os.pipe()
        self._stdin = os.fdopen(write_given, "wb")
        self._stdout = os.fdopen(read_out, encoding="utf-8")
        with open(given, "rb") as stdin, open(out, "wb") as stdout:
            self._process = WarmProcess(
                module,
                arguments,
                # Away from a wxauth.toml that may lie here.
                directory or REPOSITORY,
                environment(),
                (stdin.fileno(), stdout.fileno(), 2),
                finalizes=True,
            )
        self.pid = self._process.pid
        line = self._stdout.readline()
        if not line:
            self.kill()
            raise RuntimeError(f"{module} did not start")
        self.port = int(line)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """User and system time of all its threads, seconds."""
        # The clock that clock_getcpuclockid(3) names; /proc/PID/stat counts in 10 ms.
        return time.clock_gettime((~self.pid << 3) | 2)

    def killed_itself(self) -> bool:
        """Whether it ends, now or in a moment, by a SIGKILL that is not ours."""
        killed = self._process.wait(_STOP_S) == -signal.SIGKILL
        self._reap()
        return killed

    def kill(self) -> None:
        """SIGKILL, at once."""
        self._process.kill()
        self._reap()

    def stop(self) -> str:
        """Let it end by itself; what it printed since its start."""
        self._stdin.close()
        try:
            self._process.wait(_STOP_S)
            return self._stdout.read()
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._reap()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def _reap(self) -> None:
        self._process.wait()
        self._stdin.close()
        self._stdout.close()


class ServerProcess(ChildProcess):
    """The server over a store; `store_of` makes one."""

    def __init__(self, options: ServerOptions) -> None:
        super().__init__(
            "tests.fault.server_process",
            options.as_argument(),
            directory=Path(options.directory),
        )


class Phones:
    """The users' phones: they get codes from a sandbox, over a connection that is kept.

    For one thread.
    """

    def __init__(self, sandbox: ChildProcess) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
        self._idle_since = time.monotonic()

    def code(self, user: str) -> str:
        """What wx.login gives this user now."""
        if time.monotonic() - self._idle_since > _IDLE_LIMIT_S:
            self._connection.close()  # opened anew by the request
        body = json.dumps({"appid": DEMO_APP_ID, "user": user})
        self._connection.request("POST", "/_control/codes", body)
        answer: dict[str, Any] = json.loads(self._connection.getresponse().read())
        self._idle_since = time.monotonic()
        code: str = answer["code"]
        return code

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def sandbox_process() -> Iterator[ChildProcess]:
    """A WeChat of the demo app until the block ends."""
    child = ChildProcess("tests.fault.sandbox_process")
    try:
        yield child
    finally:
        child.kill()


@contextlib.contextmanager
def server_process(options: ServerOptions) -> Iterator[ServerProcess]:
    """A server until the block ends, then killed if it still runs."""
    child = ServerProcess(options)
    try:
        yield child
    finally:
        if child.alive:
            child.kill()


def set_slow(sandbox: ChildProcess, milliseconds: int) -> None:
    """Hold every later answer of this WeChat back."""
    RunningSandbox(f"http://{sandbox.address}").slow(milliseconds)
