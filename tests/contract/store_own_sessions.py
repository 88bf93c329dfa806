"""What a store finds of the sessions of one account."""

from __future__ import annotations

from tests.contract.store_rows import (
    ABSOLUTE_MS,
    ACCOUNT,
    APP,
    IDLE_MS,
    NOW,
    OTHER_APP,
    add_account,
    digest,
    session_of,
    start,
    touch,
)
from wxauth_server.store.ended_sessions import end_session
from wxauth_server.store.interface import Store
from wxauth_server.store.own_sessions import (
    OwnSessionRecord,
    find_session_by_handle,
    list_own_sessions,
    sessions_not_ended,
)
from wxauth_server.store.sessions import Cause, SessionRecord, insert_session


def listed(
    store: Store, now_ms: int, *, app_id: str = APP, limit: int = 100
) -> list[OwnSessionRecord]:
    return store.read(
        lambda tx: list_own_sessions(
            tx,
            app_id,
            ACCOUNT,
            idle_ms=IDLE_MS,
            absolute_ms=ABSOLUTE_MS,
            now_ms=now_ms,
            limit=limit,
        )
    )


class OwnSessionPromises:
    """What a store finds of the sessions of one account."""

    def test_an_own_session_says_what_its_owner_knows(self, store: Store) -> None:
        """What the gateway told of the device, and nulls where it told nothing."""
        add_account(store)
        begun = SessionRecord.beginning(
            digest=digest("told"),
            handle="told",
            app_id=APP,
            openid="oOne",
            account=ACCOUNT,
            now_ms=NOW + 1,
        )
        store.write(
            lambda tx: insert_session(
                tx,
                begun,
                client_address="192.0.2.1",
                client_user_agent="agent",
                client_device="phone",
            )
        )
        start(store, "untold")
        touch(store, (digest("untold"), NOW + 5, IDLE_MS))
        assert listed(store, NOW + 6) == [
            (digest("told"), "told", NOW + 1, NOW + 1, "192.0.2.1", "agent", "phone"),
            (digest("untold"), "untold", NOW, NOW + 5, None, None, None),
        ]

    def test_own_sessions_are_the_live_ones_of_an_account_in_an_app(self, store: Store) -> None:
        """Of all its WeChat users there, newest login first, to the millisecond of a limit."""
        add_account(store)
        add_account(store, "2")
        now = NOW + ABSOLUTE_MS
        start(store, "absolute", now_ms=NOW)
        store.write(
            lambda tx: tx.execute("UPDATE sessions SET last_seen_at = :now", {"now": now - 1})
        )
        start(store, "idle", now_ms=now - IDLE_MS)
        start(store, "live", now_ms=now - IDLE_MS + 1)
        start(store, "other user", openid="oTwo", now_ms=now - 2)
        ended = start(store, "ended", now_ms=now - 1)
        store.write(lambda tx: end_session(tx, ended, Cause.LOGOUT, now_ms=now))
        start(store, "other app", app_id=OTHER_APP, now_ms=now)
        start(store, "other account", account=("local", "2"), openid="oThree", now_ms=now)
        start(store, "newest", now_ms=now)
        assert [own.handle for own in listed(store, now)] == ["newest", "other user", "live"]
        assert [own.handle for own in listed(store, now, limit=2)] == ["newest", "other user"]
        assert [own.handle for own in listed(store, now, app_id=OTHER_APP)] == ["other app"]

    def test_sessions_that_nobody_ended(self, store: Store) -> None:
        """Of an account in all apps, those past their limits too."""
        add_account(store)
        add_account(store, "2")
        start(store, "long ago", now_ms=1)
        start(store, "other app", app_id=OTHER_APP)
        start(store, "other account", account=("local", "2"))
        ended = start(store, "ended")
        store.write(lambda tx: end_session(tx, ended, Cause.LOGOUT, now_ms=NOW))
        found = store.read(lambda tx: sessions_not_ended(tx, ACCOUNT))
        assert {each.handle for each in found} == {"long ago", "other app"}

    def test_a_session_is_found_by_its_handle(self, store: Store) -> None:
        """Live or dead."""
        add_account(store)
        key = start(store, "a")
        assert store.read(lambda tx: find_session_by_handle(tx, "a")) == session_of(store, key)
        store.write(lambda tx: end_session(tx, key, Cause.LOGOUT, now_ms=NOW))
        assert store.read(lambda tx: find_session_by_handle(tx, "a")) == session_of(store, key)
        assert store.read(lambda tx: find_session_by_handle(tx, "b")) is None
