"""What a store keeps of failed attempts, and of attempts under way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.contract.store_rows import APP, NOW, OPENID, OTHER_APP, digest
from wxauth_server.store.interface import Store
from wxauth_server.store.throttles import (
    ThrottleKey,
    ThrottleRecord,
    end_attempt,
    find_throttle,
    forget_throttles,
    forgive,
    reserve_attempt,
    unlock_name,
)

NAME = digest("name")
BOTH = ThrottleKey(NAME, APP, OPENID)
OF_NAME = ThrottleKey(NAME, "", "")
FORGET_MS, LAPSE_MS = 1_000_000, 30_000


def reserve(store: Store, key: ThrottleKey = BOTH, at: int = NOW) -> ThrottleRecord:
    return store.write(
        lambda tx: reserve_attempt(tx, key, forget_ms=FORGET_MS, lapse_ms=LAPSE_MS, now_ms=at)
    )


def fail(store: Store, key: ThrottleKey = BOTH, at: int = NOW) -> int:
    return store.write(lambda tx: end_attempt(tx, key, failed_at=at))


def found(store: Store, key: ThrottleKey = BOTH) -> ThrottleRecord | None:
    return store.read(lambda tx: find_throttle(tx, key))


class ThrottlePromises:
    """What a store keeps of attempts."""

    def test_an_attempt_is_begun_and_fails(self, store: Store) -> None:
        assert reserve(store) == ThrottleRecord(0, 1, NOW, 0)
        assert reserve(store, at=NOW + 1) == ThrottleRecord(0, 2, NOW + 1, 0)
        assert fail(store, at=NOW + 2) == 1
        assert found(store) == ThrottleRecord(1, 1, NOW + 1, NOW + 2)

    def test_an_attempt_that_was_given_up_is_no_failure(self, store: Store) -> None:
        reserve(store)
        store.write(lambda tx: end_attempt(tx, BOTH, failed_at=None))
        assert found(store) == ThrottleRecord(0, 0, NOW, 0)

    def test_an_end_too_many_takes_nothing_from_others(self, store: Store) -> None:
        reserve(store)
        for _ in range(3):
            store.write(lambda tx: end_attempt(tx, BOTH, failed_at=None))
        assert reserve(store).pending == 1

    def test_the_end_of_what_was_never_begun_is_nothing(self, store: Store) -> None:
        assert fail(store) == 0
        assert found(store) is None

    def test_keys_do_not_mix(self, store: Store) -> None:
        others = (
            OF_NAME,
            ThrottleKey(NAME, OTHER_APP, OPENID),
            ThrottleKey(NAME, APP, "another"),
            ThrottleKey(b"", APP, OPENID),
        )
        reserve(store)
        fail(store)
        for other in others:
            assert found(store, other) is None
            assert reserve(store, other) == ThrottleRecord(0, 1, NOW, 0)

    def test_old_failures_are_forgotten(self, store: Store) -> None:
        reserve(store)
        fail(store)
        assert reserve(store, at=NOW + FORGET_MS).failures == 1
        store.write(lambda tx: end_attempt(tx, BOTH, failed_at=None))
        assert reserve(store, at=NOW + FORGET_MS + 1).failures == 0

    def test_attempts_that_never_ended_count_as_failures_of_then(self, store: Store) -> None:
        reserve(store)
        reserve(store)
        at = NOW + LAPSE_MS
        assert reserve(store, at=at) == ThrottleRecord(0, 3, at, 0)
        later = at + LAPSE_MS + 1
        assert reserve(store, at=later) == ThrottleRecord(3, 1, later, at)

    def test_a_success_forgets_the_failures_and_keeps_what_is_under_way(self, store: Store) -> None:
        for _ in range(3):
            reserve(store)
        fail(store)
        store.write(lambda tx: forgive(tx, BOTH))
        assert found(store) == ThrottleRecord(0, 1, NOW, 0)
        store.write(lambda tx: forgive(tx, BOTH))
        assert found(store) is None

    def test_unlocking_a_name_forgets_everybodys_attempts_on_it(self, store: Store) -> None:
        of_user = ThrottleKey(b"", APP, OPENID)
        for key in (BOTH, OF_NAME, ThrottleKey(NAME, APP, "another"), of_user):
            reserve(store, key)
            fail(store, key)
        assert store.write(lambda tx: unlock_name(tx, NAME))
        assert not store.write(lambda tx: unlock_name(tx, NAME))
        assert found(store) is found(store, OF_NAME) is None
        assert found(store, of_user) is not None

    def test_old_rows_are_forgotten_by_kind_the_oldest_first(self, store: Store) -> None:
        for number in range(3):
            reserve(store, ThrottleKey(NAME, APP, f"o{number}"), at=NOW + number)
            reserve(store, ThrottleKey(digest(number), "", ""), at=NOW + number)

        def forget(*, of_names: bool, before: int, limit: int = 100) -> int:
            return store.write(
                lambda tx: forget_throttles(tx, of_names=of_names, before_ms=before, limit=limit)
            )

        assert forget(of_names=False, before=NOW + 2, limit=1) == 1
        assert found(store, ThrottleKey(NAME, APP, "o0")) is None
        assert forget(of_names=False, before=NOW + 2) == 1
        assert forget(of_names=False, before=NOW + 2) == 0
        assert forget(of_names=True, before=NOW + 1) == 1
        assert found(store, ThrottleKey(NAME, APP, "o2")) is not None
        assert found(store, ThrottleKey(digest(1), "", "")) is not None

    def test_parallel_attempts_are_all_counted(self, store: Store, second: Store) -> None:
        with ThreadPoolExecutor(8) as threads:
            rows = list(threads.map(reserve, [store, second] * 20))
        assert sorted(row.pending for row in rows) == list(range(1, 41))
