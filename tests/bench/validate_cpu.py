"""What a validation costs over what grpc.aio itself costs."""

from __future__ import annotations

import itertools
import random
import sqlite3
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Figure, Scale
from tests.bench.h2_load import LoadResult, run_load
from tests.bench.seeded_sessions import seed_sessions
from tests.fault.server_process import ServerOptions
from tests.fault.serving import ChildProcess, ServerProcess
from wxauth.v1.auth_service_pb2 import ValidateSessionRequest
from wxauth_server.store.sqlite import DATABASE_NAME

SESSIONS = 100_000
PATH = "/wxauth.v1.AuthService/ValidateSession"
TARGET = 0.80

#: Makes so many calls of the server at a port.
Load = Callable[[int, int], LoadResult]


@dataclass(frozen=True)
class Costs:
    """CPU seconds of a call, of each server by rounds, and the calls that failed."""

    rounds: Sequence[Sequence[float]]
    failed: int

    def ratios(self, server: int, other: int) -> list[float]:
        return [costs[server] / costs[other] for costs in self.rounds]

    def median_us(self, server: int) -> float:
        return statistics.median(costs[server] for costs in self.rounds) * 1e6


def run(scale: Scale) -> Sequence[Figure]:
    """Two servers, interleaved rounds, the order changing: the median of the rounds' ratios."""
    rounds, calls = scale.pick(15, 3), scale.pick(6_000, 2_000)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "data"
        messages = requests(seed_sessions(directory, SESSIONS))

        def load(port: int, calls: int) -> LoadResult:
            return run_load(port, PATH, messages, calls=calls)

        servers = [
            ChildProcess("tests.bench.bare_server"),
            ServerProcess(ServerOptions(str(directory))),
        ]
        costs = interleaved(servers, load, directory, rounds=rounds, calls=calls)
    ratios = costs.ratios(0, 1)
    median = statistics.median(ratios)
    return [
        Figure(
            "ValidateSession, the store read each time: CPU of a bare grpc.aio handler "
            f"/ ours ({SESSIONS:,} sessions, no write seen)",
            f"{median:.3f} ({min(ratios):.2f} to {max(ratios):.2f} in {rounds} rounds; "
            f"{costs.median_us(0):.0f} / {costs.median_us(1):.0f} µs a call)",
            f"≥ {TARGET:.2f}",
            median >= TARGET,
            costs.failed,
        )
    ]


def interleaved(
    servers: Sequence[ChildProcess], load: Load, directory: Path, *, rounds: int, calls: int
) -> Costs:
    """Each server once a round, in turn first; killed at the end.

    Raises: RuntimeError when something was written to the store in `directory`.
    """
    try:
        with closing(sqlite3.connect(directory / DATABASE_NAME)) as watcher:
            version = _data_version(watcher)
            failed = sum(_measure(server, load, calls)[1] for server in servers)
            measured = []
            for turn in range(rounds):
                first = turn % len(servers)
                cost = {}
                for server in (*servers[first:], *servers[:first]):
                    cost[server], bad = _measure(server, load, calls)
                    failed += bad
                measured.append([cost[server] for server in servers])
            wrote = _data_version(watcher) != version
    finally:
        for server in servers:
            server.kill()
    if wrote:
        raise RuntimeError("validating wrote to the store")
    return Costs(measured, failed)


def _measure(server: ChildProcess, load: Load, calls: int) -> tuple[float, int]:
    """CPU seconds of the server for one call, and how many calls failed."""
    before = server.cpu_s()
    result = load(server.port, calls)
    return (server.cpu_s() - before) / calls, result.failed


def requests(session_ids: Sequence[str]) -> Iterator[bytes]:
    """Requests for the sessions in a random order, without end."""
    messages = [
        ValidateSessionRequest(session_id=session_id).SerializeToString()
        for session_id in session_ids
    ]
    random.Random(1).shuffle(messages)
    return itertools.cycle(messages)


def _data_version(watcher: sqlite3.Connection) -> int:
    """Changes whenever another connection has committed a change."""
    [(version,)] = watcher.execute("PRAGMA data_version")
    assert isinstance(version, int)
    return version
