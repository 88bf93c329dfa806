"""A process of tests/warm_command.py, with what subprocess.Popen has for one."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

#: Far more than an interpreter takes to end.
_STOP_S = 30.0


class Process(Protocol):
    """What tests ask of a process, warm or of subprocess."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


class WarmProcess:
    """`python -m module arguments...` with these three descriptors as its standard streams.

    They may be closed once it is made. `finalizes`: its interpreter ends by all
    its rules, which takes a while; else it is left once the module has been run.
    For one thread.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        streams: Sequence[int],
        *,
        finalizes: bool = False,
    ) -> None:
        self._status: int | None = None
        spec = {
            "module": module,
            "arguments": list(arguments),
            "cwd": str(cwd),
            "env": dict(env),
            "finalizes": finalizes,
        }
        listen, tell = os.pipe()
        # Unbuffered: poll(2) must see what has come.
        self._told = os.fdopen(listen, "rb", buffering=0)
        with tempfile.TemporaryFile() as command, open(tell, "wb") as told:
            command.write(json.dumps(spec).encode())
            command.seek(0)
            descriptors = [command.fileno(), *streams, told.fileno()]
            socket.send_fds(_warm_interpreter(), [b"x"], descriptors)
        self.pid = int(self._told.readline())

    def poll(self) -> int | None:
        """As of subprocess: the exit status, or the signal as a negative number."""
        return self._status if self._ended_within(0) else None

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended_within(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        assert self._status is not None
        return self._status

    def send_signal(self, sig: int) -> None:
        """Nothing is sent to what has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended_within(self, seconds: float | None) -> bool:
        if self._status is None:
            ready = select.poll()
            ready.register(self._told, select.POLLIN)
            if ready.poll(None if seconds is None else seconds * 1000):
                self._status = os.waitstatus_to_exitcode(int(self._told.readline()))
                self._told.close()
        return self._status is not None


@cache
def _warm_interpreter() -> socket.socket:
    """Where the one of this process takes commands."""
    requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm_command", str(theirs.fileno())],
            cwd=Path(__file__).parents[1],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(os.path.abspath(p) for p in sys.path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )

    def close() -> None:
        requests.close()
        process.wait(_STOP_S)

    atexit.register(close)
    return requests
