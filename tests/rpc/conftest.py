"""What the tests of the rpcs share: servers of several apps, and clocks that stand still."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.admin_caller import AdminCaller, admin_of
from tests.canary import CANARY
from tests.rpc.mini_program import Phone
from tests.running_server import FakeClock, RunningServer, running_server
from tests.sandbox_server import RunningSandbox, running_sandbox
from wechat_sandbox.app import SandboxApp
from wxauth_server.config import DEMO_APP_ID, DEMO_APP_SECRET

#: Two mini-programs of one company's Open Platform account, and a third one of
#: it whose operator has said nothing of that.
SHOP = SandboxApp("wx1111111111111111", "1" * 32, "company")
MALL = SandboxApp("wx2222222222222222", "2" * 32, "company")
BANK = SandboxApp("wx3333333333333333", "3" * 32, "company")

#: Starts a server. Keywords are settings of the demo app; `apps` names others instead,
#: `tables` are other tables of the configuration.
Serve = Callable[..., RunningServer]


@pytest.fixture
def clock() -> FakeClock:
    """At the present moment, as the sandbox has it, until the test moves it."""
    return FakeClock(int(time.time() * 1000))


@pytest.fixture(scope="session")
def wechat_of_three() -> Iterator[RunningSandbox]:
    """A WeChat that knows SHOP, MALL and BANK. State is kept over the run: use fresh users."""
    for app in (SHOP, MALL, BANK):
        CANARY.keep(app.secret)
    with running_sandbox([SHOP, MALL, BANK]) as running:
        yield running


@pytest.fixture
def serve(
    tmp_path: Path,
    sandbox: RunningSandbox,
    server_loop: asyncio.AbstractEventLoop,
    clock: FakeClock,
) -> Iterator[Serve]:
    """Each server it starts has an empty store of its own, and the clock of the test."""
    numbers = itertools.count(1)
    with ExitStack() as running:

        def start(
            *,
            apps: list[dict[str, Any]] | None = None,
            wechat: RunningSandbox = sandbox,
            tables: dict[str, Any] | None = None,
            **settings: Any,
        ) -> RunningServer:
            demo = {"app_id": DEMO_APP_ID, "app_secret": DEMO_APP_SECRET} | settings
            return running.enter_context(
                running_server(
                    tmp_path / f"data{next(numbers)}",
                    wechat,
                    server_loop,
                    clock=clock,
                    apps=apps or [demo],
                    **(tables or {}),
                )
            )

        yield start


@pytest.fixture
def timed(serve: Serve) -> RunningServer:
    """A server of the demo app whose clock the test moves."""
    return serve()


def app_of(app: SandboxApp, **settings: Any) -> dict[str, Any]:
    """An app as a configuration has it."""
    return {"app_id": app.app_id, "app_secret": app.secret} | settings


@pytest.fixture
def own_clock_sandbox() -> Iterator[tuple[RunningSandbox, list[float]]]:
    """A WeChat of the demo app and its time in Unix seconds, which the test moves."""
    seconds = [time.time()]
    with running_sandbox(
        [SandboxApp(DEMO_APP_ID, DEMO_APP_SECRET)], clock=lambda: seconds[0]
    ) as running:
        yield running, seconds


@pytest.fixture
def phone(timed: RunningServer) -> Phone:
    """A WeChat user with a live session."""
    user = timed.bound()
    return Phone(timed, user, timed.login(code=timed.code(user)).session_id)


@pytest.fixture
def admin(timed: RunningServer) -> AdminCaller:
    """An operator of the server whose clock the test moves."""
    return admin_of(timed)
