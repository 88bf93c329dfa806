"""What a validation costs over what grpc.aio itself costs, and what it costs to know who asks."""

from __future__ import annotations

import itertools
import random
import sqlite3
import ssl
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from tests.bench.batch import count_refused
from tests.bench.figures import Figure, Scale
from tests.bench.h2_load import Load
from tests.bench.seeded_sessions import seed_sessions
from tests.certificates import Authority
from tests.fault.secured_server import (
    SecuredOptions,
    SecuredServer,
    new_caller_token,
    write_callers,
)
from tests.fault.serving import ChildProcess
from wxauth.v1.auth_service_pb2 import ValidateSessionRequest
from wxauth_server.store.sqlite import DATABASE_NAME

SESSIONS = 100_000
PATH = "/wxauth.v1.AuthService/ValidateSession"
#: Reading the store each time, and answering from memory.
TARGET, TARGET_CACHED = 0.80, 0.85
#: Calls of each server a round: enough that it has warmed up, since a server that
#: is busy enough for this to matter is not one of two that take turns.
_CALLS = 6_000
_CERTIFICATE_NAME = "orders.internal"


@dataclass(frozen=True)
class _Way:
    """How the caller is connected, and proves itself."""

    name: str
    tls: bool = False
    token: bool = False
    #: By its certificate.
    mutual: bool = False
    #: Answered from memory, by a server that anybody may call; else the store is read
    #: each time.
    cached: bool = False


_WAYS = (
    _Way("on loopback, of anybody", cached=True),
    _Way("on loopback, of anybody"),
    _Way("with a token, plaintext", token=True),
    _Way("with a token, TLS", tls=True, token=True),
    _Way("with a certificate, mTLS", tls=True, mutual=True),
)


def run(scale: Scale) -> Sequence[Figure]:
    """For each way a bare handler and ours, connected alike and asked in turns."""
    rounds = scale.pick(15, 3)
    figures = []
    for way in _WAYS:
        # A new store for each, since after five minutes its sessions were due to be written.
        with tempfile.TemporaryDirectory() as name:
            figures.append(_measure_way(way, Path(name), rounds))
    return figures


def _measure_way(way: _Way, directory: Path, rounds: int) -> Figure:
    store = directory / "data"
    session_ids = seed_sessions(store, SESSIONS)
    messages = _requests(session_ids)
    token = new_caller_token()
    write_callers(store, {"orders": token}, [_CERTIFICATE_NAME])
    metadata = (("authorization", f"Bearer {token}"),) if way.token else ()
    table: dict[str, object] = {"require_callers": way.token or way.mutual}
    files: list[str] = []
    context = None
    if way.tls:
        authority = Authority(directory)
        issued = authority.issue("server", "127.0.0.1")
        context = ssl.create_default_context(cafile=authority.ca)
        context.set_alpn_protocols(["h2"])
        files = [str(issued.certificate), str(issued.key)]
        if way.mutual:
            own = authority.issue(_CERTIFICATE_NAME)
            context.load_cert_chain(own.certificate, own.key)
            files.append(str(authority.ca))
        keys = ("certificate_file", "key_file", "client_ca_file")[: len(files)]
        table["tls"] = dict(zip(keys, files, strict=True))

    def load_of(server: ChildProcess) -> Load:
        return Load(server.port, PATH, messages, metadata=metadata, tls=context)

    failed, note = 0, ""
    if table["require_callers"]:
        checked = ChildProcess("tests.bench.check_server", str(store), *files)
        try:
            with load_of(checked) as load:
                failed = load.run(1).failed
        finally:
            note = f", {float(checked.stop()):.1f} µs of it to know the caller"
    servers = [
        ChildProcess("tests.bench.bare_server", *files),
        SecuredServer(SecuredOptions(str(store), table, cached_sessions=SESSIONS * way.cached)),
    ]
    try:
        if way.cached:
            # From then on the answers are in memory.
            failed += count_refused(servers[1].address, session_ids)
        with ExitStack() as stack:
            watcher = stack.enter_context(closing(sqlite3.connect(store / DATABASE_NAME)))
            version = _data_version(watcher)
            loads = [stack.enter_context(load_of(server)) for server in servers]
            costs, failed_in_turns = _in_turns(list(zip(servers, loads, strict=True)), rounds)
            failed += failed_in_turns
            if _data_version(watcher) != version:
                raise RuntimeError("validating wrote to the store")
    finally:
        for server in servers:
            server.kill()
    ratios = [bare_s / ours_s for bare_s, ours_s in costs]
    median = statistics.median(ratios)
    bare_us, ours_us = (statistics.median(of_one) * 1e6 for of_one in zip(*costs, strict=True))
    target = TARGET_CACHED if way.cached else TARGET
    answered = "from memory" if way.cached else "the store read each time"
    return Figure(
        f"ValidateSession {way.name}, {answered}: CPU of a bare grpc.aio handler "
        f"connected the same way / ours ({SESSIONS:,} sessions)",
        f"{median:.3f} ({min(ratios):.2f} to {max(ratios):.2f} in {rounds} rounds; "
        f"{bare_us:.0f} / {ours_us:.0f} µs a call{note})",
        f"≥ {target:.2f}",
        median >= target,
        failed,
    )


def _in_turns(
    servers: Sequence[tuple[ChildProcess, Load]], rounds: int
) -> tuple[Sequence[Sequence[float]], int]:
    """CPU seconds of a call of each server by rounds, another first each time; failed calls."""
    failed = sum(load.run(_CALLS).failed for _, load in servers)
    costs = []
    for turn in range(rounds):
        first = turn % len(servers)
        cost = {}
        for server, load in (*servers[first:], *servers[:first]):
            before = server.cpu_s()
            failed += load.run(_CALLS).failed
            cost[server] = (server.cpu_s() - before) / _CALLS
        costs.append([cost[server] for server, _ in servers])
    return costs, failed


def _requests(session_ids: Sequence[str]) -> Iterator[bytes]:
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
