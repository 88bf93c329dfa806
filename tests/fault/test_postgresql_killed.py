"""A PostgreSQL that is killed loses nothing that was acknowledged (reliability.md row 8).

Promised: what a write of the store acknowledged is there after a crash of the
database, also where its operator has set synchronous_commit off; once it accepts
connections again, every writer's next write comes through within a second.
Proved by killing all of its processes at once, under eight writers, and comparing
every acknowledgement with what it has after the restart. What it writes by and by
is stopped, so that nothing is saved by luck: the control commits asynchronously,
and is caught. That a power cut loses nothing either is the business of fsync.
"""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import Self

import psycopg
import pytest

from tests.database_server import PATIENCE_S
from tests.fault.postgresql_crash import freeze_late_writers, kill_all_of_it
from tests.fault.seeded_store import add_account
from tests.pgserver import PostgresProcess
from wxauth_server.errors import StoreUnavailable
from wxauth_server.store.interface import Transaction
from wxauth_server.store.postgresql import PostgreSQLStore

pytestmark = pytest.mark.alone

WRITERS = 8
#: Each writer's, between two kills.
LEAST_ACKS = 10
RECOVERED_S = 1.0


@dataclass
class Findings:
    """What the comparison of all acknowledgements with the database found."""

    acks: int = 0
    lost: set[str] = field(default_factory=set)
    unacked: int = 0
    outages_s: list[float] = field(default_factory=list)
    recoveries_s: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{len(self.outages_s)} kills: {self.acks} acks, {len(self.lost)} lost, "
            f"{self.unacked} committed but unacked; outages "
            f"{', '.join(f'{s:.2f} s' for s in self.outages_s)}, of which after it accepted "
            f"{', '.join(f'{s:.2f} s' for s in self.recoveries_s)}"
        )


class Writers:
    """Threads that add accounts, one after the other, until the block ends."""

    def __init__(self, store: PostgreSQLStore, *, asynchronous: bool) -> None:
        self._store = store
        self._asynchronous = asynchronous
        self.acked: set[str] = set()
        self._acks = [0] * WRITERS
        self._changed = threading.Condition()
        self._ending = False
        self._broken: list[Exception] = []
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(WRITERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert not self._broken

    def await_acks(self, least: int) -> None:
        """Wait until each of them has had so many more."""
        with self._changed:
            self._acks = [0] * WRITERS
            done = self._changed.wait_for(
                lambda: self._broken or min(self._acks) >= least, PATIENCE_S
            )
            assert done, self._acks

    def _run(self, writer: int) -> None:
        try:
            for number in itertools.count():
                if self._ending:
                    return
                self._write(writer, f"w{writer}n{number}")
        except Exception as error:  # noqa: BLE001 - shown by the test
            with self._changed:
                self._broken.append(error)
                self._changed.notify_all()

    def _write(self, writer: int, username: str) -> None:
        def work(tx: Transaction) -> None:
            if self._asynchronous:
                tx.execute("SET LOCAL synchronous_commit = off")
            add_account(tx, username, None)

        try:
            self._store.write(work)
        except StoreUnavailable:
            return
        with self._changed:
            self.acked.add(username)
            self._acks[writer] += 1
            self._changed.notify_all()


def run_kills(server: PostgresProcess, kills: int, *, asynchronous: bool = False) -> Findings:
    """Kill it so often under writers, and start it again; what was lost."""
    found = Findings()
    url = server.new_url()
    with closing(PostgreSQLStore(url)) as store:
        with Writers(store, asynchronous=asynchronous) as writers:
            for _ in range(kills):
                freeze_late_writers(server)
                writers.await_acks(LEAST_ACKS)
                killed_s = time.monotonic()
                kill_all_of_it(server)
                server.start()
                accepts_s = time.monotonic()
                # The second one of each: the first may be an answer from before the kill.
                writers.await_acks(2)
                found.recoveries_s.append(time.monotonic() - accepts_s)
                found.outages_s.append(time.monotonic() - killed_s)
        with psycopg.connect(url) as reader:
            stored = {name for (name,) in reader.execute("SELECT username FROM accounts")}
    found.acks = len(writers.acked)
    found.lost = writers.acked - stored
    found.unacked = len(stored - writers.acked)
    return found


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost(fault_postgres: PostgresProcess, long: bool) -> None:
    found = run_kills(fault_postgres, 5 if long else 2)
    print(found)
    assert not found.lost
    assert max(found.recoveries_s) <= RECOVERED_S


def test_control_asynchronous_commits_are_lost(fault_postgres: PostgresProcess) -> None:
    found = run_kills(fault_postgres, 1, asynchronous=True)
    print(found)
    assert found.lost
