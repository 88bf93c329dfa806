"""The gRPC server's certificate is exchanged under load and no call fails (reliability.md row 36).

Promised: certificate and key are replaced while the server runs; connections that
are there go on, new ones are shown the new certificate, and a pair that does not fit
together leaves the old one in use, with one error in the log. Proved with clients
that keep their connection and clients that connect anew for every call, none of
which tries a second time.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.bench.seeded_sessions import seed_sessions
from tests.certificates import Authority
from tests.fault.certificate_changes import (
    Change,
    Setting,
    certificate_first,
    exchange,
    key_first,
)
from tests.fault.secured_server import (
    RESTARTED,
    SecuredOptions,
    SecuredServer,
    new_caller_token,
    write_callers,
)
from tests.fault.steady_load import (
    OneCall,
    SteadyLoad,
    channel_credentials,
    open_channel,
    steady_load,
    validation,
    validation_reconnecting,
)
from wxauth_client.file_watch import INTERVAL_S

pytestmark = pytest.mark.alone

EXCHANGES = 20
KEEPING, RECONNECTING = 4, 4
#: Between two looks at the files in the short form; the long one has the real interval.
LOOK_EVERY_S = 0.1


async def _under_load(
    directory: Path,
    change: Change,
    *,
    mutual: bool = False,
    look_every_s: float = LOOK_EVERY_S,
    unprotected: str = "",
) -> tuple[SteadyLoad, list[str]]:
    """What became of the calls, and the errors that the server logged."""
    store = directory / "data"
    [session_id] = seed_sessions(store, 1)
    authority = Authority(directory)
    issued = authority.issue("server", "127.0.0.1")
    own, token = None, new_caller_token()
    tls = {"certificate_file": str(issued.certificate), "key_file": str(issued.key)}
    if mutual:
        own, token = authority.issue("orders.internal"), ""
        tls["client_ca_file"] = str(authority.ca)
        write_callers(store, {}, ["orders.internal"])
    else:
        write_callers(store, {"orders": token})
    grpc_table = {"tls": tls, "require_callers": True}
    options = SecuredOptions(str(store), grpc_table, look_every_s, unprotected)
    credentials = channel_credentials(authority.ca, own)
    server = await asyncio.to_thread(SecuredServer, options)
    try:
        async with AsyncExitStack() as stack:
            clients: dict[str, OneCall] = {}
            for number in range(KEEPING):
                channel = await stack.enter_async_context(open_channel(server.address, credentials))
                clients[f"keeps {number}"] = validation(channel, session_id, token)
            for number in range(RECONNECTING):
                clients[f"reconnects {number}"] = validation_reconnecting(
                    server.address, credentials, session_id, token
                )
            load = await stack.enter_async_context(steady_load(clients))
            await change(Setting(authority, server.port, load, server.errors, own))
        print(load)
        return load, server.errors()
    finally:
        server.kill()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("mutual", [False, True], ids=["token", "mtls"])
def test_no_call_fails_while_certificates_are_exchanged(
    tmp_path: Path, long: bool, server_loop: asyncio.AbstractEventLoop, mutual: bool
) -> None:
    load, errors = asyncio.run_coroutine_threadsafe(
        _under_load(
            tmp_path,
            partial(exchange, times=EXCHANGES),
            mutual=mutual,
            look_every_s=INTERVAL_S if long else LOOK_EVERY_S,
        ),
        server_loop,
    ).result()
    assert min(load.calls.values()) >= 2 * EXCHANGES
    assert not load.failures
    assert errors == []


@pytest.mark.parametrize("change", [key_first, certificate_first])
def test_a_pair_that_does_not_fit_changes_nothing_but_the_log(
    tmp_path: Path, long: bool, server_loop: asyncio.AbstractEventLoop, change: Change
) -> None:
    look_every_s = INTERVAL_S if long else LOOK_EVERY_S
    load, errors = asyncio.run_coroutine_threadsafe(
        _under_load(tmp_path, change, look_every_s=look_every_s), server_loop
    ).result()
    assert not load.failures
    [error] = errors
    assert "the new one cannot be used, the old one stays" in error
    assert "is not the key of the certificate" in error


@pytest.mark.parametrize(
    "change", [partial(exchange, times=1), certificate_first], ids=["exchange", "broken"]
)
def test_control_a_restart_for_each_exchange_fails_calls(
    tmp_path: Path, server_loop: asyncio.AbstractEventLoop, change: Change
) -> None:
    """A server that starts again cuts connections off, and for a broken pair does not start."""
    load, _ = asyncio.run_coroutine_threadsafe(
        _under_load(tmp_path, change, unprotected=RESTARTED), server_loop
    ).result()
    assert load.failed
