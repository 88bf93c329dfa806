"""What a store lists and ends for an operator."""

from __future__ import annotations

import pytest

from tests.contract.store_rows import (
    ACCOUNT,
    APP,
    IDLE_MS,
    NOW,
    OTHER_APP,
    add_account,
    bind,
    session_of,
    start,
)
from wxauth_server.apps import App, SessionLimits
from wxauth_server.store import admin_sessions
from wxauth_server.store.accounts import find_account_by_username
from wxauth_server.store.admin_accounts import (
    find_account_entry,
    list_accounts_after,
    update_username,
)
from wxauth_server.store.admin_bindings import list_bindings_after
from wxauth_server.store.admin_sessions import NEWEST, SessionPosition, list_session_entries
from wxauth_server.store.ended_sessions import (
    end_session,
    end_sessions_but,
    end_some_sessions_of_app,
)
from wxauth_server.store.interface import Store
from wxauth_server.store.sessions import Cause

SHORT = App(APP, "", "local", SessionLimits(IDLE_MS, 10 * IDLE_MS, 10))


def pages_of_sessions(
    store: Store, *, app_id: str = "", live: bool = False, limit: int = 100
) -> list[list[str]]:
    """The handles of each page."""
    pages = []
    after: SessionPosition | None = NEWEST
    while after is not None:
        behind = after
        page = store.read(
            lambda tx, behind=behind: list_session_entries(  # type: ignore[misc]
                tx,
                account=None,
                app_id=app_id,
                live_in=[SHORT] if live else None,
                now_ms=NOW + 100,
                after=behind,
                limit=limit,
            )
        )
        pages.append([entry.record.handle for entry in page.entries])
        after = page.next
    return pages


class AdministrationPromises:
    """What a store lists and ends for an operator."""

    def test_accounts_in_the_order_of_their_ids(self, store: Store) -> None:
        for account_id in ("b", "a", "c", "B"):
            add_account(store, account_id)
        add_account(store, "z", source="other")
        store.write(lambda tx: tx.execute("UPDATE accounts SET deleted_at = 7 WHERE id = 'c'"))

        def ids(after: str, *, deleted: bool, limit: int = 9) -> list[str]:
            found = store.read(
                lambda tx: list_accounts_after(tx, "local", after, deleted=deleted, limit=limit)
            )
            return [entry.record.id for entry in found]

        assert ids("", deleted=False) == ["B", "a", "b"]
        assert ids("B", deleted=False, limit=1) == ["a"]
        assert ids("b", deleted=False) == []
        assert ids("", deleted=True) == ["c"]
        entry = store.read(lambda tx: find_account_entry(tx, "local", "c"))
        assert entry is not None
        assert entry.deleted_at == 7
        assert store.read(lambda tx: find_account_entry(tx, "local", "z")) is None

    def test_another_username(self, store: Store) -> None:
        """Known to sessions that have not ended; one that has keeps what it had."""
        add_account(store, username="old")
        ended, live = start(store, "ended"), start(store, "live")
        store.write(lambda tx: end_session(tx, ended, Cause.LOGOUT, now_ms=NOW))
        store.write(lambda tx: update_username(tx, *ACCOUNT, username="New", username_key="new"))
        found = store.read(lambda tx: find_account_by_username(tx, "local", "new"))
        assert found is not None
        assert (found.id, found.username) == ("1", "New")
        assert store.read(lambda tx: find_account_by_username(tx, "local", "old")) is None
        assert session_of(store, live).username == "New"
        assert session_of(store, ended).username != "New"

    def test_bindings_in_the_order_of_app_and_openid(self, store: Store) -> None:
        add_account(store)
        add_account(store, "2")
        for openid, account_id in (("b", "1"), ("a", "2"), ("c", "1")):
            bind(store, openid, ("local", account_id), exclusive=False)
        bind(store, "a", app_id=OTHER_APP, exclusive=False)

        def found(
            account: tuple[str, str] | None = None,
            *,
            app_id: str = "",
            openid: str = "",
            after: tuple[str, str] = ("", ""),
        ) -> list[tuple[str, str]]:
            records = store.read(
                lambda tx: list_bindings_after(
                    tx, account=account, app_id=app_id, openid=openid, after=after, limit=9
                )
            )
            return [(record.app_id, record.openid) for record in records]

        everything = [(APP, "a"), (APP, "b"), (APP, "c"), (OTHER_APP, "a")]
        assert found() == everything
        assert found(after=(APP, "b")) == everything[2:]
        assert found(ACCOUNT) == everything[1:]
        assert found(app_id=APP) == everything[:3]
        assert found(app_id=APP, openid="a") == everything[:1]
        assert found(ACCOUNT, app_id=APP, openid="a") == []

    def test_sessions_newest_login_first(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A filter looks at so many and no more; what passes it comes all the same."""
        add_account(store)
        for number in range(7):
            start(store, number, now_ms=NOW + number // 2)
        other = start(store, "other", app_id=OTHER_APP, now_ms=NOW - 1)
        assert session_of(store, other).app_id == OTHER_APP
        [whole] = pages_of_sessions(store)
        assert whole == ["6", "4", "5", "2", "3", "0", "1", "other"]
        for limit in (1, 2, 3, 8):
            pages = pages_of_sessions(store, limit=limit)
            assert [handle for page in pages for handle in page] == whole
            assert all(len(page) == limit for page in pages[:-1])
        monkeypatch.setattr(admin_sessions, "LOOKED_AT", 3)
        pages = pages_of_sessions(store, app_id=OTHER_APP)
        assert [len(page) for page in pages] == [0, 0, 1]
        live = pages_of_sessions(store, live=True, limit=2)
        assert [handle for page in live for handle in page] == whole[:-1]

    def test_all_sessions_but_one_end(self, store: Store) -> None:
        add_account(store)
        kept, ended = start(store, "kept"), start(store, "ended")
        handle = session_of(store, kept).handle
        found = store.write(
            lambda tx: end_sessions_but(
                tx, ACCOUNT, Cause.ADMIN, kept_handle=handle, now_ms=NOW + 1
            )
        )
        assert [session.digest for session in found] == [ended]
        assert session_of(store, ended)[6:8] == (NOW + 1, "ADMIN")
        assert session_of(store, kept).ended_at is None
        again = store.write(
            lambda tx: end_sessions_but(tx, ACCOUNT, Cause.ADMIN, kept_handle=None, now_ms=NOW)
        )
        assert [session.digest for session in again] == [kept]

    def test_sessions_of_an_app_end_a_little_at_a_time(self, store: Store) -> None:
        add_account(store)
        sessions = [start(store, number) for number in range(5)]
        later = start(store, "later", now_ms=NOW + 1)
        other = start(store, "other", app_id=OTHER_APP)

        def end() -> int:
            return len(
                store.write(
                    lambda tx: end_some_sessions_of_app(
                        tx, APP, Cause.ADMIN, begun_by_ms=NOW, limit=2, now_ms=NOW + 9
                    )
                )
            )

        assert [end() for _ in range(4)] == [2, 2, 1, 0]
        assert all(session_of(store, session).ended_cause == "ADMIN" for session in sessions)
        assert session_of(store, later).ended_at is None
        assert session_of(store, other).ended_at is None
