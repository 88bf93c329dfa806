"""What a store keeps of accounts."""

from __future__ import annotations

import pytest

from tests.contract.store_rows import ACCOUNT, NOW, account_of, add_account
from wxauth_server.store.accounts import (
    AccountRecord,
    accounts_of_phone,
    find_account,
    find_account_by_username,
    insert_account,
    list_accounts,
    lock_enabled_account,
    set_disabled,
    update_password,
    update_password_hash,
    update_phone,
)
from wxauth_server.store.interface import Store


def password_of(store: Store) -> tuple[str | None, int]:
    account = account_of(store)
    return account.password, account.password_version


class AccountPromises:
    """What a store keeps of accounts."""

    def test_an_account_comes_back_as_it_was_added(self, store: Store) -> None:
        """Every column, by id and by username."""
        added = store.write(
            lambda tx: insert_account(
                tx,
                source="local",
                account_id="10001",
                username="ZhangSan",
                username_key="zhangsan",
                display_name="张三",
                phone="+8613800138000",
                password="scheme$id$hash",
                now_ms=NOW,
            )
        )
        assert added
        expected = AccountRecord(
            source="local",
            id="10001",
            username="ZhangSan",
            display_name="张三",
            phone="+8613800138000",
            phone_verified_at=None,
            password="scheme$id$hash",
            password_version=1,
            created_at=NOW,
            disabled_at=None,
        )
        assert account_of(store, ("local", "10001")) == expected
        found = store.read(lambda tx: find_account_by_username(tx, "local", "zhangsan"))
        assert found == expected
        assert store.read(lambda tx: find_account_by_username(tx, "local", "ZhangSan")) is None
        assert store.read(lambda tx: find_account_by_username(tx, "http", "zhangsan")) is None
        assert store.read(lambda tx: find_account(tx, "http", "10001")) is None

    def test_an_id_or_username_is_taken_once(self, store: Store) -> None:
        """The second insert says no and changes nothing; another source is another world."""
        assert add_account(store, "1", username="zhangsan")
        assert not add_account(store, "1", username="lisi")
        assert not add_account(store, "2", username="zhangsan")
        assert add_account(store, "1", source="http", username="zhangsan")
        assert account_of(store).username == "zhangsan"
        assert len(store.read(lambda tx: list_accounts(tx, "local", limit=99))) == 1

    def test_accounts_without_a_username_do_not_collide(self, store: Store) -> None:
        """No username is no username to be taken."""
        assert add_account(store, "1")
        assert add_account(store, "2")

    def test_the_lock_is_given_for_an_enabled_account(self, store: Store) -> None:
        """The row as it is, for the version that holds, and nothing is changed by it."""
        add_account(store, password="a")
        before = account_of(store)
        assert store.write(lambda tx: lock_enabled_account(tx, *ACCOUNT)) == before
        assert (
            store.write(lambda tx: lock_enabled_account(tx, *ACCOUNT, password_version=1)) == before
        )
        assert account_of(store) == before

    def test_the_lock_is_refused(self, store: Store) -> None:
        """For an account that is absent, disabled, or whose password changed."""
        add_account(store, password="a")
        assert store.write(lambda tx: lock_enabled_account(tx, "local", "2")) is None
        assert store.write(lambda tx: lock_enabled_account(tx, "http", "1")) is None
        store.write(lambda tx: update_password(tx, *ACCOUNT, "b"))
        assert (
            store.write(lambda tx: lock_enabled_account(tx, *ACCOUNT, password_version=1)) is None
        )
        store.write(lambda tx: set_disabled(tx, *ACCOUNT, disabled_at=NOW))
        assert store.write(lambda tx: lock_enabled_account(tx, *ACCOUNT)) is None
        assert (
            store.write(lambda tx: lock_enabled_account(tx, *ACCOUNT, password_version=2)) is None
        )
        store.write(lambda tx: set_disabled(tx, *ACCOUNT, disabled_at=None))
        assert store.write(lambda tx: lock_enabled_account(tx, *ACCOUNT)) is not None

    def test_another_password_is_another_version(self, store: Store) -> None:
        """Every change counts, also one to the same hash; no account, no change."""
        add_account(store, password="a")

        def change(password: str) -> bool:
            return store.write(lambda tx: update_password(tx, *ACCOUNT, password))

        for version, password in enumerate(["b", "b", "c"], start=2):
            assert change(password)
            assert password_of(store) == (password, version)
        assert not store.write(lambda tx: update_password(tx, "local", "2", "x"))

    def test_a_rehash_is_the_same_version(self, store: Store) -> None:
        """It is the same password; and it comes too late when another one was set meanwhile."""
        add_account(store, password="old")
        store.write(
            lambda tx: update_password_hash(tx, *ACCOUNT, password="anew", verified_version=1)
        )
        assert password_of(store) == ("anew", 1)
        store.write(lambda tx: update_password(tx, *ACCOUNT, "another"))
        store.write(
            lambda tx: update_password_hash(tx, *ACCOUNT, password="late", verified_version=1)
        )
        assert password_of(store) == ("another", 2)

    def test_an_account_is_disabled_and_enabled(self, store: Store) -> None:
        """The row as it is then, with the time; None for an account that is not there."""
        add_account(store)
        disabled = store.write(lambda tx: set_disabled(tx, *ACCOUNT, disabled_at=NOW))
        assert disabled == account_of(store)
        assert disabled.disabled_at == NOW
        enabled = store.write(lambda tx: set_disabled(tx, *ACCOUNT, disabled_at=None))
        assert enabled == account_of(store)
        assert enabled.disabled_at is None
        assert store.write(lambda tx: set_disabled(tx, "local", "2", disabled_at=NOW)) is None

    def test_a_phone_number_is_set_and_removed(self, store: Store) -> None:
        """The row as it is then, nothing else changed; None for an account that is not there."""
        add_account(store, username="zhangsan", password="a")
        before = account_of(store)

        def change(
            account_id: str, phone: str | None, verified_at: int | None
        ) -> AccountRecord | None:
            return store.write(
                lambda tx: update_phone(
                    tx, "local", account_id, phone=phone, verified_at=verified_at
                )
            )

        for phone, verified_at in (("+8613800138000", NOW), ("+8613800138001", None), (None, None)):
            changed = change("1", phone, verified_at)
            assert changed == account_of(store)
            assert changed == before._replace(phone=phone, phone_verified_at=verified_at)
        assert change("2", "+8613800138000", NOW) is None

    def test_accounts_are_listed_oldest_first(self, store: Store) -> None:
        """Of one source, ties by id, up to the limit."""
        for account_id, created_at in (("c", 1), ("b", 2), ("a", 2), ("d", 0)):
            add_account(store, account_id, now_ms=created_at)
        add_account(store, "z", source="http", now_ms=0)

        def listed(limit: int) -> list[str]:
            return [a.id for a in store.read(lambda tx: list_accounts(tx, "local", limit=limit))]

        assert listed(99) == ["d", "c", "a", "b"]
        assert listed(2) == ["d", "c"]

    @pytest.mark.parametrize("verified", [True, False])
    def test_an_account_is_found_by_its_verified_number(self, store: Store, verified: bool) -> None:
        """Written as it was, of its source only; a number that nobody verified is nobody's."""

        def add(account_id: str, phone: str | None, source: str = "local") -> None:
            assert store.write(
                lambda tx: insert_account(
                    tx,
                    source=source,
                    account_id=account_id,
                    username=None,
                    username_key=None,
                    display_name=None,
                    phone=phone,
                    phone_verified=verified and phone is not None,
                    password=None,
                    now_ms=NOW,
                )
            )

        def found(phone: str, source: str = "local") -> list[str]:
            return [a.id for a in store.read(lambda tx: accounts_of_phone(tx, source, phone))]

        add("1", "+8613800138000")
        add("2", "+8613800138001")
        add("3", None)
        add("4", "+8613800138000", "http")
        assert found("+8613800138000") == (["1"] if verified else [])
        assert found("+8613800138000", "http") == (["4"] if verified else [])
        assert found("13800138000") == found("") == []
        # One with the same number, and one more: two are told, which is one too many.
        add("5", "+8613800138000")
        store.write(lambda tx: set_disabled(tx, "local", "5", disabled_at=NOW))
        assert sorted(found("+8613800138000")) == (["1", "5"] if verified else [])
        add("6", "+8613800138000")
        assert len(found("+8613800138000")) == (2 if verified else 0)
