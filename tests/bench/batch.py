"""How many sessions a second one server process validates in batches, and their CPU each."""

from __future__ import annotations

import itertools
import random
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.figures import Figure, Scale
from tests.bench.h2_load import Load
from tests.bench.seeded_sessions import seed_sessions
from tests.fault.secured_server import SecuredOptions, SecuredServer
from wxauth.v1.auth_service_pb2 import BatchValidateSessionsRequest
from wxauth_client import AuthClient, Session

PATH = "/wxauth.v1.AuthService/BatchValidateSessions"
SESSIONS, BATCH = 100_000, 256
TARGET = 100_000
#: Of a round: each session about once.
_CALLS = SESSIONS // BATCH


def run(scale: Scale) -> Sequence[Figure]:
    """One server, all its sessions again and again in a random order, from memory and not."""
    rounds = scale.pick(15, 3)
    rates, costs_us, failed = _measure(rounds, cached_sessions=SESSIONS)
    read_rates, read_costs_us, read_failed = _measure(rounds, cached_sessions=0)
    rate = statistics.median(rates)
    return [
        Figure(
            f"sessions a second in batches of {BATCH}, one process, from memory "
            f"({SESSIONS:,} sessions)",
            f"{rate:,.0f} ({min(rates):,.0f} to {max(rates):,.0f} in {rounds} rounds; "
            f"{statistics.median(costs_us):.1f} µs of CPU a session; with the store read "
            f"each time {statistics.median(read_rates):,.0f}, "
            f"{statistics.median(read_costs_us):.1f} µs)",
            f"≥ {TARGET:,}",
            rate >= TARGET,
            failed + read_failed,
        )
    ]


def _measure(rounds: int, *, cached_sessions: int) -> tuple[list[float], list[float], int]:
    """Sessions a second and CPU microseconds of each by rounds; failed calls."""
    options = {"require_callers": False}
    with tempfile.TemporaryDirectory() as name:
        session_ids = seed_sessions(Path(name), SESSIONS)
        random.Random(1).shuffle(session_ids)
        server = SecuredServer(SecuredOptions(name, options, cached_sessions=cached_sessions))
        try:
            failed = count_refused(server.address, session_ids)
            messages = itertools.cycle(_requests(session_ids))
            with Load(server.port, PATH, messages, connections=4, streams=4) as load:
                failed += load.run(_CALLS).failed
                rates, costs_us = [], []
                for _ in range(rounds):
                    before = server.cpu_s()
                    result = load.run(_CALLS)
                    failed += result.failed
                    rates.append(result.rate * BATCH)
                    costs_us.append((server.cpu_s() - before) / (_CALLS * BATCH) * 1e6)
        finally:
            server.kill()
    return rates, costs_us, failed


def count_refused(address: str, session_ids: Sequence[str]) -> int:
    """How many are not answered as the live sessions that they are."""
    with AuthClient(address) as client:
        found = client.validate_sessions(session_ids, timeout_s=120)
    return sum(not isinstance(result, Session) for result in found)


def _requests(session_ids: Sequence[str]) -> list[bytes]:
    """Of the same number of sessions each; the few that are left over are not asked for."""
    return [
        BatchValidateSessionsRequest(
            session_ids=session_ids[start : start + BATCH]
        ).SerializeToString()
        for start in range(0, len(session_ids) - BATCH + 1, BATCH)
    ]
