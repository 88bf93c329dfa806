"""What a store knows of the keys that its rows need, and where what they sealed lies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.contract.store_exchanges import exchange, insert, settle
from tests.contract.store_rows import ACCOUNT, APP, OPENID, OTHER_APP, add_account, bind, digest
from wxauth_server.store.bindings import find_binding, lock_binding
from wxauth_server.store.exchanges import find_exchange
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.keys import (
    SealedRow,
    count_peppered,
    count_sealed,
    forget_key,
    keys_in_use,
    note_key_in_use,
    noted_keys,
    replace_sealed,
    sealed_bindings,
    sealed_exchanges,
)

CHECK, OTHER_CHECK = b"\0" * 16, b"\xff" * 16


def seal(store: Store, openid: str, app_id: str = APP, key_id: str = "seal-1") -> None:
    """A binding of ACCOUNT whose session_key is its own openid, sealed."""
    bind(store, openid, app_id=app_id, exclusive=False)
    store.write(
        lambda tx: lock_binding(
            tx,
            app_id,
            openid,
            ACCOUNT,
            session_key=openid.encode(),
            session_key_id=key_id,
            session_key_at=1,
        )
    )


class KeyPromises:
    """What a store knows of keys."""

    def test_keys_in_use_are_noted_once(self, store: Store) -> None:
        """Noting again is no error; purpose and id together are the key."""

        def work(tx: Transaction) -> None:
            for purpose, key_id in (("seal", "a"), ("pepper", "b"), ("pepper", "a")):
                note_key_in_use(tx, purpose, key_id)

        store.write(work)
        store.write(work)
        assert store.read(keys_in_use) == [("pepper", "a"), ("pepper", "b"), ("seal", "a")]

    def test_a_check_value_is_filled_in_once(self, store: Store) -> None:
        """A missing one; one that is there stays, or a changed key would go unnoticed."""

        def note(check_value: bytes | None) -> bytes | None:
            store.write(lambda tx: note_key_in_use(tx, "seal", "a", check_value=check_value))
            [key] = store.read(noted_keys)
            return key.check_value

        assert [note(None), note(CHECK), note(None), note(OTHER_CHECK)] == [None, *[CHECK] * 3]

    def test_a_key_is_forgotten(self, store: Store) -> None:
        """That one alone; again is no error."""
        for purpose, key_id in (("seal", "a"), ("seal", "b"), ("pepper", "a")):
            store.write(partial(note_key_in_use, purpose=purpose, key_id=key_id))
        for _ in range(2):
            store.write(lambda tx: forget_key(tx, "seal", "a"))
            assert store.read(keys_in_use) == [("pepper", "a"), ("seal", "b")]

    @pytest.mark.parametrize(
        ("stored", "counts"),
        [
            ("bcrypt-hmac-sha256$pepper-1$hash", True),
            ("other-2$pepper-1$", True),
            ("bcrypt$$2b$pepper-1$", False),
            ("bcrypt-hmac-sha256$pepper-10$hash", False),
            ("bcrypt-hmac-sha256$PEPPER-1$hash", False),
            ("bcrypt-hmac-sha256$pepper_1$hash", False),
            (None, False),
        ],
    )
    def test_peppered_hashes_are_counted(
        self, store: Store, stored: str | None, counts: bool
    ) -> None:
        """By the whole id, in its place."""
        add_account(store, password=stored)
        assert store.read(lambda tx: count_peppered(tx, "pepper-1")) == int(counts)

    def test_what_a_key_seals_is_counted(self, store: Store) -> None:
        """On bindings and on exchanges; what was erased or settled needs no key."""
        add_account(store)

        def count(key_id: str = "seal-1") -> int:
            return store.read(lambda tx: count_sealed(tx, key_id))

        assert count() == 0
        seal(store, OPENID)
        seal(store, OPENID, OTHER_APP)
        seal(store, "oTwo", key_id="seal-2")
        insert(store, exchange())
        assert [count(), count("seal-2"), count("SEAL-1")] == [3, 1, 0]
        settle(store, "code", "LOGGED_IN")
        assert count() == 2

    def test_sealed_rows_come_page_by_page(self, store: Store) -> None:
        """Those of one key, each once, in the order of their primary keys."""
        add_account(store)
        for openid, app_id in (("oB", APP), ("oA", OTHER_APP), ("oA", APP)):
            seal(store, openid, app_id)
        seal(store, "oAA", key_id="seal-2")
        codes = sorted(digest(number) for number in range(3))
        for number in range(3):
            insert(store, exchange(number))
        insert(store, exchange("other", session_key_id="seal-2"))

        def pages(read: Callable[..., list[SealedRow]]) -> list[SealedRow]:
            def page(after: SealedRow | None) -> list[SealedRow]:
                return store.read(lambda tx: read(tx, "seal-1", after=after, limit=2))

            rows = page(None)
            while following := page(rows[-1]):
                rows += following
            return rows

        assert pages(sealed_bindings) == [
            SealedRow(APP, "oA", None, b"oA"),
            SealedRow(APP, "oB", None, b"oB"),
            SealedRow(OTHER_APP, "oA", None, b"oA"),
        ]
        assert pages(sealed_exchanges) == [
            SealedRow(APP, OPENID, code, b"\0sealed\xff") for code in codes
        ]

    @pytest.mark.parametrize("new", [("seal-2", b"sealed anew"), None])
    def test_a_sealed_row_is_replaced(self, store: Store, new: tuple[str, bytes] | None) -> None:
        """Or erased; the same of another user or code is left alone."""
        add_account(store)
        seal(store, OPENID)
        seal(store, "oTwo")
        insert(store, exchange())
        insert(store, exchange("other"))
        rows = [
            SealedRow(APP, OPENID, None, OPENID.encode()),
            SealedRow(APP, OPENID, digest("code"), b"\0sealed\xff"),
        ]
        for row in rows:
            replace = partial(replace_sealed, row=row, key_id="seal-1", new=new)
            assert store.write(replace)
            assert not store.write(replace)
        expected = (new[1], new[0]) if new else (None, None)

        def kept(tx: Transaction) -> list[tuple[bytes | None, str | None]]:
            records = [
                find_binding(tx, APP, OPENID),
                find_exchange(tx, APP, digest("code")),
                find_binding(tx, APP, "oTwo"),
                find_exchange(tx, APP, digest("other")),
            ]
            return [(each.session_key, each.session_key_id) for each in records if each]

        assert store.read(kept) == [
            expected,
            expected,
            (b"oTwo", "seal-1"),
            (b"\0sealed\xff", "seal-1"),
        ]

    def test_a_newer_session_key_is_not_replaced(self, store: Store) -> None:
        """A login came in between: what it brought stays."""
        add_account(store)
        seal(store, OPENID)
        for row in (
            SealedRow(APP, OPENID, None, b"the former one"),
            SealedRow(APP, "oNobody", None, OPENID.encode()),
            SealedRow(OTHER_APP, OPENID, None, OPENID.encode()),
        ):
            assert not store.write(partial(replace_sealed, row=row, key_id="seal-1", new=None))
        current = SealedRow(APP, OPENID, None, OPENID.encode())
        assert not store.write(lambda tx: replace_sealed(tx, current, "seal-2", new=None))
        assert store.write(lambda tx: replace_sealed(tx, current, "seal-1", new=None))
