"""Fixtures that several kinds of tests share, and what holds for the whole run."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from tests.canary import CANARY, CanaryHandler
from tests.running_server import RunningServer, running_server
from tests.sandbox_server import RunningSandbox, running_sandbox
from wechat_sandbox.app import SandboxApp
from wxauth_server.config import DEMO_APP_ID, DEMO_APP_SECRET


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long form of the fault tests")
    parser.addoption("--forbid-skips", action="store_true", help="a skipped test fails the run")


def pytest_configure(config: pytest.Config) -> None:
    CANARY.keep(DEMO_APP_SECRET)
    logging.getLogger().addHandler(CanaryHandler(CANARY))
    # Else each process of this run compiles every module of ours again, 10 s of CPU.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # Files with few tests have the slow ones: were they last, one process would be left
    # with them while the others are done. The unit tests are last, and quick.
    config.option.loadscopereorder = False


def pytest_collection_finish() -> None:
    """Spare the garbage collector the modules and the thousands of tests, which stay."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run for a skip where skips are forbidden."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--forbid-skips") and reporter is not None:
        for report in reporter.stats.get("skipped", []):
            print(f"\nFAILED skipped though skips are forbidden: {report.nodeid}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def no_secret_was_said() -> Iterator[None]:
    """Fails the run of a process for a leak; made first, so that it looks last."""
    yield
    assert CANARY.leaks() == []


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether the fault tests run in their long form."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def server_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The one event loop of this process on which test servers run (grpcio wants one)."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="server-loop", daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=10)
    loop.close()


@pytest.fixture(scope="session")
def sandbox() -> Iterator[RunningSandbox]:
    """A WeChat that knows the demo app. State is kept over the run: use fresh users."""
    with running_sandbox([SandboxApp(DEMO_APP_ID, DEMO_APP_SECRET)]) as running:
        yield running


@pytest.fixture(scope="session")
def own_sandbox() -> Callable[[], object]:
    """Makes a WeChat of its own, for a test that slows it down."""
    return lambda: running_sandbox([SandboxApp(DEMO_APP_ID, DEMO_APP_SECRET)])


@pytest.fixture
def server(
    tmp_path: Path, sandbox: RunningSandbox, server_loop: asyncio.AbstractEventLoop
) -> Iterator[RunningServer]:
    """The real server on a socket, with an empty store and cheap password hashes."""
    with running_server(tmp_path / "data", sandbox, server_loop) as running:
        yield running
