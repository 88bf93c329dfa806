"""How many attempts there may be, and how long to wait (reliability.md rows 17 and 18)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wxauth_server.accounts.throttle import (
    FORGET_USER_MS,
    LAPSE_MS,
    Guess,
    MustWait,
    NameDigests,
    ThrottleLimits,
    failed,
    failed_unheard,
    given_up,
    reserve,
    succeeded,
)
from wxauth_server.keyring import create_keyring, load_keyring
from wxauth_server.store.sqlite import SQLiteStore
from wxauth_server.store.throttles import find_throttle, unlock_name

APP = "wx1111111111111111"
NOW = 1_790_000_000_000
LIMITS = ThrottleLimits()
VICTIM = b"v" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "data")
    yield store
    store.close()


@pytest.fixture
def names(tmp_path: Path) -> NameDigests:
    create_keyring(tmp_path / "keyring.json")
    return NameDigests(load_keyring(tmp_path / "keyring.json"))


class Guesser:
    """A WeChat user who tries names, at a time of the test's."""

    def __init__(self, store: SQLiteStore, openid: str, limits: ThrottleLimits = LIMITS) -> None:
        self.store = store
        self.openid = openid
        self.limits = limits

    def guess(self, name: bytes = VICTIM) -> Guess:
        return Guess(name, APP, self.openid)

    def begin(self, name: bytes = VICTIM, at: int = NOW) -> bool:
        """Reserve an attempt; whether the name is locked. Raises: MustWait."""
        return self.store.write(lambda tx: reserve(tx, self.guess(name), self.limits, now_ms=at))

    def wrong(self, name: bytes = VICTIM, at: int = NOW) -> None:
        self.begin(name, at)
        self.store.write(
            lambda tx: failed(
                tx, self.guess(name), self.limits, account=None, client_address="", now_ms=at
            )
        )

    def right(self, name: bytes = VICTIM, at: int = NOW) -> None:
        assert not self.begin(name, at)
        self.store.write(lambda tx: succeeded(tx, self.guess(name)))

    def wait_ms(self, name: bytes = VICTIM, at: int = NOW) -> int | None:
        """How long an attempt would have to wait; -1 if it may be made."""
        try:
            self.begin(name, at)
        except MustWait as wait:
            return wait.for_ms
        self.store.write(lambda tx: given_up(tx, self.guess(name)))
        return -1


@pytest.mark.parametrize(
    ("failures", "wait_s"),
    [(0, 0), (4, 0), (5, 1), (6, 2), (7, 4), (13, 256), (14, 512), (15, 900), (1000, 900)],
)
def test_waits_double_up_to_15_minutes(failures: int, wait_s: int) -> None:
    assert LIMITS.wait_ms(failures, 5) == wait_s * 1000


def test_five_failures_are_free_then_the_guesser_waits(store: SQLiteStore) -> None:
    guesser = Guesser(store, "stranger")
    for _ in range(5):
        assert guesser.wait_ms() == -1
        guesser.wrong()
    assert guesser.wait_ms() == 1000
    assert guesser.wait_ms(at=NOW + 999) == 1
    assert guesser.wait_ms(at=NOW + 1000) == -1
    guesser.wrong(at=NOW + 1000)
    assert guesser.wait_ms(at=NOW + 1000) == 2000


def test_the_owner_does_not_wait_for_what_a_stranger_did(store: SQLiteStore) -> None:
    stranger, owner = Guesser(store, "stranger"), Guesser(store, "owner")
    at = NOW
    for _ in range(20):
        at += 900_000
        stranger.wrong(at=at)
    assert stranger.wait_ms(at=at) == 900_000
    owner.right(at=at)
    # Nor does the owner's success help the stranger.
    assert stranger.wait_ms(at=at) == 900_000


def test_a_success_forgets_the_failures_before_it(store: SQLiteStore) -> None:
    owner = Guesser(store, "owner")
    for _ in range(4):
        owner.wrong()
    owner.right()
    for _ in range(5):
        owner.wrong()
    assert owner.wait_ms() == 1000


