"""How soon the server serves, and how much memory it takes when nobody asks."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.bench.figures import Figure, Scale
from tests.fault.seeded_store import seed_accounts

READY_TARGET_S = 1.5
MEMORY_TARGET_MIB = 90
_GIVE_UP_S = 30.0
_POLL_S = 0.005
#: After the first health check, for what the start left running.
_SETTLE_S = 1.0


def run(scale: Scale) -> Sequence[Figure]:
    """`wxauth serve` on a store that exists, several times over."""
    times = scale.pick(5, 2)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "data"
        seed_accounts(directory, ["zhangsan"], bcrypt_cost=4)
        starts = [_start(directory) for _ in range(times)]
    ready_s = statistics.median(ready for ready, _ in starts)
    memory_mib = statistics.median(memory for _, memory in starts)
    return [
        Figure(
            "wxauth serve: from exec to the first health check",
            f"{ready_s:.2f} s (median of {times})",
            f"≤ {READY_TARGET_S} s",
            ready_s <= READY_TARGET_S,
        ),
        Figure(
            "memory of the idle server (RSS)",
            f"{memory_mib:.0f} MB (median of {times})",
            f"≤ {MEMORY_TARGET_MIB} MB",
            memory_mib <= MEMORY_TARGET_MIB,
        ),
    ]


def _start(directory: Path) -> tuple[float, float]:
    """Seconds until it serves, and its memory in MiB."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = {
        "WXAUTH_STORE__DIRECTORY": str(directory),
        "WXAUTH_GRPC__LISTEN": f"127.0.0.1:{port}",
        "WXAUTH_GRPC__LAME_DUCK_S": "0",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "wxauth_server", "serve"],
        env={k: v for k, v in os.environ.items() if not k.startswith("WXAUTH_")} | variables,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_listens(process, port)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            check = HealthStub(channel).Check  # type: ignore[attr-defined]  # set in __init__
            answer = check(HealthCheckRequest(), timeout=_GIVE_UP_S)
        ready_s = time.monotonic() - started
        if answer.status != HealthCheckResponse.SERVING:
            raise RuntimeError("the server says that it is not serving")
        time.sleep(_SETTLE_S)
        return ready_s, _memory_mib(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_GIVE_UP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    # By hand: a channel that was refused waits a second before it tries again.
    end = time.monotonic() + _GIVE_UP_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(_POLL_S)
    raise RuntimeError("the server did not start")


def _memory_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    resident = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert resident is not None
    return int(resident[1]) / 1024
