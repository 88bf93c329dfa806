"""Refusals are counted exactly: a row for each minute and cause, whatever fails."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.refusals import APP, MINUTE, Played, Row, play
from wxauth_server.auth import refusal_counts as module
from wxauth_server.store.audit import Event
from wxauth_server.store.sqlite import DATABASE_NAME


def test_the_same_refusal_is_one_row_a_minute(tmp_path: Path) -> None:
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
        assert played.rows() == [expected[0], expected[1]._replace(times=6)]

    play(tmp_path, scenario)


def test_what_differs_is_another_row(tmp_path: Path) -> None:
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
        assert {row.times for row in rows} == {1}
        assert None in {row.openid for row in rows}, "empty is absent"

    play(tmp_path, scenario)


def test_a_minute_ends_on_the_clock(tmp_path: Path) -> None:
    async def scenario(played: Played) -> None:
        for at in (0, 1, 59_999, 60_000, 60_001, 119_999, 120_000):
            played.clock.ms = MINUTE + at
            played.note("192.0.2.1")
        await played.refusals.flush()
        found = {(row.at - MINUTE, row.times) for row in played.rows()}
        assert found == {(0, 3), (60_000, 3), (120_000, 1)}

    play(tmp_path, scenario)


@pytest.mark.parametrize("back_ms", [1_000, 60_000, 86_400_000])
def test_no_count_is_lost_when_the_clock_is_set_back(tmp_path: Path, back_ms: int) -> None:
    """Though it is another row then, since the first one may be written already."""

    async def scenario(played: Played) -> None:
        for at in (0, 60_000, 60_000 - back_ms, 60_000):
            played.clock.ms = MINUTE + at
            played.note("192.0.2.1")
            await played.refusals.flush()
        assert sum(row.times for row in played.rows()) == 4

    play(tmp_path, scenario)


# --- Exactness ----------------------------------------------------------------


@pytest.mark.parametrize("moment", ["fail_before", "fail_after"])
def test_a_write_that_failed_is_repeated(tmp_path: Path, moment: str) -> None:
    """Also one that was committed after all: then nothing is counted twice."""

    async def scenario(played: Played) -> None:
        setattr(played.store, moment, True)
        for _ in range(3):
            played.note("192.0.2.1")
            await played.refusals.flush()
        setattr(played.store, moment, False)
        played.note("192.0.2.1")
        await played.refusals.flush()
        assert [row.times for row in played.rows()] == [4]

    play(tmp_path, scenario)


def test_a_write_that_close_cuts_short_is_not_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        assert [row.times for row in played.rows()] == [7]

    play(tmp_path, scenario)


def test_what_is_noted_during_a_write_is_written_next(tmp_path: Path) -> None:
    async def scenario(played: Played) -> None:
        played.store.go.clear()
        played.note("192.0.2.1")
        flushing = asyncio.create_task(played.refusals.flush())
        assert await asyncio.to_thread(played.store.begun.wait, 10)
        played.note("192.0.2.1")
        played.note("192.0.2.2")
        played.store.go.set()
        await flushing
        assert [row.times for row in played.rows()] == [1]
        await played.refusals.flush()
        assert [row.times for row in played.rows()] == [1, 2]

    play(tmp_path, scenario)


def test_a_restart_in_the_same_minute_adds_up(tmp_path: Path) -> None:
    """The rows of the server before are left as they are."""

    async def scenario(played: Played) -> None:
        for count in (2, 3):
            for _ in range(count):
                played.note("192.0.2.1")
            await played.refusals.close()
            played.restart()
        assert [row.times for row in played.rows()] == [2, 3]

    play(tmp_path, scenario)


# --- In the background --------------------------------------------------------


@pytest.mark.parametrize("failing", [False, True])
def test_it_is_written_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: bool
) -> None:
    """No failure ends that."""
    monkeypatch.setattr(module, "FLUSH_INTERVAL_S", 0.001)

    async def scenario(played: Played) -> None:
        played.store.fail_before = failing
        played.note("192.0.2.1")
        played.refusals.start()
        assert await asyncio.to_thread(played.store.begun.wait, 10)
        played.store.fail_before = False
        assert await asyncio.to_thread(played.store.written.wait, 10)
        await played.refusals.close()
        assert [row.times for row in played.rows()] == [1]

    play(tmp_path, scenario)


def test_close_writes_what_is_due(tmp_path: Path) -> None:
    async def scenario(played: Played) -> None:
        played.refusals.start()
        played.note("192.0.2.1")
        await played.refusals.close()
        with closing(sqlite3.connect(tmp_path / "data" / DATABASE_NAME)) as other:
            [(count,)] = other.execute("SELECT count FROM audit_events")
        assert count == 1

    play(tmp_path, scenario)
