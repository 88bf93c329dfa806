"""bcrypt of an operator's call waits in the pool of the logins' bcrypt, and counts there."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.running_server import TEST_COST
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.accounts.passwords.hashes_in_pool import HashesInPool
from wxauth_server.errors import Overloaded
from wxauth_server.keyring import create_keyring
from wxauth_server.pools import BoundedPool


class NamesItsThread(PasswordHasher):
    thread = ""

    def hash(self, password: str) -> str:
        self.thread = threading.current_thread().name
        return super().hash(password)


@pytest.fixture
def hasher(tmp_path: Path) -> NamesItsThread:
    return NamesItsThread(create_keyring(tmp_path / "keyring.json"), cost=TEST_COST)


def test_it_is_hashed_in_the_pool(hasher: NamesItsThread) -> None:
    pool = BoundedPool("passwords", threads=1, capacity=1)
    try:
        stored = HashesInPool(hasher, pool).hash("correct horse")
    finally:
        asyncio.run(pool.close())
    assert hasher.verify(stored, "correct horse")
    assert hasher.thread.startswith("passwords")


def test_a_full_pool_refuses_it_at_once(hasher: NamesItsThread) -> None:
    pool = BoundedPool("passwords", threads=1, capacity=1)
    begun, go = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go.wait(10)

    with ThreadPoolExecutor(1) as other:
        held = other.submit(pool.run_and_wait, hold)
        assert begun.wait(10)
        try:
            with pytest.raises(Overloaded):
                HashesInPool(hasher, pool).hash("correct horse")
            assert hasher.thread == ""
        finally:
            go.set()
        held.result(10)
    HashesInPool(hasher, pool).hash("correct horse")
    asyncio.run(pool.close())


def test_what_a_job_raises_comes_out_and_frees_its_place() -> None:
    pool = BoundedPool("test", threads=1, capacity=1)

    def fail() -> None:
        raise LookupError("of the job")

    for _ in range(2):
        with pytest.raises(LookupError, match="of the job"):
            pool.run_and_wait(fail)
    asyncio.run(pool.close())
