"""The file system of a client's files hangs: what goes on meanwhile, and what ends.

No file here can be made to hang, so what looks at one does.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.contract.client_twins import KINDS, one_client
from tests.contract.exchanging_clients import Peers, scripted_peers
from tests.contract.secured_clients import caller_token, shown
from wxauth_client import AsyncAuthClient, Credentials, ServerUnreachable, file_watch

LONG_S = 8.0


class Hanging:
    """Looks at files, all of which hang until they are let go, or for LONG_S."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._look = file_watch._mark
        self._monkeypatch = monkeypatch
        self._changed = threading.Condition()
        self._over = False
        self.looks = 0

    def begin(self) -> None:
        """From here on every look hangs."""
        self._monkeypatch.setattr(file_watch, "_mark", self._hang)

    def wait_inside(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.looks > 0, 10)

    def end(self) -> bool:
        """Let them go; whether they hung until now."""
        with self._changed:
            still, self._over = not self._over, True
            self._changed.notify_all()
            return still

    def _hang(self, file: Path) -> Any:
        with self._changed:
            self.looks += not self._over
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._over, LONG_S)
            self._over = True
        return self._look(file)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    with scripted_peers(tmp_path) as made:
        yield made


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(caller_token())
    return file


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    monkeypatch.setattr(file_watch, "INTERVAL_S", 0)
    made = Hanging(monkeypatch)
    yield made
    made.end()


def test_a_look_that_hangs_holds_up_one_call(
    hanging: Hanging,
    kind: str,
    peers: Peers,
    token_file: Path,
    server_loop: asyncio.AbstractEventLoop,
) -> None:
    """An asyncio client's call even comes back."""
    credentials = shown(peers.authority, peers.own, token_file=token_file)
    with (
        one_client(kind, peers.server.address, server_loop, credentials=credentials) as ask,
        ThreadPoolExecutor(1) as thread,
    ):
        ask("validate", "x", timeout_s=5)
        peers.show("second.internal")
        hanging.begin()
        held = thread.submit(ask, "validate", "x", timeout_s=1)
        hanging.wait_inside()
        for _ in range(3):
            ask("validate", "x", timeout_s=5)
        assert ask("ready", 5) is True
        if kind == "aio":
            held.result(30)
        assert hanging.looks == 1
        assert hanging.end()
        assert set(peers.seen) == {"first.internal"}
        held.exception(30)
        for _ in range(100):  # the look that hung ends at some time
            if peers.seen[-1] == "second.internal":
                break
            ask("validate", "x", timeout_s=5)
        assert peers.seen[-1] == "second.internal"


def test_who_waits_for_a_look_that_hangs_ends_with_the_client(
    hanging: Hanging, token_file: Path, server_loop: asyncio.AbstractEventLoop
) -> None:
    async def close_meanwhile() -> None:
        client = AsyncAuthClient("127.0.0.1:1", credentials=Credentials(token_file=token_file))
        hanging.begin()
        call = asyncio.create_task(client.phone_number("x", "code", timeout_s=120))
        await asyncio.to_thread(hanging.wait_inside)
        await client.close()
        with pytest.raises(ServerUnreachable, match="closed"):
            await call

    asyncio.run_coroutine_threadsafe(close_meanwhile(), server_loop).result(30)
    assert hanging.end()


def test_a_machine_without_a_thread_left_goes_on_with_what_there_is(
    peers: Peers,
    token_file: Path,
    server_loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(file_watch, "INTERVAL_S", 0)
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "wxauth-files":
            raise RuntimeError("can't start new thread")
        start(thread)

    credentials = shown(peers.authority, peers.own, token_file=token_file)
    with one_client("aio", peers.server.address, server_loop, credentials=credentials) as ask:
        with monkeypatch.context() as full:
            full.setattr(threading.Thread, "start", refuse)
            peers.show("second.internal")
            ask("validate", "x", timeout_s=5)
        ask("validate", "x", timeout_s=5)
    assert peers.seen == ["first.internal", "second.internal"]


ENDING = """
import asyncio, sys, threading
from pathlib import Path
from wxauth_client import AsyncAuthClient, Credentials, ServerUnreachable, file_watch

async def main():
    credentials = Credentials(token_file=Path(sys.argv[1]))
    async with AsyncAuthClient("127.0.0.1:1", credentials=credentials) as client:
        file_watch.INTERVAL_S = 0
        file_watch._mark = lambda _file: threading.Event().wait()
        try:
            await client.validate("x")
        except ServerUnreachable:
            print("called")

asyncio.run(main())
print("ended")
"""


def test_loop_and_process_end_while_a_look_hangs(token_file: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDING, str(token_file)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("called\nended\n", "")
    assert ended.returncode == 0
