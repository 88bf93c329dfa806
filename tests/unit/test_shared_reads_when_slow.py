"""Shared reads at a store that cannot keep up: whom it still reads for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import pytest

from tests.unit.held_store import HeldStore, key, record, run
from wxauth_server.errors import StoreUnavailable
from wxauth_server.store.interface import READ_AT_ONCE
from wxauth_server.store.sessions import SessionRecord
from wxauth_server.store.shared_reads import TIMEOUT_S, SharedReads
from wxauth_server.store.waiting_reads import WaitingReads

#: What the slow store takes for a read: three begin before TIMEOUT_S is over.
READ_S = 0.15


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store answers in time, but not as many as come."""
    read = HeldStore.read_sessions

    def read_slowly(self: HeldStore, digests: Sequence[bytes]) -> Mapping[bytes, SessionRecord]:
        time.sleep(READ_S)
        return read(self, digests)

    monkeypatch.setattr(HeldStore, "read_sessions", read_slowly)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("protected", [True, False], ids=["", "control"])
def test_who_has_waited_too_long_is_not_read_for(
    monkeypatch: pytest.MonkeyPatch, *, protected: bool
) -> None:
    """They are told so, and those who come later are answered soon.

    The control reads for everybody, the later the more of them have gone.
    """
    if not protected:
        monkeypatch.setattr(WaitingReads, "fail_older", lambda *_: False)

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        parts = [reads.read_part([key(number)] * READ_AT_ONCE) for number in range(3)]
        singles = [reads.read(key(number)) for number in range(3 * READ_AT_ONCE)]
        outcomes = await asyncio.gather(*parts, *singles, return_exceptions=True)
        failed = [outcome for outcome in outcomes if outcome not in (None, {})]
        assert all(isinstance(outcome, StoreUnavailable) for outcome in failed)
        assert bool(failed) == protected
        assert (len(store.calls) - 1) * READ_S <= TIMEOUT_S or not protected
        assert await reads.read(key(1)) is None

    store = run(scenario)
    assert store.calls.pop() == [key(1)]
    assert {len(call) for call in store.calls} == {READ_AT_ONCE}
    assert len(store.calls) == 6 or protected


def test_those_who_have_gone_are_not_read_for() -> None:
    """Nor take the room of those who are there; if all have, nothing is read."""

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        async def meanwhile(*gone: int, stay: Sequence[int]) -> None:
            store.go.clear()
            flying = reads.read(key(0))
            await store.has_begun()
            waiting = [reads.read(key(number)) for number in gone]
            batch = reads.read_part([key(number) for number in gone])
            staying = [reads.read(key(number)) for number in stay]
            batch.cancel()
            for each in waiting:
                each.cancel()
            store.go.set()
            await asyncio.gather(flying, *staying)

        crowd = range(1_000, 1_000 + READ_AT_ONCE)
        await meanwhile(*range(1, READ_AT_ONCE), stay=crowd)
        assert store.calls[1:] == [[key(number) for number in crowd]]
        await store.has_begun()  # that read, of which nobody has asked
        await meanwhile(1, 2, stay=())
        assert await reads.read(key(3)) is None

    assert run(scenario).calls[2:] == [[key(0)], [key(3)]]


def test_a_loop_that_was_busy_meanwhile_does_not_blame_the_store() -> None:
    """The store has ended its read long before the next one begins."""

    async def scenario(store: HeldStore, reads: SharedReads) -> None:
        store.known = {key(2)}
        store.go.clear()
        first = reads.read(key(1))
        await store.has_begun()
        second = reads.read(key(2))
        store.go.set()
        time.sleep(TIMEOUT_S * 1.25)  # noqa: ASYNC251 - the loop is busy with something else
        assert await first is None
        assert await second == record(key(2))

    run(scenario)
