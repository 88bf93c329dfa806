"""A login that is under way when its server is killed ends well at the server that comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.canary import CANARY
from tests.fault import crash_points
from tests.fault.seeded_store import PASSWORD, seed_accounts
from tests.fault.server_process import ServerOptions
from tests.fault.serving import server_process
from tests.fault.test_lost_answers import live_sessions
from tests.sandbox_server import RunningSandbox
from wxauth_client import AsyncAuthClient, AuthClient, Login, ServerUnreachable, retrying
from wxauth_client.retrying import LOGIN
from wxauth_server.config import DEMO_APP_ID, load_configuration
from wxauth_server.wiring import Server

BCRYPT_COST = 4

#: From the death of the server to the start of the next one on its port. Longer
#: than the former waits, 0.7 s and up to a half more by chance; within the
#: shortest of now, 5.1 s, with the 2 s that gRPC may take to notice.
AWAY_S = 1.5

#: Four attempts whatever they fail of, as it was.
FORMER = replace(LOGIN, after=dict.fromkeys(LOGIN.after, 4))


@contextmanager
def serving_again(
    directory: Path, sandbox: RunningSandbox, port: int, loop: asyncio.AbstractEventLoop
) -> Iterator[None]:
    """A server over the same store, on the same port."""
    configuration = load_configuration(
        store={"directory": directory},
        grpc={"listen": f"127.0.0.1:{port}", "lame_duck_s": 0, "stop_grace_s": 5},
        wechat={"base_url": sandbox.base_url},
        passwords={"bcrypt_cost": BCRYPT_COST},
    )

    async def start() -> Server:
        server = Server(configuration)
        assert await server.start() == port
        return server

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(20)


def log_in(kind: str, loop: asyncio.AbstractEventLoop, address: str, code: str, user: str) -> Login:
    async def ask() -> Login:
        async with AsyncAuthClient(address) as client:
            return await client.login(code, username=user, password=PASSWORD)

    if kind == "aio":
        return asyncio.run_coroutine_threadsafe(ask(), loop).result(30)
    with AuthClient(address) as client:
        return client.login(code, username=user, password=PASSWORD)


def log_in_over_a_restart(
    kind: str, directory: Path, sandbox: RunningSandbox, loop: asyncio.AbstractEventLoop
) -> Login:
    """Kill the server while it verifies the password of a login, and start another one."""
    user = f"restart-{kind}"
    seed_accounts(directory, [user], bcrypt_cost=BCRYPT_COST)
    options = ServerOptions(
        str(directory), sandbox.base_url, BCRYPT_COST, crash_point=crash_points.IN_BCRYPT
    )
    with ThreadPoolExecutor(1) as thread, server_process(options) as killed:
        code = CANARY.keep(sandbox.mint(DEMO_APP_ID, user))
        login: Future[Login] = thread.submit(log_in, kind, loop, killed.address, code, user)
        assert killed.killed_itself()
        time.sleep(AWAY_S)  # what is tested, not a wait for something
        with serving_again(directory, sandbox, killed.port, loop):
            return login.result(30)


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_a_server_that_is_killed_and_comes_back(
    kind: str, tmp_path: Path, sandbox: RunningSandbox, server_loop: asyncio.AbstractEventLoop
) -> None:
    login = log_in_over_a_restart(kind, tmp_path, sandbox, server_loop)
    CANARY.keep(login.session_id)
    assert login.account.id == f"id-restart-{kind}"
    assert len(live_sessions(tmp_path)) == 1


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_control_with_the_former_attempts_the_login_is_lost(
    kind: str,
    tmp_path: Path,
    sandbox: RunningSandbox,
    server_loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retrying, "LOGIN", FORMER)
    with pytest.raises(ServerUnreachable):
        log_in_over_a_restart(kind, tmp_path, sandbox, server_loop)
    assert live_sessions(tmp_path) == []
