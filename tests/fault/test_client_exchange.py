"""A client's certificate is exchanged under its calls and none fails.

Promised: wxauth_client follows the files of its Credentials; calls go on while
it does. Proved with a server that asks for certificates: each one that the client
is given has another name, and when calls go by it, the one before loses its right
to call. A client that stayed with the old one would be refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import grpc
import pytest

from tests.bench.seeded_sessions import seed_sessions
from tests.certificates import Authority
from tests.contract.exchanging_clients import TAKEN_OVER
from tests.fault.secured_server import SecuredOptions, SecuredServer, write_callers
from tests.fault.steady_load import (
    PATIENCE_S,
    OneCall,
    SteadyLoad,
    channel_credentials,
    open_channel,
    steady_load,
    until,
    validation,
)
from wxauth_client import AsyncAuthClient, AuthClient, WxauthError, file_watch
from wxauth_client.credentials import Credentials

pytestmark = pytest.mark.alone

EXCHANGES = 20
TASKS = 3
#: Between two looks at the files in the short form; the long one has the real interval.
LOOK_EVERY_S = 0.1


def _name(number: int) -> str:
    """Of the certificate that the clients have after so many exchanges."""
    return f"orders-{number}.internal"


def _with_threads(client: AuthClient, session_id: str) -> OneCall:
    async def once() -> str:
        try:
            await asyncio.to_thread(client.validate, session_id)
        except WxauthError as error:
            return error.reason
        return "OK"

    return once


def _with_asyncio(client: AsyncAuthClient, session_id: str) -> OneCall:
    async def once() -> str:
        try:
            await client.validate(session_id)
        except WxauthError as error:
            return error.reason
        return "OK"

    return once


async def _until_answered(
    reason: str, address: str, credentials: grpc.ChannelCredentials, session_id: str
) -> None:
    """Wait until the server answers so whoever has these credentials."""
    async with open_channel(address, credentials) as channel, asyncio.timeout(PATIENCE_S):
        once = validation(channel, session_id)
        while await once() != reason:
            pass


async def _exchange(
    directory: Path,
    times: int,
    taken_over: Callable[[], int],
    *,
    look_every_s: float = LOOK_EVERY_S,
    follows: bool = True,
) -> SteadyLoad:
    """What became of the calls of both clients while their certificate was exchanged."""
    store = directory / "data"
    [session_id] = seed_sessions(store, 1)
    authority = Authority(directory)
    served = authority.issue("server", "127.0.0.1")
    own = authority.issue(_name(0), file="client")
    used = channel_credentials(authority.ca, own)
    write_callers(store, {}, [_name(0)])
    tls = {
        "certificate_file": str(served.certificate),
        "key_file": str(served.key),
        "client_ca_file": str(authority.ca),
    }
    credentials = Credentials(authority.ca, own.certificate, own.key)
    options = SecuredOptions(str(store), {"tls": tls, "require_callers": True}, look_every_s)
    server = await asyncio.to_thread(SecuredServer, options)
    try:
        async with contextlib.AsyncExitStack() as stack:
            threads = stack.enter_context(AuthClient(server.address, credentials=credentials))
            tasks = await stack.enter_async_context(
                AsyncAuthClient(server.address, credentials=credentials)
            )
            clients: dict[str, OneCall] = {}
            for number in range(TASKS):
                clients[f"threads {number}"] = _with_threads(threads, session_id)
                clients[f"asyncio {number}"] = _with_asyncio(tasks, session_id)
            load = await stack.enter_async_context(steady_load(clients))
            for number in range(1, times + 1):
                new = authority.issue(_name(number), file="new")
                old, used = used, channel_credentials(authority.ca, new)
                write_callers(store, {}, [_name(number - 1), _name(number)])
                await _until_answered("OK", server.address, used, session_id)
                new.key.replace(own.key)
                new.certificate.replace(own.certificate)
                if follows:
                    await until(partial(_reached, taken_over, 2 * number), "both have taken over")
                write_callers(store, {}, [_name(number)])
                await _until_answered("CALLER_UNAUTHENTICATED", server.address, old, session_id)
                await load.another_call_of_each()
        return load
    finally:
        server.kill()


def _reached(count: Callable[[], int], goal: int) -> bool:
    return count() >= goal


def _count_takeovers(caplog: pytest.LogCaptureFixture) -> Callable[[], int]:
    """Each of the two clients says it once for each exchange."""
    caplog.set_level(logging.INFO, "wxauth.client")
    return lambda: sum(record.getMessage() == TAKEN_OVER for record in caplog.records)


@pytest.mark.timeout(240)
def test_no_call_fails_while_the_certificate_of_its_client_is_exchanged(
    tmp_path: Path,
    long: bool,
    server_loop: asyncio.AbstractEventLoop,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look_every_s = file_watch.INTERVAL_S if long else LOOK_EVERY_S
    monkeypatch.setattr(file_watch, "INTERVAL_S", look_every_s)
    taken_over = _count_takeovers(caplog)
    load = asyncio.run_coroutine_threadsafe(
        _exchange(tmp_path, EXCHANGES, taken_over, look_every_s=look_every_s), server_loop
    ).result()
    print(load)
    assert taken_over() == 2 * EXCHANGES
    assert min(load.calls.values()) >= 2 * EXCHANGES
    assert not load.failures
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_control_a_client_that_reads_its_files_once_is_refused(
    tmp_path: Path,
    server_loop: asyncio.AbstractEventLoop,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(file_watch, "INTERVAL_S", math.inf)
    taken_over = _count_takeovers(caplog)
    load = asyncio.run_coroutine_threadsafe(
        _exchange(tmp_path, 1, taken_over, follows=False), server_loop
    ).result()
    assert not taken_over()
    assert {reason for _, reason in load.failures} == {"CALLER_UNAUTHENTICATED"}
    assert {client for client, _ in load.failures} == set(load.calls)
