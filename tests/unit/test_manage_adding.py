"""Accounts are added, and found, over a real SQLite file."""

from __future__ import annotations

import bcrypt
import pytest

from tests.unit.managed_accounts import NOW_MS, PASSWORD, WatchedHasher, WatchedStore, events
from wxauth_server.accounts.account_fields import AccountRefused
from wxauth_server.accounts.manage import (
    AccountManager,
    ForeignHash,
    IdTaken,
    NoSuchAccount,
    UsernameTaken,
)
from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.keyring import KeyRing, Purpose
from wxauth_server.store.accounts import find_account
from wxauth_server.store.keys import keys_in_use


def test_an_account_is_added_as_given(
    manager: AccountManager, store: WatchedStore, hasher: WatchedHasher, keyring: KeyRing
) -> None:
    record = manager.add(
        account_id="10001",
        username="Zhang.San",
        display_name="张三",
        phone="+8613800138000",
        password=PASSWORD,
    )

    assert record.key == (LOCAL, "10001")
    assert record.username == "Zhang.San"
    assert record.display_name == "张三"
    assert record.phone == "+8613800138000"
    assert record.created_at == NOW_MS
    assert record.disabled_at is None
    assert hasher.verify(record.password, PASSWORD.text)
    assert events(store) == [("ACCOUNT_ADDED", "10001", NOW_MS)]
    pepper = keyring.active(Purpose.PEPPER)
    assert store.read(keys_in_use) == [("pepper", pepper.id)]


def test_without_an_id_each_account_gets_a_random_one(manager: AccountManager) -> None:
    ids = {manager.add(username=f"user{number}").id for number in range(20)}

    assert len(ids) == 20
    assert all(len(account_id) == 32 for account_id in ids)


def test_an_account_may_have_no_password(
    manager: AccountManager, store: WatchedStore, hasher: WatchedHasher
) -> None:
    record = manager.add(username="zhangsan")

    assert record.password is None
    assert not hasher.verify(record.password, "")
    assert store.read(keys_in_use) == []


def test_a_foreign_hash_is_taken_over_and_needs_no_key(
    manager: AccountManager, store: WatchedStore, hasher: WatchedHasher
) -> None:
    foreign = bcrypt.hashpw(b"from elsewhere", bcrypt.gensalt(4)).decode()

    record = manager.add(username="zhangsan", password=ForeignHash(foreign))

    assert hasher.verify(record.password, "from elsewhere")
    assert store.read(keys_in_use) == []


def test_a_taken_id_is_named(manager: AccountManager, store: WatchedStore) -> None:
    manager.add(account_id="1", username="zhangsan")

    with pytest.raises(IdTaken, match="id '1'"):
        manager.add(account_id="1", username="lisi")
    assert len(events(store)) == 1


@pytest.mark.parametrize("spelling", ["zhangsan", "ZhangSan", "ｚｈａｎｇｓａｎ"])
def test_a_taken_username_is_named_in_any_spelling(
    manager: AccountManager, store: WatchedStore, spelling: str
) -> None:
    manager.add(account_id="1", username="zhangsan")

    with pytest.raises(UsernameTaken, match=f"username '{spelling}'"):
        manager.add(account_id="2", username=spelling, password=PASSWORD)
    assert store.read(lambda tx: find_account(tx, LOCAL, "2")) is None
    assert store.read(keys_in_use) == []


@pytest.mark.parametrize("username", ["a" * 256, "张三" * 42, "zhang@example.com"])
def test_usernames_that_are_allowed(manager: AccountManager, username: str) -> None:
    assert manager.add(username=username).username == username


@pytest.mark.parametrize(
    ("username", "problem"),
    [
        ("", "the username is empty"),
        ("a" * 257, "longer than 256 bytes"),
        ("zhang san", "not allowed"),
        ("zhang\0san", "control character"),
        ("zhang\nsan", "control character"),
        ("zhang\udcff", "not UTF-8"),
        ("zhang\u200bsan", "not allowed"),
    ],
)
def test_usernames_that_are_refused(manager: AccountManager, username: str, problem: str) -> None:
    with pytest.raises(AccountRefused, match=problem):
        manager.add(username=username)


@pytest.mark.parametrize(
    ("account_id", "problem"),
    [
        ("", "the id is empty"),
        ("a" * 129, "longer than 128 bytes"),
        ("号" * 43, "longer than 128 bytes"),
        ("a\0b", "control character"),
        ("a\x7fb", "control character"),
        ("a\u2028b", "control character"),
        ("a\udc80", "not UTF-8"),
    ],
)
def test_ids_that_are_refused(manager: AccountManager, account_id: str, problem: str) -> None:
    with pytest.raises(AccountRefused, match=problem):
        manager.add(account_id=account_id, username="zhangsan")


@pytest.mark.parametrize("account_id", ["a" * 128, "10001", "user 1", "客户/7", "-1"])
def test_ids_that_are_allowed(manager: AccountManager, account_id: str) -> None:
    assert manager.add(account_id=account_id, username="zhangsan").id == account_id


@pytest.mark.parametrize("name", ["", "a" * 257, "张\n三"])
def test_display_names_that_are_refused(manager: AccountManager, name: str) -> None:
    with pytest.raises(AccountRefused, match="display name"):
        manager.add(username="zhangsan", display_name=name)


@pytest.mark.parametrize(
    "phone",
    ["", "13800138000", "+0613800138000", "+86 138", "+86١٣٨٠٠١٣٨", "+1234567890123456", "+8613x"],
)
def test_phones_that_are_refused(manager: AccountManager, phone: str) -> None:
    with pytest.raises(AccountRefused, match=r"E\.164"):
        manager.add(username="zhangsan", phone=phone)


def test_accounts_are_found_by_username_and_by_id(manager: AccountManager) -> None:
    added = manager.add(account_id="1", username="ZhangSan")

    assert manager.find(username="zhangsan") == added
    assert manager.find(account_id="1") == added


def test_what_is_not_there_is_named(manager: AccountManager) -> None:
    with pytest.raises(NoSuchAccount, match="username 'nobody'"):
        manager.find(username="nobody")
    with pytest.raises(NoSuchAccount, match="username 'no body'"):
        manager.find(username="no body")
    with pytest.raises(NoSuchAccount, match="id '7'"):
        manager.find(account_id="7")
    for change in (manager.disable, manager.enable):
        with pytest.raises(NoSuchAccount, match="id '7'"):
            change("7")
    with pytest.raises(NoSuchAccount, match="id '7'"):
        manager.set_password("7", PASSWORD)
    with pytest.raises(NoSuchAccount, match="id '7'"):
        manager.set_phone("7", "+8613800138000")
