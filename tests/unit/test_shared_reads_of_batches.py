"""Parts of batches, and validations beside them: who goes when, and who fails with whom."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.held_store import HeldStore, key, record, run
from wxauth_server.errors import Overloaded, StoreUnavailable
from wxauth_server.store import shared_reads
from wxauth_server.store.interface import READ_AT_ONCE
from wxauth_server.store.shared_reads import SharedReads


def part(first: int, count: int = READ_AT_ONCE) -> list[bytes]:
    """The keys of a part, a whole one if nothing else is said."""
    return [key(number) for number in range(first, first + count)]


def test_a_part_gets_its_own_sessions_only() -> None:
    """Also of a read that it shares; without those never issued."""

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.known = {key(1), key(2), key(3), key(4)}
        one, two = reads.read_part([key(1), key(9)]), reads.read_part([key(2), key(3)])
        assert await reads.read(key(4)) == record(key(4))
        assert await one == {key(1): record(key(1))}
        assert await two == {key(2): record(key(2)), key(3): record(key(3))}
        assert await reads.read_part([]) == {}

    assert [len(call) for call in run(scenario).calls] == [5, 0]


def test_validations_and_parts_take_turns() -> None:
    """However many of either kind wait, the other is next."""
    turns: list[str] = []

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.go.clear()
        flying = reads.read(key(0))
        await store.has_begun()
        batches = [reads.read_part(part(1_000 * number)) for number in range(1, 6)]
        singles = [reads.read(key(number)) for number in range(1, 3 * READ_AT_ONCE + 1)]
        for batch in batches:
            batch.add_done_callback(lambda _: turns.append("part"))
        for last in singles[READ_AT_ONCE - 1 :: READ_AT_ONCE]:
            last.add_done_callback(lambda _: turns.append("validations"))
        store.go.set()
        await asyncio.gather(flying, *batches, *singles)

    store = run(scenario)
    assert turns in (
        ["part", "validations"] * 3 + ["part"] * 2,
        ["validations", "part"] * 3 + ["part"] * 2,
    )
    assert [len(call) for call in store.calls] == [1] + [READ_AT_ONCE] * 8


def test_what_does_not_fit_goes_next() -> None:
    """A part is never cut, and keeps its place before the parts behind it."""

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.go.clear()
        flying = reads.read(key(0))
        await store.has_begun()
        parts = [reads.read_part(part(100, 40)), reads.read_part(part(200, 40))]
        parts += [reads.read_part(part(300, 1))]
        store.go.set()
        await asyncio.gather(flying, *parts)

    assert [len(call) for call in run(scenario).calls] == [1, 40, 41]


def test_a_whole_part_does_not_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else would fit into its read."""
    monkeypatch.setattr(shared_reads, "CROWDED_READS_PER_S", 0)
    monkeypatch.setattr(shared_reads, "GATHER_S", 0.0)

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        await reads.read(key(0))
        monkeypatch.setattr(shared_reads, "GATHER_S", 60.0)
        async with asyncio.timeout(10):
            await reads.read_part(part(1))

    run(scenario)


@pytest.mark.parametrize("failure", [StoreUnavailable(), ValueError("ours")])
def test_a_failure_is_that_of_the_parts_in_its_read(failure: Exception) -> None:
    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.failures.append(failure)
        store.go.clear()
        gone, failing = reads.read_part(part(0, 2)), reads.read_part(part(2, 2))
        await store.has_begun()
        gone.cancel()
        later = reads.read_part(part(4))
        store.go.set()
        with pytest.raises(type(failure)) as raised:
            await failing
        assert raised.value is failure
        assert await later == {}

    run(scenario)


def test_a_store_that_stalls_fails_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in flight, those that wait and one that comes later; then it recovers."""
    monkeypatch.setattr(shared_reads, "TIMEOUT_S", 0.05)

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.known = {key(7)}
        store.go.clear()
        stalled = [reads.read_part(part(100 * number)) for number in range(3)]
        await store.has_begun()
        outcomes = await asyncio.gather(*stalled, reads.read(key(7)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 4
        with pytest.raises(StoreUnavailable):
            await reads.read_part(part(0))
        store.go.set()
        assert await reads.read_part([key(7)]) == {key(7): record(key(7))}

    assert [len(call) for call in run(scenario).calls] == [READ_AT_ONCE, 1]


def test_too_many_parts_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And keep no validation out."""
    monkeypatch.setattr(shared_reads, "MOST_PARTS_WAITING", 2)

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.go.clear()
        flying = reads.read_part(part(0))
        await store.has_begun()
        waiting = [reads.read_part(part(100)), reads.read_part(part(200))]
        with pytest.raises(Overloaded):
            reads.read_part(part(300))
        single = reads.read(key(1))
        store.go.set()
        await asyncio.gather(flying, *waiting, single)
        assert await reads.read_part(part(300)) == {}

    run(scenario)
