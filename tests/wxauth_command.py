"""The `wxauth` command as a process of its own, and what it says.

Processes get the import path of this one and none of its WXAUTH_ and proxy
variables. Everything they say is told to the canary.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

from tests.canary import CANARY

#: Far more than any command takes; a test that waits this long has failed.
PATIENCE_S = 30.0

WXAUTH = [sys.executable, "-m", "wxauth_server"]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables for a child process."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("WXAUTH_") and not name.lower().endswith("_proxy")
    }
    kept["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
    # Help and errors as plain text, and not folded at the width of this terminal.
    kept |= {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}
    return kept | dict(extra or {})


def wxauth(
    *arguments: str | Path,
    cwd: Path,
    stdin: str | bytes = b"",
    variables: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; `prefix` is a program that runs it."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    command = [*prefix, *WXAUTH, *map(str, arguments)]
    # What the interpreter itself reads when it starts.
    if prefix or any(name.startswith(("PYTHON", "LC_", "LANG")) for name in variables or {}):
        ended = subprocess.run(
            command,
            cwd=cwd,
            env=environment(variables),
            input=given,
            capture_output=True,
            timeout=PATIENCE_S,
        )
        status, out, err = ended.returncode, ended.stdout, ended.stderr
    else:
        status, out, err = _warm().run(command[len(WXAUTH) :], cwd, environment(variables), given)
    CANARY.hear(f"wxauth {arguments[0]}", (out + err).decode())
    return subprocess.CompletedProcess(command, status, out.decode(), err.decode())


class _Warm:
    """The interpreter of tests/warm_command.py."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm_command", str(theirs.fileno())],
                cwd=Path(__file__).parents[1],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._close)

    def run(
        self, arguments: list[str], cwd: Path, env: dict[str, str], stdin: bytes
    ) -> tuple[int, bytes, bytes]:
        """Exit status, output and errors of a command."""
        with ExitStack() as files:
            spec, given, out, err = (
                files.enter_context(tempfile.TemporaryFile()) for _ in range(4)
            )
            spec.write(json.dumps({"arguments": arguments, "cwd": str(cwd), "env": env}).encode())
            given.write(stdin)
            for file in (spec, given):
                file.seek(0)
            listen, tell = os.pipe()
            told = files.enter_context(open(listen, encoding="ascii"))
            try:
                descriptors = [file.fileno() for file in (spec, given, out, err)]
                socket.send_fds(self._requests, [b"x"], [*descriptors, tell])
            finally:
                os.close(tell)
            pid = int(told.readline())
            if not select.select([listen], [], [], PATIENCE_S)[0]:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(["wxauth", *arguments], PATIENCE_S)
            status = os.waitstatus_to_exitcode(int(told.readline()))
            out.seek(0)
            err.seek(0)
            return status, out.read(), err.read()

    def _close(self) -> None:
        self._requests.close()
        self._process.wait(PATIENCE_S)


@cache
def _warm() -> _Warm:
    return _Warm()


class RunningCommand:
    """A command that serves."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._told = threading.Condition()
        self.out: list[str] = []
        self.err: list[str] = []
        self._open = 2
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=(process.stdout, self.out), daemon=True),
            threading.Thread(target=self._read, args=(process.stderr, self.err), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def wait_for(self, text: str) -> str:
        """The first line, on either stream, that holds `text`."""
        with self._told:
            found = self._told.wait_for(
                lambda: self._line_with(text) or self._open == 0, timeout=PATIENCE_S
            )
            line = self._line_with(text)
        assert found, f"no {text!r} in time:\n{self.said()}"
        assert line is not None, f"ended without {text!r}:\n{self.said()}"
        return line

    def said(self) -> str:
        return "\n".join([*self.out, *self.err])

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit status, after everything that it said was read."""
        status = self._process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        return status

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.send(number)
        return self.wait()

    def kill_if_running(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _line_with(self, text: str) -> str | None:
        return next((line for line in [*self.out, *self.err] if text in line), None)

    def _read(self, stream: IO[str], lines: list[str]) -> None:
        for line in stream:
            with self._told:
                lines.append(line.rstrip("\n"))
                self._told.notify_all()
        with self._told:
            self._open -= 1
            self._told.notify_all()


@contextmanager
def running(
    *arguments: str | Path, cwd: Path, variables: Mapping[str, str] | None = None
) -> Iterator[RunningCommand]:
    """Run a command that serves until the block ends."""
    process = subprocess.Popen(
        [*WXAUTH, *map(str, arguments)],
        cwd=cwd,
        env=environment(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    command = RunningCommand(process)
    try:
        yield command
    finally:
        command.kill_if_running()
        CANARY.hear(f"wxauth {arguments[0]}", "\n".join(command.err))


def refused(done: subprocess.CompletedProcess[str], *parts: str, status: int = 1) -> str:
    """That a command said clearly, in one line on standard error, why it did nothing."""
    assert done.returncode == status, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("wxauth: ")]
    for part in parts:
        assert part in line
    return line


def done_well(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def listed(*command: str, cwd: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(done_well(wxauth(*command, "--json", cwd=cwd)))
    return rows


def ready(command: RunningCommand) -> str:
    """The address that the line of the log tells, when a part serves."""
    found = re.search(r'"address": "([^"]+)"', command.wait_for('"event": "ready"'))
    assert found
    return found[1]
