"""What the reader of the revocation log makes of one that is long, another, or not whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.revocation_reading import HeldStore, append, first, next_read, numbers, play
from wxauth_server.revocations import log_reader
from wxauth_server.revocations.log_reader import READ_AT_ONCE, RevocationLogReader
from wxauth_server.store.revocation_log import end_of_log


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HeldStore]:
    store = HeldStore(tmp_path / "data")
    yield store
    store.close()


def test_a_long_log_is_read_to_its_end_at_once(store: HeldStore) -> None:
    """Page by page in one read, of which the time is true for all of it."""
    count = 2 * READ_AT_ONCE + 1

    async def scenario(reader: RevocationLogReader) -> None:
        follower = reader.follow()
        await first(follower)
        append(store, *range(count))
        update = await first(follower)
        assert numbers(update) == list(range(count))
        assert update.end.position == count

    play(store, scenario)


def test_a_server_that_starts_knows_the_newest(
    store: HeldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever followed another one may resume here, unless too far behind."""
    monkeypatch.setattr(log_reader, "READ_AT_MOST", 4)
    append(store, *range(9))
    end = store.read(end_of_log)

    async def scenario(reader: RevocationLogReader) -> None:
        await first(reader.follow())
        for known, expected in ((9, []), (6, [6, 7, 8]), (5, [5, 6, 7, 8])):
            update = await first(reader.follow(end._replace(position=known)))
            assert (update.reset, numbers(update)) == (False, expected)
        for known in (4, 0, 10):
            update = await first(reader.follow(end._replace(position=known)))
            assert (update.reset, numbers(update), update.end) == (True, [], end)

    play(store, scenario)


def test_a_server_that_starts_finds_what_is_missing(store: HeldStore) -> None:
    """The purge goes by the clocks of several servers: it need not take the oldest first."""
    append(store, *range(1, 7))
    store.write(lambda tx: tx.execute("DELETE FROM revocations WHERE position = 4"))
    end = store.read(end_of_log)

    async def scenario(reader: RevocationLogReader) -> None:
        for known, expected in ((4, (False, [5, 6])), (3, (True, [])), (2, (True, []))):
            update = await first(reader.follow(end._replace(position=known)))
            assert (update.reset, numbers(update)) == expected

    play(store, scenario)


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE revocation_log SET database_id = 'other'", id="another database"),
        pytest.param("UPDATE revocation_log SET position = 2", id="an earlier state"),
        pytest.param("UPDATE revocation_log SET position = 5", id="entries that are gone"),
    ],
)
def test_another_log_is_a_reset(store: HeldStore, statement: str) -> None:
    """Nobody knows what happened in between. What comes next follows as ever."""

    async def scenario(reader: RevocationLogReader) -> None:
        append(store, 1, 2, 3)
        follower = reader.follow()
        before = (await next_read(store, follower)).end
        store.write(lambda tx: tx.execute(statement))
        update = await next_read(store, follower)
        assert (update.reset, update.entries) == (True, ())
        assert update.end == store.read(end_of_log)
        store.write(lambda tx: tx.execute("DELETE FROM revocations WHERE position > 2"))
        late = reader.follow(before)
        resumed = late.take()
        assert resumed is not None
        assert resumed.reset
        append(store, 4)
        assert numbers(await first(follower)) == [4]
        assert numbers(await first(late)) == [4]

    play(store, scenario)
