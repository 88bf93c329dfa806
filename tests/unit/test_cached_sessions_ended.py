"""Whoever is logged out is refused: by this process at once, by others within a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.unit.validating import OTHER_APP, HeldStore, Validating, play
from wxauth_client.boot_clock import boot_time_s
from wxauth_client.lease import SERVER_LEASE_S
from wxauth_server.errors import SessionRevoked, StoreUnavailable
from wxauth_server.store.shared_reads import TIMEOUT_S

T = TypeVar("T")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HeldStore]:
    store = HeldStore(tmp_path / "data")
    yield store
    store.close()


async def refused_after_s(validating: Validating, session_id: str) -> float:
    """Seconds until it is; asked all the time."""
    began_s = boot_time_s()
    while True:
        try:
            await validating.answer(session_id)
        except SessionRevoked:
            return boot_time_s() - began_s
        await asyncio.sleep(0)


def test_ended_by_another_process(store: HeldStore) -> None:
    async def scenario(validating: Validating) -> None:
        delays_s = []
        for session_id in [await validating.remembered() for _ in range(12)]:
            assert await validating.reads_of(session_id) == 0
            await validating.end(session_id, validating.other)
            delays_s.append(await refused_after_s(validating, session_id))
        print(f"refused after {sorted(delays_s)[len(delays_s) // 2]:.3f} s, {max(delays_s):.3f} s")
        assert max(delays_s) <= 1.0

    play(store, scenario)


def test_an_app_ended_by_another_process(store: HeldStore) -> None:
    """All its sessions, and those of other apps stay in memory."""

    async def scenario(validating: Validating) -> None:
        ended = [await validating.remembered() for _ in range(3)]
        stays = await validating.remembered(OTHER_APP)
        await validating.end_app(validating.other)
        assert await refused_after_s(validating, ended[0]) <= 1.0
        for session_id in ended:
            with pytest.raises(SessionRevoked):
                await validating.answer(session_id)
        assert await validating.reads_of(stays) == 0

    play(store, scenario)


@pytest.mark.parametrize("told", [True, False])
def test_ended_by_this_process(store: HeldStore, *, told: bool) -> None:
    """By the next look-up, though its log is not read. Untold it is not: the control."""

    async def scenario(validating: Validating) -> None:
        one, app = await validating.remembered(), await validating.remembered()
        store.log_goes.clear()
        through = validating.store if told else store
        await validating.end(one, through)
        assert await still_yes(validating, one) is not told
        await validating.end_app(through)
        assert await still_yes(validating, app) is not told

    play(store, scenario)


async def still_yes(validating: Validating, session_id: str) -> bool:
    try:
        await validating.answer(session_id)
    except SessionRevoked:
        return False
    return True


class LosingStore(HeldStore):
    """Its COMMIT is done, and it never hears of it."""

    def write(self, work: Callable[[Any], T]) -> T:
        super().write(work)
        raise StoreUnavailable


def test_a_commit_of_which_nobody_knows(tmp_path: Path) -> None:
    store = LosingStore(tmp_path / "data")

    async def scenario(validating: Validating) -> None:
        session_id = await validating.remembered()
        store.log_goes.clear()
        with pytest.raises(StoreUnavailable):
            await validating.end(session_id)
        assert not await still_yes(validating, session_id)

    try:
        play(store, scenario)
    finally:
        store.close()


def test_whoever_asks_after_the_end_joins_nobody(store: HeldStore) -> None:
    """A read that has seen the session alive, and the end after it."""

    async def scenario(validating: Validating) -> None:
        await validating.has_lease()
        session_id = await validating.session()
        store.sessions_go.clear()
        before = asyncio.ensure_future(validating.answer(session_id))
        assert await asyncio.to_thread(store.begun.acquire, timeout=10)
        await validating.end(session_id)
        after = asyncio.ensure_future(validating.answer(session_id))
        await asyncio.sleep(0)  # it has asked
        store.let_go()
        await before
        with pytest.raises(SessionRevoked):
            await after
        with pytest.raises(SessionRevoked):
            await validating.answer(session_id)

    play(store, scenario)


async def last_yes_s(validating: Validating, *, for_s: float) -> tuple[float, list[float]]:
    """Ended elsewhere while the store is frozen: the last yes after the end, and then how
    long each error took.
    """
    session_id = await validating.remembered()
    validating.engine.hold()
    await validating.end(session_id, validating.other)
    ended_s = boot_time_s()
    yes_s, errors_s = 0.0, []
    while (asked_s := boot_time_s()) < ended_s + for_s:
        try:
            await validating.answer(session_id)
            yes_s = asked_s - ended_s
        except StoreUnavailable:
            errors_s.append(boot_time_s() - asked_s)
        await asyncio.sleep(0)
    validating.engine.let_go()
    assert await refused_after_s(validating, session_id) <= 5.0
    return yes_s, errors_s


def test_a_frozen_store(store: HeldStore) -> None:
    """No yes after the lease: errors, as soon as of any validation, and then the truth."""

    async def scenario(validating: Validating) -> None:
        yes_s, errors_s = await last_yes_s(validating, for_s=2.0)
        assert yes_s <= SERVER_LEASE_S
        assert len(errors_s) >= 2
        assert min(errors_s) <= TIMEOUT_S + 0.1

    play(store, scenario, lease_s=SERVER_LEASE_S)


def test_without_a_lease_a_frozen_store_is_a_stale_yes(store: HeldStore) -> None:
    """The control."""

    async def scenario(validating: Validating) -> None:
        yes_s, errors_s = await last_yes_s(validating, for_s=1.2)
        assert yes_s > 1.0
        assert errors_s == []

    play(store, scenario, lease_s=3600.0)


def test_another_database_is_another_memory(store: HeldStore) -> None:
    """One that was restored under the server: nothing that was known counts."""

    async def scenario(validating: Validating) -> None:
        session_id = await validating.remembered()
        await asyncio.to_thread(
            validating.other.write,
            lambda tx: tx.execute("UPDATE revocation_log SET database_id = 'another'"),
        )
        await validating.has_lease()
        assert [await validating.reads_of(session_id) for _ in range(2)] == [1, 0]

    play(store, scenario)
