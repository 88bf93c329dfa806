"""A server whose writer or password pool is taken, and the patience to see it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from tests.running_server import RunningServer
from wxauth_server.store.sqlite import DATABASE_NAME


@contextmanager
def held_writer(server: RunningServer) -> Iterator[None]:
    """Another process has the write lock of the database."""
    path = server.configuration.store.directory / DATABASE_NAME
    with closing(sqlite3.connect(path, isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            intruder.execute("ROLLBACK")


@contextmanager
def full_password_pool(server: RunningServer) -> Iterator[None]:
    """Every place of the password pool is taken."""
    pool, done = server.server._pools.passwords, threading.Event()
    jobs = []
    while not pool.full:
        jobs.append(asyncio.run_coroutine_threadsafe(pool.run(done.wait, 30), server.loop))
        wait_until(lambda: pool._jobs >= len(jobs))
    try:
        yield
    finally:
        done.set()
        for job in jobs:
            job.result(10)


def wait_until(condition: Callable[[], bool]) -> None:
    """Look until it holds, for 10 s at most."""
    look_again = threading.Event()
    for _ in range(2000):
        if condition():
            return
        look_again.wait(0.005)
    raise AssertionError("it never came to that")
