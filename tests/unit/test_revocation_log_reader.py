"""The reader of the revocation log, on a real store: what it says, and when it says nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.revocation_reading import HeldStore, append, first, next_read, numbers, play
from wxauth_client.boot_clock import boot_time_s
from wxauth_server.revocations.log_reader import INTERVAL_S, RevocationLogReader
from wxauth_server.store.revocation_log import LogPosition
from wxauth_server.store.sqlite import SQLiteStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HeldStore]:
    store = HeldStore(tmp_path / "data")
    yield store
    store.close()


def test_the_clock_goes_on_while_the_machine_sleeps() -> None:
    """It is the one that the kernel counts its uptime on."""
    uptime_s = float(Path("/proc/uptime").read_text("ascii").split()[0])
    assert abs(boot_time_s() - uptime_s) < 5
    assert boot_time_s() <= boot_time_s()


def test_an_entry_is_seen_by_the_next_read(store: HeldStore) -> None:
    """Of all processes, in the order of the commits, and the place to resume with it."""

    async def scenario(reader: RevocationLogReader) -> None:
        follower = reader.follow()
        begin = await first(follower)
        assert (begin.reset, begin.entries) == (True, ())
        other = SQLiteStore(store.path.parent)
        try:
            append(other, 7)
        finally:
            other.close()
        append(store, 8, 9)
        update = await next_read(store, follower)
        assert (update.reset, numbers(update)) == (False, [7, 8, 9])
        assert update.end == LogPosition(begin.end.database_id, 3)
        again = await next_read(store, follower)
        assert (again.reset, again.entries, again.end) == (False, (), update.end)

    play(store, scenario)
    assert len(store.begun_s) >= 3


def test_the_time_is_taken_before_the_read(store: HeldStore) -> None:
    """To the read: what commits meanwhile may be in it or not, what came before is."""

    async def scenario(reader: RevocationLogReader) -> None:
        follower = reader.follow()
        for _ in range(3):
            update = await next_read(store, follower)
            begun_s = min(store.begun_s, key=lambda each: abs(each - update.as_of_s))
            assert update.as_of_s <= begun_s

    play(store, scenario)


def test_a_read_that_hangs_says_nothing(store: HeldStore) -> None:
    """No later time, until it ends; and then that of its begin."""

    async def scenario(reader: RevocationLogReader) -> None:
        follower = reader.follow()
        await first(follower)
        store.go.clear()
        assert await asyncio.to_thread(store.waiting.wait, 10)
        held, reads = follower.as_of_s, len(store.begun_s)
        append(store, 1)
        news = asyncio.ensure_future(follower.news())
        await asyncio.sleep(2 * INTERVAL_S)
        assert (follower.as_of_s, len(store.begun_s), news.done()) == (held, reads, False)
        let_go_s = boot_time_s()
        store.go.set()
        await news
        update = follower.take()
        assert update is not None
        assert numbers(update) == [1]
        assert update.as_of_s < let_go_s - INTERVAL_S

    play(store, scenario)


def test_a_read_that_fails_says_nothing(store: HeldStore, caplog: pytest.LogCaptureFixture) -> None:
    """It is tried again, told of once, and nothing is missed by it."""
    caplog.set_level(logging.INFO, "wxauth.store")
    rename = "ALTER TABLE {} RENAME TO {}".format

    async def scenario(reader: RevocationLogReader) -> None:
        follower = reader.follow()
        await first(follower)
        append(store, 1)
        await next_read(store, follower)
        append(store, 2)
        store.write(lambda tx: tx.execute(rename("revocation_log", "elsewhere")))
        reads = len(store.begun_s)
        while len(store.begun_s) < reads + 4:
            await store.one_more_read()
        as_of_s = follower.as_of_s
        assert as_of_s is not None
        assert as_of_s < store.begun_s[reads]
        store.write(lambda tx: tx.execute(rename("elsewhere", "revocation_log")))
        update = await next_read(store, follower)
        assert (update.reset, update.end.position) == (False, 2)

    play(store, scenario)
    told = [record.message for record in caplog.records if "revocation" in record.message]
    assert told == ["revocation log not read", "revocation log read again"]


def test_reads_keep_their_distance(store: HeldStore) -> None:
    """The store is not asked all the time, however fast it answers."""

    async def scenario(reader: RevocationLogReader) -> None:
        follower = reader.follow()
        await first(follower)
        begun_s = time.monotonic()
        reads = len(store.begun_s)
        while len(store.begun_s) < reads + 3:
            await store.one_more_read()
        assert time.monotonic() - begun_s > 2 * INTERVAL_S * 0.9

    play(store, scenario)


def test_a_transaction_that_notes_nothing_costs_nothing(store: HeldStore) -> None:
    """The position is not touched, so that writes that end nothing never wait for it."""
    statements: list[str] = []
    store._writer.conn.set_trace_callback(statements.append)
    store.write(lambda tx: tx.execute("SELECT 1"))
    assert not [statement for statement in statements if "revocation" in statement]
