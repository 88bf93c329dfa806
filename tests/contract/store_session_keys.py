"""What a store keeps of session_keys: they lie on the binding and go with its sessions."""

from __future__ import annotations

import pytest

from tests.contract.store_rows import (
    ABSOLUTE_MS,
    ACCOUNT,
    APP,
    IDLE_MS,
    NOW,
    OPENID,
    OTHER_APP,
    add_account,
    bind,
    start,
    touch,
)
from wxauth_server.store.bindings import find_binding, lock_binding
from wxauth_server.store.ended_sessions import end_session
from wxauth_server.store.interface import Store
from wxauth_server.store.session_keys import (
    erase_session_key_without_session,
    next_session_keys,
    renew_session_key,
    replace_session_key,
)
from wxauth_server.store.sessions import Cause

SEALED = b"\0sealed\xff"


def bound(store: Store, openid: str = OPENID, app_id: str = APP, *, exclusive: bool = True) -> None:
    """A binding of ACCOUNT with a session_key."""
    assert bind(store, openid, app_id=app_id, exclusive=exclusive)
    store.write(
        lambda tx: lock_binding(
            tx,
            app_id,
            openid,
            ACCOUNT,
            session_key=SEALED,
            session_key_id="seal-1",
            session_key_at=NOW,
        )
    )


def key_of(
    store: Store, openid: str = OPENID, app_id: str = APP
) -> tuple[bytes | None, str | None]:
    record = store.read(lambda tx: find_binding(tx, app_id, openid))
    assert record is not None
    return record.session_key, record.session_key_id


def erase(store: Store, now_ms: int = NOW, *, openid: str = OPENID, app_id: str = APP) -> bool:
    return store.write(
        lambda tx: erase_session_key_without_session(
            tx, app_id, openid, idle_ms=IDLE_MS, absolute_ms=ABSOLUTE_MS, now_ms=now_ms
        )
    )


