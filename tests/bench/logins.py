"""Logins a second: silent ones, and ones with a password."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import bcrypt

from tests.bench.figures import Figure, Scale
from tests.bench.h2_load import Load, LoadResult
from tests.fault.seeded_store import PASSWORD, seed_accounts
from tests.fault.server_process import ServerOptions
from tests.fault.serving import ChildProcess, Phones, sandbox_process, server_process
from wxauth.v1.auth_service_pb2 import LoginRequest
from wxauth_server.accounts.passwords import BCRYPT_COST

PATH = "/wxauth.v1.AuthService/Login"
SILENT_TARGET = 400
PASSWORD_TARGET = 0.9
#: So many logins at a time; a password pool of two cores takes 8.
SILENT_IN_FLIGHT, PASSWORDS_IN_FLIGHT = (4, 8), (2, 4)
#: Below the limit of 10 sessions of a user.
LOGINS_OF_A_USER = 8


def silent(scale: Scale) -> Sequence[Figure]:
    """Bound users log in with a code alone; the sandbox is a process on the same machine."""
    logins, rounds = scale.pick(1_600, 400), scale.pick(5, 2)
    users = [f"user{n}" for n in range(logins * rounds // LOGINS_OF_A_USER)]
    with tempfile.TemporaryDirectory() as name, sandbox_process() as sandbox:
        # Cheap hashes: they only serve to bind the users beforehand.
        directory = Path(name) / "data"
        seed_accounts(directory, users, bcrypt_cost=4)
        options = ServerOptions(
            str(directory), f"http://{sandbox.address}", bcrypt_cost=4, cores=16
        )
        with server_process(options) as server, closing(Phones(sandbox)) as phones:
            bound = _log_in(
                server, phones, [(user, user) for user in users], in_flight=SILENT_IN_FLIGHT
            )
            cpu_s = server.cpu_s()
            results = [
                _log_in(
                    server,
                    phones,
                    [(users[(turn * logins + n) % len(users)], "") for n in range(logins)],
                    in_flight=SILENT_IN_FLIGHT,
                )
                for turn in range(rounds)
            ]
            cpu_s = (server.cpu_s() - cpu_s) / (logins * rounds)
    rate = statistics.median(result.rate for result in results)
    return [
        Figure(
            "silent logins, sandbox on the same machine",
            f"{rate:.0f}/s (median of {rounds} rounds of {logins}; "
            f"{cpu_s * 1000:.1f} ms CPU of the server each)",
            f"≥ {SILENT_TARGET}/s",
            rate >= SILENT_TARGET,
            sum(result.failed for result in [bound, *results]),
        )
    ]


def with_password(scale: Scale) -> Sequence[Figure]:
    """Bound users log in with their password; one bcrypt is timed before and after each round."""
    logins, rounds = scale.pick(48, 16), scale.pick(3, 1)
    users = [f"user{n}" for n in range(logins)]
    results, singles = [], []
    with tempfile.TemporaryDirectory() as name, sandbox_process() as sandbox:
        directory = Path(name) / "data"
        seed_accounts(directory, users, bcrypt_cost=BCRYPT_COST)
        options = ServerOptions(str(directory), f"http://{sandbox.address}")
        with server_process(options) as server, closing(Phones(sandbox)) as phones:
            for _ in range(rounds):
                singles.append(_seconds_of_one_bcrypt())
                results.append(
                    _log_in(
                        server,
                        phones,
                        [(user, user) for user in users],
                        in_flight=PASSWORDS_IN_FLIGHT,
                    )
                )
            singles.append(_seconds_of_one_bcrypt())
    cores = os.cpu_count() or 1
    possible = cores / statistics.median(singles)
    rate = statistics.median(result.rate for result in results)
    return [
        Figure(
            f"password logins, bcrypt cost {BCRYPT_COST}",
            f"{rate:.2f}/s = {rate / possible:.2f} of {cores} cores / "
            f"{statistics.median(singles) * 1000:.0f} ms",
            f"≥ {PASSWORD_TARGET} of cores / one bcrypt",
            rate >= PASSWORD_TARGET * possible,
            sum(result.failed for result in results),
        )
    ]


def _log_in(
    server: ChildProcess,
    phones: Phones,
    logins: Sequence[tuple[str, str]],
    *,
    in_flight: tuple[int, int],
) -> LoadResult:
    """Log in once for each (WeChat user, username or ""), with codes made beforehand."""
    messages = [
        LoginRequest(
            code=phones.code(user), username=username, password=PASSWORD if username else ""
        ).SerializeToString()
        for user, username in logins
    ]
    connections, streams = in_flight
    with Load(server.port, PATH, iter(messages), connections=connections, streams=streams) as load:
        return load.run(len(messages))


def _seconds_of_one_bcrypt() -> float:
    hashed = bcrypt.hashpw(b"password", bcrypt.gensalt(BCRYPT_COST))
    times = []
    for _ in range(5):
        started = time.perf_counter()
        bcrypt.checkpw(b"password", hashed)
        times.append(time.perf_counter() - started)
    return statistics.median(times)
