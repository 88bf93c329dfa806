"""How sessions end in a store, and what use does to them."""

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
    digest,
    session_of,
    start,
    surplus,
    touch,
)
from wxauth_server.store.ended_sessions import (
    end_session,
    end_sessions_of_account,
    end_sessions_of_wechat_user,
)
from wxauth_server.store.interface import Store
from wxauth_server.store.sessions import Cause, SessionRecord, insert_session


class EndingPromises:
    """How sessions end in a store, and what use does to them."""

    def test_a_session_ends_once(self, store: Store) -> None:
        """The first cause and time stay; what was never issued does not end."""
        add_account(store)
        session, bystander = start(store, "a"), start(store, "b")

        def end(key: bytes, cause: Cause, now_ms: int) -> bool:
            return store.write(lambda tx: end_session(tx, key, cause, now_ms=now_ms))

        assert end(session, Cause.LOGOUT, NOW + 1)
        assert not end(session, Cause.UNBOUND, NOW + 2)
        assert not end(digest("never"), Cause.LOGOUT, NOW)
        assert session_of(store, session)[6:8] == (NOW + 1, "LOGOUT")
        assert session_of(store, bystander).ended_at is None

    def test_the_oldest_logins_beyond_the_limit_end(self, store: Store) -> None:
        """Oldest first, by login and not by use; their handles come back."""
        add_account(store)
        sessions = [start(store, number, now_ms=NOW + number) for number in range(5)]
        touch(store, (sessions[0], NOW + 50, IDLE_MS))
        assert surplus(store, sessions[4], keep=5, now_ms=NOW + 60) == set()
        assert surplus(store, sessions[4], keep=3, now_ms=NOW + 60) == {"0", "1"}
        assert [session_of(store, key)[6:8] for key in sessions] == (
            [(NOW + 60, "REPLACED")] * 2 + [(None, None)] * 3
        )
        assert surplus(store, sessions[4], keep=3, now_ms=NOW + 60) == set()

    @pytest.mark.parametrize("newest", range(4))
    def test_the_new_session_stays_among_logins_of_one_moment(
        self, store: Store, newest: int
    ) -> None:
        """A tie, or a clock that went back, never ends the login that is being answered."""
        add_account(store)
        sessions = [start(store, number) for number in range(4)]
        touch(store, *((key, NOW + 5, IDLE_MS) for key in sessions))
        later = start(store, "later", now_ms=NOW + 10)
        ended = surplus(store, sessions[newest], keep=2, now_ms=NOW + 10)
        assert len(ended) == 3
        live = [key for key in [*sessions, later] if session_of(store, key).ended_at is None]
        assert set(live) == {sessions[newest], later}

    def test_only_live_sessions_count(self, store: Store) -> None:
        """Expired ones, to the millisecond, and ended ones take no place and get no cause."""
        add_account(store)
        now = NOW + ABSOLUTE_MS
        idle = start(store, "idle", now_ms=now - IDLE_MS)
        absolute = start(store, "absolute", now_ms=now - ABSOLUTE_MS)
        self._keep_in_use(store, absolute, NOW, now - 1)
        ended = start(store, "ended", now_ms=now - 1)
        store.write(lambda tx: end_session(tx, ended, Cause.LOGOUT, now_ms=now - 1))
        start(store, "nearly idle", now_ms=now - IDLE_MS + 1)
        nearly_absolute = start(store, "nearly absolute", now_ms=now - ABSOLUTE_MS + 1)
        self._keep_in_use(store, nearly_absolute, NOW + 1, now - 1)
        newest = start(store, "newest", now_ms=now)
        assert surplus(store, newest, keep=3, now_ms=now) == set()
        assert surplus(store, newest, keep=2, now_ms=now) == {"nearly absolute"}
        assert surplus(store, newest, keep=1, now_ms=now) == {"nearly idle"}
        assert session_of(store, idle).ended_at is None
        assert session_of(store, absolute).ended_at is None
        assert session_of(store, ended).ended_cause == "LOGOUT"

    @staticmethod
    def _keep_in_use(store: Store, session: bytes, login_ms: int, until_ms: int) -> None:
        for seen_at in [*range(login_ms + 1, until_ms, IDLE_MS - 1), until_ms]:
            touch(store, (session, seen_at, IDLE_MS))
        assert session_of(store, session).last_seen_at == until_ms

    def test_other_users_have_a_limit_of_their_own(self, store: Store) -> None:
        """The limit is that of one WeChat user in one app."""
        add_account(store)
        start(store, "other openid", openid="oTwo")
        start(store, "other app", app_id=OTHER_APP)
        newest = start(store, "newest", now_ms=NOW + 1)
        assert surplus(store, newest, keep=1, now_ms=NOW + 1) == set()

    def test_all_sessions_of_a_wechat_user_end(self, store: Store) -> None:
        """Only the live ones count; those past a limit are ended too, others are left alone."""
        add_account(store, "1")
        add_account(store, "2")
        now = NOW + IDLE_MS
        expired = start(store, "expired", now_ms=NOW)
        just_live = start(store, "just live", now_ms=NOW + 1)
        # The former account's: sessions belong to the WeChat user.
        former = start(store, "former", now_ms=now, account=("local", "2"))
        logged_out = start(store, "logged out", now_ms=now)
        store.write(lambda tx: end_session(tx, logged_out, Cause.LOGOUT, now_ms=now))
        others = [
            start(store, "other openid", openid="oTwo", now_ms=now),
            start(store, "other app", app_id=OTHER_APP, now_ms=now),
        ]

        def end() -> list[SessionRecord]:
            return store.write(
                lambda tx: end_sessions_of_wechat_user(
                    tx,
                    APP,
                    OPENID,
                    Cause.UNBOUND,
                    now_ms=now,
                )
            )

        assert {session.handle for session in end()} == {"expired", "just live", "former"}
        assert end() == []
        for key in (expired, just_live, former):
            assert session_of(store, key)[6:8] == (now, "UNBOUND")
        assert session_of(store, logged_out).ended_cause == "LOGOUT"
        assert [session_of(store, key).ended_at for key in others] == [None, None]

    def test_all_sessions_of_an_account_end(self, store: Store) -> None:
        """In all apps and of all WeChat users; others' stay."""
        add_account(store, "1")
        add_account(store, "1", source="http")
        mine = [
            start(store, 1),
            start(store, 2, openid="oTwo"),
            start(store, 3, app_id=OTHER_APP),
        ]
        store.write(lambda tx: end_session(tx, mine[0], Cause.LOGOUT, now_ms=NOW))
        theirs = start(store, 4, account=("http", "1"))

        def end() -> int:
            return store.write(
                lambda tx: end_sessions_of_account(
                    tx, ACCOUNT, Cause.PASSWORD_CHANGED, now_ms=NOW + 1
                )
            )

        assert [end(), end()] == [2, 0]
        assert [session_of(store, key)[6:8] for key in mine] == [
            (NOW, "LOGOUT"),
            (NOW + 1, "PASSWORD_CHANGED"),
            (NOW + 1, "PASSWORD_CHANGED"),
        ]
        assert session_of(store, theirs).ended_at is None

    def test_use_moves_last_seen_forward_only(self, store: Store) -> None:
        """Never back, and nothing else of the row changes."""
        add_account(store)
        session = start(store, "a")
        before = session_of(store, session)
        for seen_at, expected in ((5, 5), (3, 5), (5, 5), (6, 6), (-1, 6)):
            touch(store, (session, NOW + seen_at, IDLE_MS))
            assert session_of(store, session) == before._replace(last_seen_at=NOW + expected)

    def test_use_never_revives_an_expired_session(self, store: Store) -> None:
        """To the millisecond: at the end of the idle limit it is over."""
        add_account(store)
        late, in_time = start(store, "late"), start(store, "in time")
        touch(store, (late, NOW + IDLE_MS, IDLE_MS), (in_time, NOW + IDLE_MS - 1, IDLE_MS))
        assert session_of(store, late).last_seen_at == NOW
        assert session_of(store, in_time).last_seen_at == NOW + IDLE_MS - 1

    def test_use_never_changes_an_ended_session(self, store: Store) -> None:
        """A write that comes after the end finds nothing to do."""
        add_account(store)
        session = start(store, "a")
        store.write(lambda tx: end_session(tx, session, Cause.LOGOUT, now_ms=NOW + 1))
        before = session_of(store, session)
        touch(store, (session, NOW + 2, IDLE_MS), (digest("never"), NOW + 2, IDLE_MS))
        assert session_of(store, session) == before

    def test_a_session_is_stored_once(self, store: Store) -> None:
        """A second one with its digest is refused and changes nothing: a retry of its login."""
        add_account(store)
        session = start(store, "a")
        before = session_of(store, session)
        again = before._replace(handle="b", openid="oTwo", login_at=NOW + 1)
        assert not store.write(lambda tx: insert_session(tx, again))
        assert session_of(store, session) == before
        assert store.write(lambda tx: insert_session(tx, again._replace(digest=digest("b"))))
