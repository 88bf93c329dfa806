"""A PostgreSQL that dies as by a fault of its machine: all of its processes at once."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path

from tests.database_server import PATIENCE_S
from tests.pgserver import PostgresProcess


def kill_all_of_it(server: PostgresProcess) -> None:
    """SIGKILL, to the postmaster and every backend; returns when all are gone."""
    postmaster = server.processes()[0]
    # It starts no more of them, and those that have ended stay until it goes.
    os.kill(postmaster, signal.SIGSTOP)
    os.waitid(os.P_PID, postmaster, os.WSTOPPED | os.WNOWAIT)
    children = server.processes()[1:]
    with contextlib.ExitStack() as opened:
        ends = []
        for child in children:
            ends.append(os.pidfd_open(child))
            opened.callback(os.close, ends[-1])
            os.kill(child, signal.SIGKILL)
        os.kill(postmaster, signal.SIGKILL)
        server.stop()
        # As long as one of them holds its memory, no other server starts there.
        for end in ends:
            assert select.select([end], [], [], PATIENCE_S)[0], "a backend still runs"


def start_beside_grpc(server: PostgresProcess) -> None:
    """Start it from a process in which gRPC runs.

    Whose fork handlers sometimes end the child before it becomes a PostgreSQL; then
    there is not a word in its log, and it is started once more.
    """
    before = server.said()
    for _ in range(10):
        try:
            server.start()
        except AssertionError:
            if server.said() != before:
                raise
        else:
            return
    raise AssertionError("it does not start")


def freeze_late_writers(server: PostgresProcess) -> None:
    """Stop what saves by and by, so that a COMMIT is on the disk by its own doing or not at all."""
    stopped = 0
    for process in server.processes():
        title = b""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended just now
            title = Path(f"/proc/{process}/cmdline").read_bytes()
        if title.startswith((b"postgres: walwriter", b"postgres: background writer")):
            os.kill(process, signal.SIGSTOP)
            stopped += 1
    assert stopped == 2
