"""Refusals are counted: exactly, a row for each minute and cause, and never without bounds."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

from tests.running_server import FakeClock
from wxauth_server.auth import refusal_counts as module
from wxauth_server.auth.refusal_counts import MOST_APART, RefusalCounts, network_of
from wxauth_server.errors import StoreUnavailable
from wxauth_server.pools import BoundedPool
from wxauth_server.store.audit import Event
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sqlite import DATABASE_NAME, SQLiteStore

T = TypeVar("T")

APP = "wx0000000000000001"
#: The beginning of a minute.
MINUTE = 1_790_000_040_000


class FailingStore(SQLiteStore):
    """The real one, but its writes fail on demand: before the commit, or after it."""

    fail_before = fail_after = False
    #: A write that has begun waits for this.
    go = threading.Event()

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()

    def write(self, work: Callable[[Any], T]) -> T:
        self.begun.set()
        assert self.go.wait(10)
        if self.fail_before:
            raise StoreUnavailable
        result = super().write(work)
        if self.fail_after:
            raise StoreUnavailable
        return result


class Row(NamedTuple):
    at: int
    event: str
    reason: str | None
    app_id: str | None
    openid: str | None
    client_address: str | None
    count: int


class Played:
    """What a scenario has to do with."""

    def __init__(self, store: FailingStore, pool: BoundedPool) -> None:
        self.store = store
        self.pool = pool
        self.clock = FakeClock(MINUTE)
        self.refusals = self.again()

    def again(self) -> RefusalCounts:
        """A server of its own on the same database."""
        self.refusals = RefusalCounts(self.store, self.pool, self.clock)
        return self.refusals

    def note(self, address: str = "", openid: str = "", reason: str = "ADDRESS") -> None:
        self.refusals.note(
            Event.THROTTLED, reason=reason, app_id=APP, openid=openid, client_address=address
        )

    def rows(self) -> list[Row]:
        def read(tx: Transaction) -> list[Row]:
            columns = ", ".join(Row._fields)
            found = tx.execute(f"SELECT {columns} FROM audit_events ORDER BY at, count")
            return [Row._make(row) for row in found]

        return self.store.read(read)


Scenario = Callable[[Played], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[[Scenario], None]]:
    """Runs a scenario on an event loop."""

    def run(scenario: Scenario) -> None:
        async def on_loop() -> None:
            pool = BoundedPool("writer", threads=1, capacity=4)
            store = FailingStore(tmp_path / "data")
            try:
                await scenario(Played(store, pool))
            finally:
                store.go.set()
                await pool.close()
                store.close()

        asyncio.run(on_loop())

    yield run


Play = Callable[[Scenario], None]


def test_the_same_refusal_is_one_row_a_minute(play: Play) -> None:
    async def scenario(played: Played) -> None:
        for _ in range(5):
            played.note("192.0.2.1", "oOne")
        played.note("192.0.2.1", "oTwo")
        await played.refusals.flush()
        same = (MINUTE, "THROTTLED", "ADDRESS", APP)
        expected = [Row(*same, "oTwo", "192.0.2.1", 1), Row(*same, "oOne", "192.0.2.1", 5)]
        assert played.rows() == expected

        played.note("192.0.2.1", "oOne")
        await played.refusals.flush()
        assert played.rows() == [expected[0], expected[1]._replace(count=6)]

    play(scenario)


def test_what_differs_is_another_row(play: Play) -> None:
    async def scenario(played: Played) -> None:
        noted = played.refusals.note
        noted(Event.THROTTLED, reason="A")
        noted(Event.LOGIN_REFUSED, reason="A")
        noted(Event.LOGIN_REFUSED, reason="B")
        noted(Event.LOGIN_REFUSED, reason="B", app_id=APP)
        noted(Event.LOGIN_REFUSED, reason="B", openid=APP)
        noted(Event.LOGIN_REFUSED, reason="B", client_address=APP)
        await played.refusals.flush()
        rows = played.rows()
        assert len(rows) == 6
        assert {row.count for row in rows} == {1}
        assert None in {row.openid for row in rows}, "empty is absent"

    play(scenario)


def test_a_minute_ends_on_the_clock(play: Play) -> None:
    async def scenario(played: Played) -> None:
        for at in (0, 1, 59_999, 60_000, 60_001, 119_999, 120_000):
            played.clock.ms = MINUTE + at
            played.note("192.0.2.1")
        await played.refusals.flush()
        found = {(row.at - MINUTE, row.count) for row in played.rows()}
        assert found == {(0, 3), (60_000, 3), (120_000, 1)}

    play(scenario)


@pytest.mark.parametrize("back_ms", [1_000, 60_000, 86_400_000])
def test_no_count_is_lost_when_the_clock_is_set_back(play: Play, back_ms: int) -> None:
    """Though it is another row then, since the first one may be written already."""

    async def scenario(played: Played) -> None:
        for at in (0, 60_000, 60_000 - back_ms, 60_000):
            played.clock.ms = MINUTE + at
            played.note("192.0.2.1")
            await played.refusals.flush()
        assert sum(row.count for row in played.rows()) == 4

    play(scenario)


# --- Bounds -------------------------------------------------------------------


def test_a_flood_fills_neither_memory_nor_disk(play: Play) -> None:
    """100,000 refusals from 50,000 addresses: whoever is beyond the limit is one row."""

    async def scenario(played: Played) -> None:
        for number in range(100_000):
            played.note(f"198.51.{number % 50_000 >> 8}.{number & 0xFF}", f"o{number % 50_000}")
            if number % 30_000 == 0:
                await played.refusals.flush()
        await played.refusals.flush()
        rows = played.rows()
        assert len(rows) == MOST_APART + 1
        others = [row for row in rows if row.client_address is None]
        assert [(row.openid, row.app_id, row.reason) for row in others] == [(None, APP, "ADDRESS")]
        assert sum(row.count for row in rows) == 100_000
        assert others[0].count == 100_000 - 2 * MOST_APART

        played.clock.ms += 60_000
        played.note("192.0.2.1")
        await played.refusals.flush()
        assert played.rows()[-1].client_address == "192.0.2.1", "the next minute begins anew"

    play(scenario)


def test_memory_is_bounded_while_the_store_fails(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours of a flood; and nothing of it is lost but who it was."""
    monkeypatch.setattr(module, "MOST_WAITING", 3_000)

    async def scenario(played: Played) -> None:
        played.store.fail_before = True
        for minute in range(60):
            played.clock.ms = MINUTE + minute * 60_000
            for number in range(1_500):
                played.note(f"198.51.{number >> 8}.{number & 0xFF}")
        await played.refusals.flush()
        assert played.rows() == []
        played.store.fail_before = False
        await played.refusals.flush()
        rows = played.rows()
        assert len(rows) <= 3_000 + 60
        assert sum(row.count for row in rows) == 60 * 1_500

    play(scenario)