class SessionKeyPromises:
    """What a store keeps of session_keys."""

    def test_the_lock_of_a_binding_keeps_the_newest_session_key(self, store: Store) -> None:
        """A login brings one; a lock that brings none leaves it."""
        add_account(store)
        bound(store)
        assert key_of(store) == (SEALED, "seal-1")
        store.write(lambda tx: lock_binding(tx, APP, OPENID, ACCOUNT))
        assert key_of(store) == (SEALED, "seal-1")

        def lock(session_key: bytes, at: int) -> tuple[bytes | None, str | None]:
            locked = store.write(
                lambda tx: lock_binding(
                    tx,
                    APP,
                    OPENID,
                    ACCOUNT,
                    session_key=session_key,
                    session_key_id="seal-2",
                    session_key_at=at,
                )
            )
            assert locked is not None
            return locked.session_key, locked.session_key_id

        assert lock(b"older", NOW - 1) == key_of(store) == (SEALED, "seal-1")
        assert lock(b"newer", NOW + 1) == key_of(store) == (b"newer", "seal-2")
        assert lock(b"late", NOW) == key_of(store) == (b"newer", "seal-2")

    def test_a_session_key_is_renewed_where_there_is_one(self, store: Store) -> None:
        """By a code that gave no session: not over a newer one, not where it was erased."""
        add_account(store)
        bound(store)

        def renew(session_key: bytes, at: int, openid: str = OPENID) -> None:
            store.write(
                lambda tx: renew_session_key(
                    tx,
                    APP,
                    openid,
                    session_key=session_key,
                    session_key_id="seal-2",
                    session_key_at=at,
                )
            )

        renew(b"older", NOW - 1)
        renew(b"another's", NOW + 1, "oTwo")
        assert key_of(store) == (SEALED, "seal-1")
        renew(b"newer", NOW + 1)
        assert key_of(store) == (b"newer", "seal-2")
        erase(store)
        renew(b"after all", NOW + 2)
        assert key_of(store) == (None, None)

    def test_a_session_key_is_replaced_if_it_is_still_the_one(self, store: Store) -> None:
        """Not over a newer one, not where there is none, and of this WeChat user only."""
        add_account(store)
        for openid, app_id in ((OPENID, APP), ("oTwo", APP), (OPENID, OTHER_APP)):
            bound(store, openid, app_id, exclusive=False)

        def replace(former: bytes, openid: str = OPENID) -> bool:
            return store.write(
                lambda tx: replace_session_key(
                    tx,
                    APP,
                    openid,
                    former=former,
                    session_key=b"new",
                    session_key_id="seal-2",
                    now_ms=NOW,
                )
            )

        assert not replace(b"another")
        assert not replace(SEALED, "oNobody")
        assert replace(SEALED)
        assert not replace(SEALED)
        assert key_of(store) == (b"new", "seal-2")
        assert key_of(store, "oTwo") == key_of(store, OPENID, OTHER_APP) == (SEALED, "seal-1")
        erase(store)
        assert not replace(b"new")
        assert key_of(store) == (None, None)

    def test_without_a_session_it_is_erased_once(self, store: Store) -> None:
        """Of this WeChat user only; the binding stays."""
        add_account(store)
        for openid, app_id in ((OPENID, APP), ("oTwo", APP), (OPENID, OTHER_APP)):
            bound(store, openid, app_id, exclusive=False)
        assert erase(store)
        assert key_of(store) == (None, None)
        assert not erase(store)
        assert not erase(store, openid="oNobody")
        assert key_of(store, "oTwo") == key_of(store, OPENID, OTHER_APP) == (SEALED, "seal-1")

    @pytest.mark.parametrize("limit", ["idle", "absolute", "ended"])
    def test_a_live_session_keeps_it(self, store: Store, limit: str) -> None:
        """To the millisecond of either limit, or until it is ended."""
        add_account(store)
        bound(store)
        session = start(store, "a")
        end_ms = NOW + (ABSOLUTE_MS if limit == "absolute" else IDLE_MS)
        if limit == "absolute":
            for seen_at in range(NOW, end_ms, IDLE_MS - 1):
                touch(store, (session, seen_at, IDLE_MS))
        assert not erase(store, end_ms - 1)
        assert key_of(store) == (SEALED, "seal-1")
        if limit == "ended":
            end_ms -= 1
            store.write(lambda tx: end_session(tx, session, Cause.LOGOUT, now_ms=end_ms))
        assert erase(store, end_ms)

    def test_the_session_of_somebody_else_does_not_keep_it(self, store: Store) -> None:
        add_account(store)
        bound(store)
        start(store, "other user", openid="oTwo")
        start(store, "other app", app_id=OTHER_APP)
        assert erase(store)

    def test_the_next_ones_in_their_order(self, store: Store) -> None:
        """Those with a session_key, by openid, from behind one on; and who has a live session."""
        add_account(store)
        for openid in ("oD", "oB", "oA", "oC"):
            bound(store, openid, exclusive=False)
        bound(store, "oA", OTHER_APP)
        assert bind(store, "oBB", exclusive=False), "without a session_key"
        start(store, "live", openid="oB", now_ms=NOW)
        start(store, "expired", openid="oC", now_ms=NOW - IDLE_MS)

        def following(after: str, limit: int) -> list[tuple[str, bool]]:
            return list(
                store.read(
                    lambda tx: next_session_keys(
                        tx,
                        APP,
                        after_openid=after,
                        idle_ms=IDLE_MS,
                        absolute_ms=ABSOLUTE_MS,
                        now_ms=NOW,
                        limit=limit,
                    )
                )
            )

        everybody = [("oA", False), ("oB", True), ("oC", False), ("oD", False)]
        assert following("", 9) == everybody
        assert following("", 2) == everybody[:2]
        assert following("oB", 9) == everybody[2:]
        assert following("oD", 9) == []
