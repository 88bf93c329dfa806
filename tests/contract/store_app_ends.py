"""All sessions of an app are ended by one row: every way to a session heeds it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.contract.store_own_sessions import listed
from tests.contract.store_revocations import logged, position
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
    digest,
    session_of,
    start,
    surplus,
    touch,
)
from wxauth_server.apps import App, SessionLimits
from wxauth_server.store.admin_accounts import update_username
from wxauth_server.store.admin_sessions import NEWEST, list_session_entries
from wxauth_server.store.bindings import find_binding
from wxauth_server.store.departures import Departure, personal_sessions
from wxauth_server.store.ended_sessions import (
    end_session,
    end_sessions_but,
    end_sessions_of_account,
    end_sessions_of_wechat_user,
    end_some_sessions_of_app,
    mark_some_ended,
)
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.own_sessions import find_session_by_handle, sessions_not_ended
from wxauth_server.store.purge import apps_with_ended_sessions, finish_end_of_app
from wxauth_server.store.session_keys import erase_session_key_without_session, next_session_keys
from wxauth_server.store.sessions import Cause, update_unionid

#: The sessions of the app were ended then.
THEN = NOW + 9


def end_app(store: Store, *, begun_by_ms: int = NOW, limit: int = 1, now_ms: int = THEN) -> int:
    def work(tx: Transaction) -> int:
        ended = end_some_sessions_of_app(
            tx, APP, Cause.ADMIN, begun_by_ms=begun_by_ms, limit=limit, now_ms=now_ms
        )
        return len(ended)

    return store.write(work)


class AppEndPromises:
    """What one row ends is ended, whether the rows of the sessions say so or not."""

    @pytest.fixture
    def unmarked(self, store: Store) -> bytes:
        """A session that has ended with its app, and whose own row does not say so."""
        add_account(store, username="old")
        bind(store)
        key = start(store, "unmarked", username="old")
        assert end_app(store, limit=0, now_ms=THEN) == 0
        [(stored,)] = store.read(lambda tx: tx.execute("SELECT ended_at FROM sessions"))
        assert stored is None
        return key

    def test_it_is_read_as_ended(self, store: Store, unmarked: bytes) -> None:
        """With the time and the cause; a later login and another app are not."""
        live = [
            start(store, "later", now_ms=NOW + 1),
            start(store, "other app", app_id=OTHER_APP),
        ]
        record = session_of(store, unmarked)
        assert (record.ended_at, record.ended_cause) == (THEN, "ADMIN")
        found = store.read_sessions([unmarked, *live])
        assert found[unmarked] == record
        assert [found[key].ended_at for key in live] == [None, None]
        assert store.read(lambda tx: find_session_by_handle(tx, "unmarked")) == record

    def test_it_is_in_no_list_of_live_ones(self, store: Store, unmarked: bytes) -> None:
        later = start(store, "later", now_ms=THEN + 1)
        assert [own.handle for own in listed(store, THEN + 2)] == ["later"]
        assert [each.digest for each in store.read(lambda tx: sessions_not_ended(tx, ACCOUNT))] == [
            later
        ]

        def entries(app: App | None) -> dict[str, str | None]:
            page = store.read(
                lambda tx: list_session_entries(
                    tx,
                    account=None,
                    app_id="",
                    live_in=None if app is None else [app],
                    now_ms=THEN + 2,
                    after=NEWEST,
                    limit=9,
                )
            )
            return {entry.record.handle: entry.record.ended_cause for entry in page.entries}

        live_in = App(APP, "", "local", SessionLimits(IDLE_MS, ABSOLUTE_MS, 10))
        assert entries(live_in) == {"later": None}
        assert entries(None) == {"later": None, "unmarked": "ADMIN"}
        assert session_of(store, unmarked).handle == "unmarked"

    def test_it_takes_no_place_among_live_ones(self, store: Store, unmarked: bytes) -> None:
        """The limit of live sessions ends neither it nor another in its stead."""
        start(store, "first", now_ms=THEN + 1)
        newest = start(store, "newest", now_ms=THEN + 2)
        assert surplus(store, newest, keep=2, now_ms=THEN + 3) == set()
        assert surplus(store, newest, keep=1, now_ms=THEN + 3) == {"first"}
        assert session_of(store, unmarked).ended_cause == "ADMIN"

    def test_it_does_not_end_again(self, store: Store, unmarked: bytes) -> None:
        """The first cause stays, also in its row."""
        before = session_of(store, unmarked)
        end: dict[str, Callable[[], object]] = {
            "one": lambda: store.write(
                lambda tx: end_session(tx, unmarked, Cause.LOGOUT, now_ms=THEN + 1)
            ),
            "user": lambda: store.write(
                lambda tx: end_sessions_of_wechat_user(
                    tx, APP, OPENID, Cause.UNBOUND, now_ms=THEN + 1
                )
            ),
            "account": lambda: store.write(
                lambda tx: end_sessions_of_account(
                    tx, ACCOUNT, Cause.ACCOUNT_DELETED, now_ms=THEN + 1
                )
            ),
            "others": lambda: store.write(
                lambda tx: end_sessions_but(
                    tx, ACCOUNT, Cause.PASSWORD_CHANGED, kept_handle=None, now_ms=THEN + 1
                )
            ),
        }
        assert {way: bool(work()) for way, work in end.items()} == dict.fromkeys(end, False)
        assert session_of(store, unmarked) == before
        assert end_app(store, limit=9, now_ms=THEN + 2) == 1
        assert session_of(store, unmarked) == before

    def test_nothing_is_written_to_it(self, store: Store, unmarked: bytes) -> None:
        """No use, no unionid, no name: as with a row that says it has ended."""
        before = session_of(store, unmarked)
        touch(store, (unmarked, NOW + 5, IDLE_MS))
        store.write(lambda tx: update_unionid(tx, APP, OPENID, "uOne"))
        store.write(lambda tx: update_username(tx, *ACCOUNT, username="New", username_key="new"))
        assert session_of(store, unmarked) == before

    def test_it_is_dead_for_who_leaves(self, store: Store, unmarked: bytes) -> None:
        """What it tells of its user goes with them."""
        departure = Departure(*ACCOUNT, "", "", THEN)
        found = store.read(
            lambda tx: personal_sessions(tx, departure, pseudonym_prefix="~", limit=9)
        )
        assert [each.digest for each in found] == [unmarked]

    def test_it_keeps_no_session_key(self, store: Store, unmarked: bytes) -> None:
        """WeChat's key goes with the last live session."""
        del unmarked
        store.write(lambda tx: tx.execute("UPDATE bindings SET session_key = :k", {"k": b"k"}))
        keys = store.read(
            lambda tx: next_session_keys(
                tx,
                APP,
                after_openid="",
                idle_ms=IDLE_MS,
                absolute_ms=ABSOLUTE_MS,
                now_ms=NOW + 10,
                limit=9,
            )
        )
        assert list(keys) == [(OPENID, False)]
        assert store.write(
            lambda tx: erase_session_key_without_session(
                tx, APP, OPENID, idle_ms=IDLE_MS, absolute_ms=ABSOLUTE_MS, now_ms=NOW + 10
            )
        )
        binding = store.read(lambda tx: find_binding(tx, APP, OPENID))
        assert binding is not None
        assert binding.session_key is None

    def test_all_sessions_of_an_app_are_one_entry(self, store: Store) -> None:
        """However often it is repeated while their rows are marked; a later end is another."""
        add_account(store)
        for number in range(5):
            start(store, number)
        assert [end_app(store, limit=2, now_ms=NOW + 9 + n) for n in range(4)] == [2, 2, 1, 0]
        assert logged(store) == [(1, None, APP, NOW)]
        for number in range(5):
            assert session_of(store, digest(number))[6:8] == (NOW + 9, "ADMIN")
        end_app(store, begun_by_ms=NOW - 1)
        assert position(store) == 1
        end_app(store, begun_by_ms=NOW + 1)
        assert logged(store, after=1) == [(2, None, APP, NOW + 1)]

    def test_what_ended_an_app_goes_when_every_row_says_so(self, store: Store) -> None:
        """The purge marks what an operator left, and leaves no cut for slow clocks behind."""
        add_account(store)
        keys = [start(store, number) for number in range(5)]
        end_app(store)

        def apps(now_ms: int) -> list[str]:
            return store.read(partial(apps_with_ended_sessions, now_ms=now_ms, left_ms=50))

        # A server whose clock is behind that of the end leaves it alone as long.
        assert [apps(THEN + ms) for ms in (-50, -1, 0, 50)] == [[]] * 4
        assert [apps(THEN + ms) for ms in (-51, 51)] == [[APP]] * 2
        finish = partial(finish_end_of_app, app_id=APP, limit=2)
        assert [store.write(finish) for _ in range(2)] == [2, 2]
        assert apps(THEN + 51) == [APP]
        assert store.write(finish) == 0
        assert apps(THEN + 51) == []
        assert {session_of(store, key)[6:8] for key in keys} == {(NOW + 9, "ADMIN")}
        assert store.write(partial(mark_some_ended, app_id=APP, limit=9)) == []
        assert session_of(store, start(store, "slow clock")).ended_at is None

    def test_other_apps_go_on(self, store: Store) -> None:
        """In every way to read them; those of the app do not."""
        add_account(store)
        keys = [start(store, "mine"), start(store, "other", app_id=OTHER_APP)]
        end_app(store)
        found = store.read_sessions(keys)
        assert [found[key].ended_at for key in keys] == [THEN, None]
        assert [session_of(store, key) for key in keys] == [found[key] for key in keys]
