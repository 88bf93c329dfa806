"""A PostgreSQL that hangs or dies under a server that is called all the time (rows 8, 8b).

Promised: while it is away every call ends with STORE_UNAVAILABLE and RetryInfo,
a validation sooner and a login within 1.5 s; within a second after it is
back every client is served; and no thread and no connection is left behind.
Proved by stopping all its processes, and by killing them. The control waits as
its driver does, and is caught.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import grpc
import pytest

from tests.fault.outage_load import BOUND_USERS, MOST_S, USERS, VALIDATION, OutageLoad, outage_load
from tests.fault.postgresql_crash import kill_all_of_it, start_beside_grpc
from tests.fault.seeded_store import seed_accounts, seed_bindings
from tests.fault.server_process import ServerOptions
from tests.fault.serving import ServerProcess, server_process
from tests.fault.steady_load import until
from tests.fault.unprotected import NO_WATCHDOG
from tests.pgserver import PostgresProcess
from wxauth_server.store.settings import StoreSettings

pytestmark = pytest.mark.alone

BCRYPT_COST = 4
RECOVERED_S = 1.0
#: design.md section 6.
LEASE_S = 0.5
#: Of each client, while it is away.
FAILURES = 2


@pytest.fixture
def options(fault_postgres: PostgresProcess, tmp_path: Path) -> ServerOptions:
    """Of a server over a new database, with accounts of which half are bound."""
    directory, url = tmp_path / "data", fault_postgres.new_url()
    seed_accounts(directory, USERS, bcrypt_cost=BCRYPT_COST, url=url)
    seed_bindings(directory, BOUND_USERS, url=url)
    return ServerOptions(
        str(directory), bcrypt_cost=BCRYPT_COST, instant_wechat=True, store_url=url
    )


@contextlib.asynccontextmanager
async def frozen(database: PostgresProcess) -> AsyncIterator[None]:
    with database.frozen():
        yield


@contextlib.asynccontextmanager
async def killed(database: PostgresProcess) -> AsyncIterator[None]:
    await asyncio.to_thread(kill_all_of_it, database)
    try:
        yield
    finally:
        await asyncio.to_thread(start_beside_grpc, database)


Outage = Callable[[PostgresProcess], AbstractAsyncContextManager[None]]


def load_on(server: ServerProcess) -> AbstractAsyncContextManager[OutageLoad]:
    return outage_load(server.address, iter(USERS[len(BOUND_USERS) :]), iter(BOUND_USERS))


def threads(server: ServerProcess) -> int:
    return len(list(Path(f"/proc/{server.pid}/task").iterdir()))


def connections(server: ServerProcess, port: int) -> int:
    """To this port of the loopback, those too of which the other side has gone."""
    inodes = {
        fields[9]
        for line in Path(f"/proc/{server.pid}/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[2].endswith(f":{port:04X}")
    }
    opened = set()
    for descriptor in Path(f"/proc/{server.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            opened.add(str(descriptor.readlink()))
    return sum(f"socket:[{inode}]" in opened for inode in inodes)


@pytest.mark.parametrize("outage", [frozen, killed])
def test_every_call_fails_in_time_and_nothing_is_left(
    outage: Outage,
    fault_postgres: PostgresProcess,
    options: ServerOptions,
    server_loop: asyncio.AbstractEventLoop,
) -> None:
    async def away(server: ServerProcess) -> tuple[OutageLoad, dict[str, float], list[int]]:
        async with load_on(server) as load:
            counts = [threads(server)]
            async with outage(fault_postgres):
                away_s = time.monotonic()
                await load.each_fails(FAILURES, MOST_S)
                # What the server knows of sessions it may say until its lease ends.
                assert not load.succeeded_within(away_s + LEASE_S, time.monotonic())
            back_s = time.monotonic()
            await load.each_succeeds(since_s=back_s)
        # Those that it began to open while the database was away have 2 s for it.
        most = StoreSettings().connections
        await until(
            lambda: 0 < connections(server, fault_postgres.port) <= most, "no more than before"
        )
        counts.append(threads(server))
        return load, load.served_after_s(back_s), counts

    with server_process(options) as server:
        load, served_after_s, [threads_before, threads_after] = asyncio.run_coroutine_threadsafe(
            away(server), server_loop
        ).result()
    print(
        f"{load}; served after {max(served_after_s.values()):.2f} s; {threads_before} threads, "
        f"then {threads_after}"
    )
    reasons = {(call.answer.code, call.answer.reason) for call in load.failed()}
    assert reasons == {(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")}
    assert all(call.answer.retry_after_s for call in load.failed())
    assert not load.late()
    assert max(served_after_s.values()) <= RECOVERED_S
    # A pool gets its threads as it needs them, one for each call at a time at most.
    assert threads_after <= threads_before + len(load.clients) < threads_before + len(load.failed())


def test_control_a_login_without_a_watchdog_hangs(
    fault_postgres: PostgresProcess,
    options: ServerOptions,
    server_loop: asyncio.AbstractEventLoop,
) -> None:
    """The server's limit for validations holds by itself; nothing ends a login but the thaw."""

    async def hang(server: ServerProcess) -> OutageLoad:
        async with load_on(server) as load:
            with fault_postgres.frozen():
                # For long enough: each of them takes a third of a second and more.
                await load.each_fails(6, {VALIDATION})
        return load

    unprotected = dataclasses.replace(options, unprotected=NO_WATCHDOG)
    with server_process(unprotected) as server:
        load = asyncio.run_coroutine_threadsafe(hang(server), server_loop).result()
    print(load)
    assert load.late()
