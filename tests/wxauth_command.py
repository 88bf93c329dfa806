"""The `wxauth` command as a process of its own, and what it says.

Processes get the import path of this one and none of its WXAUTH_ and proxy
variables. Everything they say is told to the canary.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from tests.canary import CANARY
from tests.warm_process import Process, WarmProcess

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
    stdout: IO[bytes] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; `prefix` is a program that runs it.

    `stdout` is where its output goes instead of into the answer.
    """
    given = stdin.encode() if isinstance(stdin, str) else stdin
    command = [*prefix, *WXAUTH, *map(str, arguments)]
    if prefix or not _is_for_a_fork(variables):
        ended = subprocess.run(
            command,
            cwd=cwd,
            env=environment(variables),
            input=given,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_S,
        )
        status, out, err = ended.returncode, ended.stdout or b"", ended.stderr
    else:
        status, out, err = _run_warm(
            command[len(WXAUTH) :], cwd, environment(variables), given, stdout
        )
    CANARY.hear(f"wxauth {arguments[0]}", (out + err).decode())
    return subprocess.CompletedProcess(command, status, out.decode(), err.decode())


def _is_for_a_fork(variables: Mapping[str, str] | None) -> bool:
    """Whether the interpreter and gRPC read none of these when they start."""
    return not any(name.startswith(("PYTHON", "LC_", "LANG", "GRPC_")) for name in variables or {})


def _run_warm(
    arguments: list[str],
    cwd: Path,
    env: dict[str, str],
    stdin: bytes,
    stdout: IO[bytes] | None,
) -> tuple[int, bytes, bytes]:
    """Exit status, output and errors of a command."""
    with ExitStack() as files:
        given, out, err = (files.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        given.write(stdin)
        given.seek(0)
        streams = [file.fileno() for file in (given, stdout or out, err)]
        # What an interpreter makes of an output that takes nothing is seen at its end.
        finalizes = stdout is not None
        process = WarmProcess(WXAUTH[-1], arguments, cwd, env, streams, finalizes=finalizes)
        try:
            status = process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        out.seek(0)
        err.seek(0)
        return status, out.read(), err.read()


class RunningCommand:
    """A command that serves."""

    def __init__(self, process: Process, out: IO[str], err: IO[str]) -> None:
        self._process = process
        self._told = threading.Condition()
        self._streams = (out, err)
        self.out: list[str] = []
        self.err: list[str] = []
        self._open = 2
        self._readers = [
            threading.Thread(target=self._read, args=(out, self.out), daemon=True),
            threading.Thread(target=self._read, args=(err, self.err), daemon=True),
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
        for stream in self._streams:
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


def _started(
    arguments: list[str], cwd: Path, variables: Mapping[str, str] | None
) -> tuple[Process, IO[str], IO[str]]:
    """A process of the command, and its output and errors."""
    if not _is_for_a_fork(variables):
        cold = subprocess.Popen(
            [*WXAUTH, *arguments],
            cwd=cwd,
            env=environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        assert cold.stdout is not None
        assert cold.stderr is not None
        return cold, cold.stdout, cold.stderr
    read_out, out = os.pipe()
    read_err, err = os.pipe()
    given = os.open(os.devnull, os.O_RDONLY)
    streams = (given, out, err)
    try:
        warm = WarmProcess(
            WXAUTH[-1], arguments, cwd, environment(variables), streams, finalizes=True
        )
    finally:
        for stream in streams:
            os.close(stream)
    return warm, os.fdopen(read_out, encoding="utf-8"), os.fdopen(read_err, encoding="utf-8")


@contextmanager
def running(
    *arguments: str | Path, cwd: Path, variables: Mapping[str, str] | None = None
) -> Iterator[RunningCommand]:
    """Run a command that serves until the block ends."""
    command = RunningCommand(*_started(list(map(str, arguments)), cwd, variables))
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