def test_one_user_cannot_try_many_names(store: SQLiteStore) -> None:
    sprayer = Guesser(store, "sprayer")
    for number in range(10):
        sprayer.wrong(bytes([number]) * 32)
    assert sprayer.wait_ms(b"n" * 32) == 1000
    # Not even with an account of their own, whose password they know.
    sprayer.right(b"own" * 8, at=NOW + 1000)
    sprayer.wrong(b"m" * 32, at=NOW + 1000)
    assert sprayer.wait_ms(b"l" * 32, at=NOW + 1000) == 2000


def test_what_an_owner_failed_with_their_own_name_is_taken_back(store: SQLiteStore) -> None:
    """And nothing else: who forgets a password now and then does not wait for it one day."""
    owner = Guesser(store, "owner")
    owner.wrong(b"other" * 6)
    for _ in range(5):
        for _ in range(4):
            owner.wrong()
        owner.right()
    row = store.read(lambda tx: find_throttle(tx, owner.guess().of_user))
    assert row is not None
    assert (row.failures, row.pending) == (1, 0)


def test_unlocking_a_name_ends_the_waits_of_those_who_failed_with_it(store: SQLiteStore) -> None:
    owner, other = Guesser(store, "owner"), Guesser(store, "other")
    at = NOW
    for _ in range(12):
        at += 900_000
        owner.wrong(at=at)
    for number in range(11):
        at += 900_000
        other.wrong(bytes([number]) * 32, at=at)
    assert owner.wait_ms(at=at) == -1  # long ago by now
    owner.wrong(at=at)
    assert owner.wait_ms(at=at) is not None
    assert store.write(lambda tx: unlock_name(tx, VICTIM))
    assert owner.wait_ms(at=at) == -1
    assert owner.wait_ms(b"n" * 32, at=at) == -1
    assert other.wait_ms(at=at) == 2000  # for other names
    assert not store.write(lambda tx: unlock_name(tx, VICTIM))


def test_a_user_is_forgiven_after_a_day(store: SQLiteStore) -> None:
    guesser = Guesser(store, "guesser")
    for _ in range(5):
        guesser.wrong()
    later = NOW + FORGET_USER_MS + 1
    for _ in range(5):
        guesser.wrong(at=later)
    assert guesser.wait_ms(at=later) == 1000


def test_a_hundred_failures_in_a_row_lock_the_name_for_everybody(store: SQLiteStore) -> None:
    for number in range(99):
        Guesser(store, f"o{number // 5}").wrong()
    owner = Guesser(store, "owner")
    assert not owner.begin()  # the hundredth
    store.write(lambda tx: given_up(tx, owner.guess()))
    Guesser(store, "last").wrong()
    assert owner.begin()
    assert locked_events(store) == 1
    # It is said once, however many come after.
    Guesser(store, "one more").wrong()
    assert locked_events(store) == 1


def test_a_success_in_between_begins_the_row_anew(store: SQLiteStore) -> None:
    for number in range(99):
        Guesser(store, f"o{number // 5}").wrong()
    Guesser(store, "owner").right()
    Guesser(store, "last").wrong()
    assert not Guesser(store, "owner").begin()
    assert locked_events(store) == 0


def test_attempts_under_way_make_others_wait_and_not_fail(store: SQLiteStore) -> None:
    owner = Guesser(store, "owner")
    for _ in range(5):
        owner.begin()
    assert owner.wait_ms() is None
    store.write(lambda tx: succeeded(tx, owner.guess()))
    assert owner.wait_ms() == -1


def test_after_a_wait_attempts_are_made_one_by_one(store: SQLiteStore) -> None:
    guesser = Guesser(store, "guesser")
    for _ in range(5):
        guesser.wrong()
    guesser.begin(at=NOW + 1000)
    assert guesser.wait_ms(at=NOW + 1000) is None


