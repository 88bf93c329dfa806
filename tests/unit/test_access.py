"""Access: when the files of a client are looked at, and by how many threads."""

from __future__ import annotations

import asyncio
import math
import threading
from pathlib import Path

import pytest

from tests.canary import CANARY
from wxauth_client import file_watch
from wxauth_client.access import Access, Metadata
from wxauth_client.aio_looking import AsyncLooks
from wxauth_client.credentials import Credentials
from wxauth_server.callers.tokens import CALLER_PREFIX, new_token


def written(file: Path) -> Metadata:
    """What goes with a call for the new token in this file."""
    token = CANARY.keep(new_token(CALLER_PREFIX))
    file.write_text(token)
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "token"
    made.touch(0o600)
    return made


@pytest.fixture(autouse=True)
def _looks_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watch, "INTERVAL_S", 0)


def test_files_are_looked_at_once_in_an_interval(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = written(file)
    access = Access("127.0.0.1:1", Credentials(token_file=file), None)
    new = written(file)
    monkeypatch.setattr(file_watch, "INTERVAL_S", math.inf)
    access.look()
    assert (access.is_due, access.metadata()) == (False, old)
    monkeypatch.setattr(file_watch, "INTERVAL_S", 0)
    assert access.is_due
    access.look()
    assert access.metadata() == new


def test_without_files_nothing_is_due() -> None:
    assert not Access("127.0.0.1:1", None, None).is_due


def test_nobody_waits_for_who_looks(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = written(file)
    access = Access("127.0.0.1:1", Credentials(token_file=file), None)
    new = written(file)
    looking, go_on = threading.Event(), threading.Event()
    refresh = access._watches[0].refresh

    def refresh_late() -> bool:
        looking.set()
        assert go_on.wait(10)
        return refresh()

    monkeypatch.setattr(access._watches[0], "refresh", refresh_late)
    thread = threading.Thread(target=access.look)
    thread.start()
    assert looking.wait(10)
    access.look()
    assert access.metadata() == old
    go_on.set()
    thread.join(10)
    assert access.metadata() == new


def test_one_thread_looks_for_an_event_loop(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(file)
    access = Access("127.0.0.1:1", Credentials(token_file=file), None)
    new = written(file)
    began: list[None] = []
    go_on = threading.Event()
    look = access.look

    def look_late() -> None:
        began.append(None)
        assert go_on.wait(10)
        look()

    monkeypatch.setattr(access, "look", look_late)

    async def look_often() -> None:
        looks = AsyncLooks(access)
        for _ in range(5):
            await looks.look(0)
        assert looks._over is not None
        go_on.set()
        await looks._over.wait()
        assert (len(began), access.metadata()) == (1, new)
        await looks.look(10)
        assert len(began) == 2

    asyncio.run(look_often())
