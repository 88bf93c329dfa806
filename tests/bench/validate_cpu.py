"""What a validation costs over what grpc.aio itself costs."""

from __future__ import annotations

import itertools
import random
import sqlite3
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from tests.bench.figures import Figure, Scale
from tests.bench.h2_load import run_load
from tests.bench.seeded_sessions import seed_sessions
from tests.fault.server_process import ServerOptions
from tests.fault.serving import ChildProcess, ServerProcess
from wxauth.v1.auth_service_pb2 import ValidateSessionRequest
from wxauth_server.store.sqlite import DATABASE_NAME

SESSIONS = 100_000
PATH = "/wxauth.v1.AuthService/ValidateSession"
TARGET = 0.80


def run(scale: Scale) -> Sequence[Figure]:
    """Two servers, interleaved rounds, the order changing: the median of the rounds' ratios."""
    rounds, calls = scale.pick(15, 3), scale.pick(6_000, 2_000)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "data"
        session_ids = seed_sessions(directory, SESSIONS)
        messages = _requests(session_ids)
        bare = ChildProcess("tests.bench.bare_server")
        ours = ServerProcess(ServerOptions(str(directory)))
        try:
            with closing(sqlite3.connect(directory / DATABASE_NAME)) as watcher:
                version = _data_version(watcher)
                failed = sum(_measure(server, messages, calls)[1] for server in (bare, ours))
                ratios, costs = [], []
                for turn in range(rounds):
                    order = (bare, ours) if turn % 2 else (ours, bare)
                    cost = {}
                    for server in order:
                        cost[server], bad = _measure(server, messages, calls)
                        failed += bad
                    ratios.append(cost[bare] / cost[ours])
                    costs.append((cost[bare], cost[ours]))
                wrote = _data_version(watcher) != version
        finally:
            bare.kill()
            ours.kill()
    if wrote:
        raise RuntimeError("validating wrote to the store")
    median = statistics.median(ratios)
    bare_us, ours_us = (statistics.median(side) * 1e6 for side in zip(*costs, strict=True))
    return [
        Figure(
            "ValidateSession, the store read each time: CPU of a bare grpc.aio handler "
            f"/ ours ({SESSIONS:,} sessions, no write seen)",
            f"{median:.3f} ({min(ratios):.2f} to {max(ratios):.2f} in {rounds} rounds; "
            f"{bare_us:.0f} / {ours_us:.0f} µs a call)",
            f"≥ {TARGET:.2f}",
            median >= TARGET,
            failed,
        )
    ]


def _measure(server: ChildProcess, messages: Iterator[bytes], calls: int) -> tuple[float, int]:
    """CPU seconds of the server for one call, and how many calls failed."""
    before = server.cpu_s()
    result = run_load(server.port, PATH, messages, calls=calls)
    return (server.cpu_s() - before) / calls, result.failed


def _requests(session_ids: Sequence[str]) -> Iterator[bytes]:
    """Requests for the sessions in a random order, without end."""
    requests = [
        ValidateSessionRequest(session_id=session_id).SerializeToString()
        for session_id in session_ids
    ]
    random.Random(1).shuffle(requests)
    return itertools.cycle(requests)


def _data_version(watcher: sqlite3.Connection) -> int:
    """Changes whenever another connection has committed a change."""
    [(version,)] = watcher.execute("PRAGMA data_version")
    assert isinstance(version, int)
    return version
