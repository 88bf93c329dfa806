"""Accounts are changed, over a real SQLite file."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pytest

from tests.running_server import FakeClock
from tests.unit.managed_accounts import (
    NOW_MS,
    PASSWORD,
    WatchedHasher,
    WatchedStore,
    causes,
    events,
    log_in,
)
from wxauth_server.accounts import manage_access
from wxauth_server.accounts.account_fields import AccountRefused
from wxauth_server.accounts.manage import AccountManager, ForeignHash, NewPassword
from wxauth_server.accounts.passwords import PasswordRefused
from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.accounts.throttle import NameDigests
from wxauth_server.keyring import KeyRing
from wxauth_server.store.accounts import accounts_of_phone, find_account
from wxauth_server.store.interface import Transaction
from wxauth_server.store.throttles import ThrottleKey, end_attempt, find_throttle, reserve_attempt


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        (NewPassword("short"), "8 characters"),
        (NewPassword("ZhangSan1"), "the username"),
        (NewPassword("MegaCorp2026"), "the username or the name of the service"),
        (ForeignHash("5f4dcc3b5aa765d61d8327deb882cf99"), "MD5 or SHA"),
    ],
    ids=["short", "username", "company", "hash"],
)
def test_a_password_is_judged_before_anything_is_done(
    manager: AccountManager,
    store: WatchedStore,
    hasher: WatchedHasher,
    secret: NewPassword | ForeignHash,
    problem: str,
) -> None:
    with pytest.raises(PasswordRefused, match=problem):
        manager.add(account_id="1", username="zhangsan", password=secret)
    assert store.read(lambda tx: find_account(tx, LOCAL, "1")) is None
    before = manager.add(account_id="1", username="zhangsan")
    with pytest.raises(PasswordRefused, match=problem):
        manager.set_password("1", secret)
    assert manager.find(account_id="1") == before
    assert hasher.hashed == 0


def test_no_password_is_in_a_repr() -> None:
    assert PASSWORD.text not in repr(PASSWORD)
    foreign = "$2b$04$" + "." * 53
    assert foreign not in repr(ForeignHash(foreign))


def test_another_password_ends_every_session(
    manager: AccountManager, store: WatchedStore, hasher: WatchedHasher, clock: FakeClock
) -> None:
    before = manager.add(account_id="1", username="zhangsan", password=PASSWORD)
    manager.add(account_id="2", username="lisi")
    for handle in ("a", "b"):
        log_in(store, "1", handle)
    log_in(store, "2", "of lisi")
    clock.ms += 5_000

    change = manager.set_password("1", NewPassword("another one"))

    assert (change.changed, change.sessions_ended) == (True, 2)
    assert hasher.verify(change.account.password, "another one")
    assert not hasher.verify(change.account.password, PASSWORD.text)
    assert change.account.password_version == before.password_version + 1
    assert causes(store) == {"a": "PASSWORD_CHANGED", "b": "PASSWORD_CHANGED", "of lisi": None}
    assert events(store)[-1] == ("PASSWORD_SET", "1", NOW_MS + 5_000)


def test_a_session_keeps_the_first_cause_of_its_end(
    manager: AccountManager, store: WatchedStore
) -> None:
    manager.add(account_id="1", username="zhangsan")
    log_in(store, "1", "a")
    manager.disable("1")

    assert manager.set_password("1", PASSWORD).sessions_ended == 0
    assert causes(store) == {"a": "ACCOUNT_DISABLED"}


def test_a_phone_number_is_verified_unmarked_corrected_and_removed(
    manager: AccountManager, store: WatchedStore, clock: FakeClock
) -> None:
    added = manager.add(account_id="1", username="zhangsan", password=PASSWORD)
    manager.add(account_id="2", username="lisi", phone="+8613900000000", phone_verified=True)
    log_in(store, "1", "a")

    def found_by(phone: str) -> list[str]:
        return [a.id for a in store.read(lambda tx: accounts_of_phone(tx, LOCAL, phone))]

    steps = [
        ("+8613800138000", True),
        ("+8613800138000", False),
        ("+8613800138001", True),
        (None, False),
    ]
    for phone, verified in steps:
        clock.ms += 1
        change = manager.set_phone("1", phone, verified=verified)
        assert (change.changed, change.sessions_ended) == (True, 0)
        verified_at = clock.ms if verified else None
        assert change.account == added._replace(phone=phone, phone_verified_at=verified_at)
        assert manager.find(account_id="1") == change.account
        assert found_by("+8613800138000") == (["1"] if (phone, verified) == steps[0] else [])
        assert events(store)[-1] == ("PHONE_SET", "1", clock.ms)
    assert manager.find(account_id="2").phone_verified_at == NOW_MS
    assert causes(store) == {"a": None}


def test_a_number_that_was_so_before_is_no_change_but_a_new_check_is(
    manager: AccountManager, store: WatchedStore, clock: FakeClock
) -> None:
    manager.add(account_id="1", username="zhangsan")
    assert not manager.set_phone("1", None).changed
    assert manager.set_phone("1", "+8613800138000").changed
    assert not manager.set_phone("1", "+8613800138000").changed
    assert [event for event, _, _ in events(store)] == ["ACCOUNT_ADDED", "PHONE_SET"]

    for _ in range(2):
        clock.ms += 1
        change = manager.set_phone("1", "+8613800138000", verified=True)
        assert (change.changed, change.account.phone_verified_at) == (True, clock.ms)


def test_a_phone_number_that_cannot_be_set_changes_nothing(
    manager: AccountManager, store: WatchedStore
) -> None:
    before = manager.add(username="zhangsan", phone="+8613800138000", phone_verified=True)
    with pytest.raises(AccountRefused, match=r"E\.164"):
        manager.set_phone(before.id, "13800138000")
    with pytest.raises(AccountRefused, match="no phone number that could be verified"):
        manager.set_phone(before.id, None, verified=True)
    assert manager.find(account_id=before.id) == before
    assert len(events(store)) == 1


def test_disabling_ends_every_session_and_enabling_revives_none(
    manager: AccountManager, store: WatchedStore, clock: FakeClock
) -> None:
    manager.add(account_id="1", username="zhangsan")
    log_in(store, "1", "a")
    clock.ms += 1

    disabled = manager.disable("1")
    assert (disabled.changed, disabled.sessions_ended) == (True, 1)
    assert disabled.account.disabled_at == NOW_MS + 1
    clock.ms += 1

    again = manager.disable("1")
    assert (again.changed, again.account.disabled_at) == (False, NOW_MS + 1)

    enabled = manager.enable("1")
    assert (enabled.changed, enabled.account.disabled_at) == (True, None)
    assert not manager.enable("1").changed

    assert causes(store) == {"a": "ACCOUNT_DISABLED"}
    assert [event for event, _, _ in events(store)] == [
        "ACCOUNT_ADDED",
        "ACCOUNT_DISABLED",
        "ACCOUNT_ENABLED",
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda manager: manager.set_password("1", NewPassword("another one")),
        lambda manager: manager.set_phone("1", "+8613800138000", verified=True),
        lambda manager: manager.set_username("1", "lisi"),
        lambda manager: manager.disable("1"),
        lambda manager: manager.disable("7", source="erp"),
        lambda manager: manager.unlock(LOCAL, "zhangsan"),
    ],
    ids=["set_password", "set_phone", "set_username", "disable", "remember", "unlock"],
)
def test_a_change_without_its_audit_event_does_not_happen(
    manager: AccountManager,
    store: WatchedStore,
    keyring: KeyRing,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[AccountManager], object],
) -> None:
    before = manager.add(account_id="1", username="zhangsan", password=PASSWORD)
    log_in(store, "1", "a")
    name = NameDigests(keyring).of(LOCAL, "zhangsan")
    throttle = ThrottleKey(name, "", "")
    limits = {"forget_ms": 1, "lapse_ms": 1, "now_ms": NOW_MS}
    store.write(lambda tx: reserve_attempt(tx, throttle, **limits))
    store.write(lambda tx: end_attempt(tx, throttle, failed_at=NOW_MS))

    def fail(_tx: Transaction, *_event: object, **_fields: object) -> NoReturn:
        raise RuntimeError("the event cannot be written")

    monkeypatch.setattr(manage_access, "record_event", fail)
    with pytest.raises(RuntimeError, match="the event"):
        change(manager)

    assert store.read(lambda tx: find_account(tx, LOCAL, "1")) == before
    assert store.read(lambda tx: find_account(tx, "erp", "7")) is None
    assert store.read(lambda tx: find_throttle(tx, throttle)) is not None
    assert causes(store) == {"a": None}