# --- Exactness ----------------------------------------------------------------


@pytest.mark.parametrize("moment", ["fail_before", "fail_after"])
def test_a_write_that_failed_is_repeated(play: Play, moment: str) -> None:
    """Also one that was committed after all: then nothing is counted twice."""

    async def scenario(played: Played) -> None:
        setattr(played.store, moment, True)
        for _ in range(3):
            played.note("192.0.2.1")
            await played.refusals.flush()
        setattr(played.store, moment, False)
        played.note("192.0.2.1")
        await played.refusals.flush()
        assert [row.count for row in played.rows()] == [4]

    play(scenario)


def test_a_write_that_close_cuts_short_is_not_counted_twice(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that has begun runs on when its task is cancelled."""
    monkeypatch.setattr(module, "FLUSH_INTERVAL_S", 0.001)

    async def scenario(played: Played) -> None:
        played.store.go.clear()
        for _ in range(7):
            played.note("192.0.2.1")
        played.refusals.start()
        assert await asyncio.to_thread(played.store.begun.wait, 10)
        closing_ = asyncio.create_task(played.refusals.close())
        await asyncio.sleep(0)  # it has cancelled the flush
        played.store.go.set()
        await closing_
        assert [row.count for row in played.rows()] == [7]

    play(scenario)


def test_what_is_noted_during_a_write_is_written_next(play: Play) -> None:
    async def scenario(played: Played) -> None:
        played.store.go.clear()
        played.note("192.0.2.1")
        flushing = asyncio.create_task(played.refusals.flush())
        assert await asyncio.to_thread(played.store.begun.wait, 10)
        played.note("192.0.2.1")
        played.note("192.0.2.2")
        played.store.go.set()
        await flushing
        assert [row.count for row in played.rows()] == [1]
        await played.refusals.flush()
        assert [row.count for row in played.rows()] == [1, 2]

    play(scenario)


def test_a_restart_in_the_same_minute_adds_up(play: Play) -> None:
    """The rows of the server before are left as they are."""

    async def scenario(played: Played) -> None:
        for count in (2, 3):
            for _ in range(count):
                played.note("192.0.2.1")
            await played.refusals.close()
            played.again()
        assert [row.count for row in played.rows()] == [2, 3]

    play(scenario)


# --- In the background --------------------------------------------------------


@pytest.mark.parametrize("failing", [False, True])
def test_it_is_written_in_the_background(
    play: Play, monkeypatch: pytest.MonkeyPatch, failing: bool
) -> None:
    """No failure ends that."""
    monkeypatch.setattr(module, "FLUSH_INTERVAL_S", 0.001)

    async def scenario(played: Played) -> None:
        played.store.fail_before = failing
        played.note("192.0.2.1")
        played.refusals.start()
        assert await asyncio.to_thread(played.store.begun.wait, 10)
        played.store.fail_before = False
        while not played.rows():
            await asyncio.sleep(0.001)
        await played.refusals.close()
        assert [row.count for row in played.rows()] == [1]

    play(scenario)


def test_close_writes_what_is_due(play: Play, tmp_path: Path) -> None:
    async def scenario(played: Played) -> None:
        played.refusals.start()
        played.note("192.0.2.1")
        await played.refusals.close()
        with closing(sqlite3.connect(tmp_path / "data" / DATABASE_NAME)) as other:
            [(count,)] = other.execute("SELECT count FROM audit_events")
        assert count == 1

    play(scenario)


# --- Addresses ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("", ""),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("2001:0db8:0001:0002::1", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:0201", "192.0.2.1"),
        ("no:address", ""),
    ],
)
def test_an_ipv6_address_counts_by_its_network(address: str, network: str) -> None:
    """One subscriber has 2**64 of them: they would make as many rows."""
    assert network_of(address) == network


def test_an_attacker_with_a_network_is_one_row(play: Play) -> None:
    async def scenario(played: Played) -> None:
        for number in range(2_000):
            played.note(f"2001:db8:1:2::{number:x}")
        await played.refusals.flush()
        [row] = played.rows()
        assert (row.client_address, row.count) == ("2001:db8:1:2::/64", 2_000)

    play(scenario)