def test_the_last_attempts_before_the_lock_are_waited_for(store: SQLiteStore) -> None:
    for number in range(95):
        Guesser(store, f"o{number // 5}").wrong()
    owners = [Guesser(store, f"owner{number}") for number in range(6)]
    for owner in owners[:5]:
        assert not owner.begin()
    # Not locked, not let through: the five decide.
    assert owners[5].wait_ms() is None
    store.write(lambda tx: succeeded(tx, owners[0].guess()))
    assert owners[5].wait_ms() == -1


def test_an_attempt_that_must_wait_leaves_nothing_behind(store: SQLiteStore) -> None:
    guesser = Guesser(store, "guesser")
    for _ in range(5):
        guesser.wrong()
    before = rows(store)
    for _ in range(10):
        assert guesser.wait_ms() == 1000
    assert rows(store) == before


def test_an_attempt_of_a_server_that_died_counts_as_failed(store: SQLiteStore) -> None:
    guesser = Guesser(store, "guesser")
    for _ in range(5):
        guesser.begin()
    assert guesser.wait_ms(at=NOW + LAPSE_MS) is None
    assert guesser.wait_ms(at=NOW + LAPSE_MS + 1) == -1  # 5 failures of half a minute ago
    guesser.wrong(at=NOW + LAPSE_MS + 1)
    assert guesser.wait_ms(at=NOW + LAPSE_MS + 1) == 2000


def test_a_lock_by_attempts_that_never_ended_is_told_too(store: SQLiteStore) -> None:
    for number in range(99):
        Guesser(store, f"o{number // 5}").wrong()
    Guesser(store, "of a server that dies").begin()
    assert locked_events(store) == 0
    assert Guesser(store, "later").begin(at=NOW + LAPSE_MS + 1)
    assert locked_events(store) == 1
    assert Guesser(store, "later").begin(at=NOW + LAPSE_MS + 2)
    assert locked_events(store) == 1


def test_a_clock_that_was_set_back_makes_nobody_wait_longer(store: SQLiteStore) -> None:
    guesser = Guesser(store, "guesser")
    for _ in range(5):
        guesser.wrong()
    assert guesser.wait_ms(at=NOW - FORGET_USER_MS // 2) == 1000
    other = Guesser(store, "other")
    for _ in range(5):
        other.begin()
    assert other.wait_ms(at=NOW - LAPSE_MS - 1) == 1000  # they count as failed


def test_what_may_have_been_looked_at_is_held_against_the_guesser_only(
    store: SQLiteStore,
) -> None:
    guesser = Guesser(store, "guesser")
    for _ in range(5):
        guesser.begin()
        store.write(lambda tx: failed_unheard(tx, guesser.guess(), now_ms=NOW))
    assert guesser.wait_ms() == 1000
    row = store.read(lambda tx: find_throttle(tx, guesser.guess().of_name))
    assert row is not None
    assert (row.failures, row.pending) == (0, 0)


def test_spellings_of_a_name_are_one_and_sources_are_not(names: NameDigests) -> None:
    assert names.of("local", "Admin") == names.of("local", "ａｄｍｉｎ")
    assert names.of("local", "admin") != names.of("crm", "admin")
    assert names.of("local", "admin") != names.of_id("local", "admin")
    # Elsewhere it is the other system that decides: whatever it may take for one is one.
    for spelling in ("zhangsan ", "Zhang San", "ZHĀNGSĀN", "zhang.san", "ｚｈａｎｇｓａｎ"):
        assert names.of("crm", spelling) == names.of("crm", "zhangsan")
    assert names.of("crm", "张三") != names.of("crm", "李四")
    assert names.of("crm", "+86") != names.of("crm", "+1")
    assert names.of("crm", "!?") != names.of("crm", "?!")
    assert len(names.of("crm", "")) == 32


def rows(store: SQLiteStore) -> list[tuple[object, ...]]:
    return list(store.read(lambda tx: tx.execute("SELECT * FROM throttles ORDER BY name, openid")))


def locked_events(store: SQLiteStore) -> int:
    [(count,)] = store.read(
        lambda tx: tx.execute("SELECT COUNT(*) FROM audit_events WHERE event = 'PASSWORD_LOCKED'")
    )
    return int(count)
