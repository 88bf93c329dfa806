"""What a store keeps of bindings."""

from __future__ import annotations

import pytest

from tests.contract.store_rows import (
    ACCOUNT,
    APP,
    NOW,
    OPENID,
    OTHER_APP,
    account_of,
    add_account,
    bind,
)
from wxauth_server.store.accounts import AccountRecord, lock_bound_account, set_disabled
from wxauth_server.store.bindings import (
    BindingRecord,
    allow_sibling_login,
    bindings_of_account,
    bindings_of_unionid,
    delete_binding,
    find_binding,
    find_exclusive_binding,
    forbid_sibling_login,
    lock_binding,
    may_log_in_by_sibling,
)
from wxauth_server.store.interface import Store


class BindingPromises:
    """What a store keeps of bindings."""

    def test_a_binding_comes_back_as_it_was_made(self, store: Store) -> None:
        """Every column, and only for its app and openid."""
        add_account(store)
        assert bind(store, unionid="uOne")
        expected = BindingRecord(APP, OPENID, "local", "1", "uOne", NOW, None, None, None)
        assert store.read(lambda tx: find_binding(tx, APP, OPENID)) == expected
        assert store.read(lambda tx: find_binding(tx, OTHER_APP, OPENID)) is None
        assert store.read(lambda tx: find_binding(tx, APP, "oTwo")) is None

    @pytest.mark.parametrize("exclusive", [True, False])
    def test_a_wechat_user_is_bound_once(self, store: Store, exclusive: bool) -> None:
        """UNIQUE (app_id, openid) whatever the policy, to this account or another."""
        add_account(store, "1")
        add_account(store, "2")
        assert bind(store, exclusive=exclusive)
        assert not bind(store, account=("local", "2"), exclusive=exclusive)
        assert not bind(store, exclusive=exclusive)
        assert bind(store, account=("local", "2"), app_id=OTHER_APP, exclusive=exclusive)
        bound = store.read(lambda tx: find_binding(tx, APP, OPENID))
        assert bound is not None
        assert bound.account == ACCOUNT

    def test_an_account_is_bound_once_where_that_is_exclusive(self, store: Store) -> None:
        """UNIQUE (app_id, account) in an app that wants it, never across apps."""
        add_account(store)
        assert bind(store, "oOne")
        assert not bind(store, "oTwo")
        assert bind(store, "oTwo", app_id=OTHER_APP)
        assert len(store.read(lambda tx: bindings_of_account(tx, ACCOUNT))) == 2

    def test_an_account_may_be_bound_to_several_wechat_users(self, store: Store) -> None:
        """In an app that allows it."""
        add_account(store)
        assert all(bind(store, openid, exclusive=False) for openid in ("oOne", "oTwo", "oThree"))

    def test_the_lock_of_a_binding_fills_in_the_unionid(self, store: Store) -> None:
        """When it first appears; a login without one leaves it."""
        add_account(store)
        bind(store)

        def lock(unionid: str | None) -> str | None:
            locked = store.write(lambda tx: lock_binding(tx, APP, OPENID, ACCOUNT, unionid=unionid))
            assert locked == store.read(lambda tx: find_binding(tx, APP, OPENID))
            assert locked is not None
            return locked.unionid

        assert [lock(None), lock("uOne"), lock(None)] == [None, "uOne", "uOne"]

    def test_the_lock_of_a_binding_to_another_account_is_refused(self, store: Store) -> None:
        """And fills nothing in; neither is there one of a WeChat user who is not bound."""
        add_account(store, "1")
        add_account(store, "2")
        bind(store)

        def lock(app_id: str, openid: str, account: tuple[str, str]) -> BindingRecord | None:
            return store.write(lambda tx: lock_binding(tx, app_id, openid, account, unionid="uOne"))

        assert lock(APP, OPENID, ("local", "2")) is None
        assert lock(APP, OPENID, ("http", "1")) is None
        assert lock(APP, "oTwo", ACCOUNT) is None
        assert lock(OTHER_APP, OPENID, ACCOUNT) is None
        bound = store.read(lambda tx: find_binding(tx, APP, OPENID))
        assert bound is not None
        assert bound.unionid is None

    def test_a_binding_ends_once(self, store: Store) -> None:
        """The one that was comes back, then None; account and WeChat user are free again."""
        add_account(store)
        bind(store, unionid="uOne")
        ended = store.write(lambda tx: delete_binding(tx, APP, OPENID))
        assert ended == BindingRecord(APP, OPENID, "local", "1", "uOne", NOW, None, None, None)
        assert store.write(lambda tx: delete_binding(tx, APP, OPENID)) is None
        assert bind(store, "oTwo")

    def test_the_exclusive_binding_of_an_account(self, store: Store) -> None:
        """Of this app and account; one that is not exclusive is none."""
        add_account(store, "1")
        add_account(store, "2")
        bind(store)
        bind(store, "oTwo", ("local", "2"), exclusive=False)
        bind(store, "oThree", app_id=OTHER_APP, exclusive=False)

        def find(account: tuple[str, str], app_id: str = APP) -> BindingRecord | None:
            return store.read(lambda tx: find_exclusive_binding(tx, app_id, account))

        assert find(ACCOUNT) == store.read(lambda tx: find_binding(tx, APP, OPENID))
        assert find(("local", "2")) is None
        assert find(("http", "1")) is None
        assert find(ACCOUNT, OTHER_APP) is None

    def test_the_bindings_of_a_unionid(self, store: Store) -> None:
        """In all apps, in one order; those whose unionid is unknown are nobody's."""
        add_account(store)
        bind(store, "oB", app_id=OTHER_APP, exclusive=False, unionid="uOne")
        bind(store, "oC", exclusive=False, unionid="uOne")
        bind(store, "oA", exclusive=False, unionid="uOne")
        bind(store, "oD", exclusive=False, unionid="uTwo")
        bind(store, "oE", exclusive=False)

        def openids(unionid: str) -> list[str]:
            return [b.openid for b in store.read(lambda tx: bindings_of_unionid(tx, unionid))]

        assert openids("uOne") == ["oA", "oC", "oB"]
        assert openids("uTwo") == ["oD"]
        assert openids("uone") == openids("") == []

    def test_who_has_left_is_remembered(self, store: Store) -> None:
        """Until it is forgotten, of one app only; either is safe to repeat."""

        def may(openid: str = OPENID, app_id: str = APP) -> bool:
            return store.read(lambda tx: may_log_in_by_sibling(tx, app_id, openid))

        assert may()
        for _ in range(2):
            store.write(lambda tx: forbid_sibling_login(tx, APP, OPENID))
            assert [may(), may("oTwo"), may(OPENID, OTHER_APP)] == [False, True, True]
        for _ in range(2):
            store.write(lambda tx: allow_sibling_login(tx, APP, OPENID))
            assert may()

    def test_the_account_of_a_wechat_user_is_locked(self, store: Store) -> None:
        """The row as it is, and nothing is changed by it; None if there is none, or disabled."""
        add_account(store, "1")
        add_account(store, "2", password="a")
        add_account(store, "1", source="http")
        bind(store, account=("local", "2"))
        bind(store, app_id=OTHER_APP, account=("http", "1"))

        def lock(app_id: str, openid: str) -> AccountRecord | None:
            return store.write(lambda tx: lock_bound_account(tx, app_id, openid))

        before = account_of(store, ("local", "2"))
        assert lock(APP, OPENID) == before == account_of(store, ("local", "2"))
        assert lock(OTHER_APP, OPENID) == account_of(store, ("http", "1"))
        assert lock(APP, "oTwo") is None
        assert lock("wx", OPENID) is None
        store.write(lambda tx: set_disabled(tx, "local", "2", disabled_at=NOW))
        assert lock(APP, OPENID) is None
        assert lock(OTHER_APP, OPENID) is not None
