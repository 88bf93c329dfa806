"""The log in memory: whoever follows it misses nothing, or is told so."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxauth_server.revocations import remembered_log
from wxauth_server.revocations.remembered_log import Follower, LogRead, RememberedLog
from wxauth_server.store.revocation_log import LoggedRevocation, LogPosition


def read(database: str, first: int, end: int, *, continues: bool) -> LogRead:
    entries = [
        LoggedRevocation(position, f"{database}{position}".encode(), None, None)
        for position in range(first + 1, end + 1)
    ]
    return LogRead(0.0, LogPosition(database, end), entries, first, continues)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is remembered."""
    monkeypatch.setattr(remembered_log, "REMEMBERED", 5)


#: A read that goes on by so many entries, or finds another log; or a follower that takes.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 4)),
        st.tuples(st.just("other"), st.integers(0, 4)),
        st.tuples(st.just("take"), st.integers(0, 2)),
        st.tuples(st.just("come back"), st.integers(0, 2)),
    ),
    max_size=40,
)


class _Follows:
    """What somebody knows who applies every update."""

    def __init__(self, log: RememberedLog) -> None:
        self._log = log
        self.follower = Follower(log)
        self.known: list[bytes | None] = []
        self.since = 0
        self.end: LogPosition | None = None

    def take(self) -> None:
        update = self.follower.take()
        if update is None:
            return
        if update.reset:
            assert not update.entries
            self.known, self.since = [], update.end.position
        self.known += [entry.digest for entry in update.entries]
        self.end = update.end

    def come_back(self) -> None:
        """Through another connection, say."""
        self.follower = Follower(self._log, self.end)


@given(STEPS)
@pytest.mark.usefixtures("few")
def test_nothing_is_missed_without_a_reset(steps: list[tuple[str, int]]) -> None:
    """Nor told twice, nor in another order, whatever comes in between."""
    log = RememberedLog()
    followers = [_Follows(log) for _ in range(3)]
    database, end = 0, 0
    log.learn(read("0.", 0, 0, continues=False))
    for step, number in steps:
        match step:
            case "read":
                log.learn(read(f"{database}.", end, end + number, continues=True))
                end += number
            case "other":
                database, end = database + 1, number
                log.learn(read(f"{database}.", 0, number, continues=False))
            case "take":
                followers[number].take()
            case "come back":
                followers[number].come_back()
        for each in followers:
            if each.end is not None:
                whole = range(each.since + 1, each.end.position + 1)
                assert each.known == [f"{each.end.database_id}{at}".encode() for at in whole]
    for each in followers:
        each.take()
        assert each.end == LogPosition(f"{database}.", end)


@pytest.mark.usefixtures("few")
def test_memory_is_bounded() -> None:
    """Whoever is too slow starts anew; whoever is slow does not."""
    log = RememberedLog()
    log.learn(read("a", 0, 0, continues=False))
    slow, slower = Follower(log), Follower(log)
    for follower in (slow, slower):
        follower.take()
    log.learn(read("a", 0, 1, continues=True))
    slow.take()
    log.learn(read("a", 1, 6, continues=True))
    assert log.first == 1
    assert len(log.newest(99)) == 5
    for follower, expected in ((slow, (False, 5)), (slower, (True, 0))):
        update = follower.take()
        assert update is not None
        assert (update.reset, len(update.entries)) == expected


def test_news_are_waited_for() -> None:
    """Entries and resets are news, a later time is none; one who gives up disturbs nobody."""

    async def scenario() -> None:
        log = RememberedLog()
        followers = [Follower(log) for _ in range(3)]
        waits = [asyncio.ensure_future(each.news()) for each in followers]
        await settle()
        assert not any(wait.done() for wait in waits)
        waits[0].cancel()
        log.learn(read("a", 0, 0, continues=False))
        await asyncio.gather(*waits[1:])
        assert all(each.take() for each in followers)
        for learn, is_news in (
            (read("a", 0, 0, continues=True), False),
            (read("a", 0, 1, continues=True), True),
            (read("b", 1, 1, continues=False), True),
        ):
            wait = asyncio.ensure_future(followers[1].news())
            await settle()
            log.learn(learn)
            await settle()
            assert wait.done() == is_news
            wait.cancel()
            followers[1].take()

    async def settle() -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("database", "position", "reset"),
    [("a", 3, False), ("a", 1, False), ("b", 3, True), ("a", 0, True), ("a", 4, True)],
)
def test_where_one_may_resume(database: str, position: int, reset: bool) -> None:
    """Where all that followed is remembered, and of this database only."""
    log = RememberedLog()
    follower = Follower(log, LogPosition(database, position))
    assert follower.take() is None
    log.learn(read("a", 1, 3, continues=False))
    update = follower.take()
    assert update is not None
    assert update.reset == reset
    again = follower.take()
    assert again is not None
    assert (again.reset, again.entries) == (False, ())
