"""What a store keeps of users who have left, until nothing tells of them."""

from __future__ import annotations

from functools import partial

from tests.contract.store_exchanges import exchange, found, insert
from tests.contract.store_rows import (
    ACCOUNT,
    APP,
    NOW,
    OPENID,
    OTHER_APP,
    account_of,
    add_account,
    bind,
    session_of,
    start,
)
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.bindings import (
    find_binding,
    forbid_sibling_login,
    may_log_in_by_sibling,
)
from wxauth_server.store.deleted_accounts import (
    UntoldDeletion,
    delete_account,
    list_untold_deletions,
    note_deletion_told,
)
from wxauth_server.store.departures import (
    Departure,
    delete_bindings_of_account,
    depersonalise_event,
    depersonalise_session,
    end_departure,
    next_departure,
    note_departures,
    note_former_wechat_user,
    personal_events,
    personal_sessions,
)
from wxauth_server.store.ended_sessions import end_session
from wxauth_server.store.interface import Store
from wxauth_server.store.sessions import Cause

OTHER_ACCOUNT = ("local", "2")
#: No address, one event, no key to count it under.
_NOTHING = (None, 1, None)
LEFT = Departure(*ACCOUNT, "", "", NOW)


def note(store: Store, account: tuple[str, str] = ACCOUNT, now_ms: int = NOW) -> None:
    store.write(lambda tx: note_departures(tx, account, now_ms=now_ms))


def departures(store: Store, account: tuple[str, str] | None = None) -> list[Departure]:
    """In their order."""
    noted: list[Departure] = []
    while departure := store.read(
        lambda tx: next_departure(tx, after=noted[-1] if noted else None, account=account)
    ):
        noted.append(departure)
    return noted


class DeparturePromises:
    """What a store keeps of users who have left."""

    def test_departures_come_oldest_first(self, store: Store) -> None:
        """An account, then its WeChat users; who leaves once more is noted anew."""
        add_account(store)
        add_account(store, "2")
        bind(store)
        bind(store, "oTwo", app_id=OTHER_APP)
        note(store, OTHER_ACCOUNT, NOW + 1)
        note(store)
        mine = [
            LEFT,
            LEFT._replace(app_id=APP, openid=OPENID),
            LEFT._replace(app_id=OTHER_APP, openid="oTwo"),
        ]
        theirs = Departure(*OTHER_ACCOUNT, "", "", NOW + 1)
        assert departures(store) == [*mine, theirs]
        assert departures(store, ACCOUNT) == mine
        note(store, now_ms=NOW + 2)
        assert departures(store) == [theirs, *(each._replace(left_at=NOW + 2) for each in mine)]
        store.write(lambda tx: end_departure(tx, mine[0]))
        assert len(departures(store)) == 4, "it was ended for an earlier departure"
        store.write(lambda tx: end_departure(tx, mine[0]._replace(left_at=NOW + 2)))
        store.write(lambda tx: end_departure(tx, theirs))
        assert [each.openid for each in departures(store)] == [OPENID, "oTwo"]

    def test_who_was_the_account_has_left_unless_another_by_now(self, store: Store) -> None:
        add_account(store)
        add_account(store, "2")
        bind(store, "oMoved", OTHER_ACCOUNT)
        bind(store, "oBack")
        for openid in ("oMoved", "oBack", "oGone", "oGone"):
            store.write(partial(note_former_wechat_user, departure=LEFT, app_id=APP, openid=openid))
        assert [each.openid for each in departures(store)] == ["oBack", "oGone"]

    def test_the_bindings_of_an_account_end_with_what_hangs_on_them(self, store: Store) -> None:
        """Codes that are under way and marks too; not those of others."""
        add_account(store)
        add_account(store, "2")
        bind(store)
        bind(store, app_id=OTHER_APP)
        bind(store, "oTwo", OTHER_ACCOUNT)
        insert(store, exchange("mine"))
        insert(store, exchange("theirs", openid="oTwo"))
        for openid in (OPENID, "oTwo"):
            store.write(partial(forbid_sibling_login, app_id=APP, openid=openid))
        assert (
            store.write(lambda tx: delete_bindings_of_account(tx, ACCOUNT, logins_since_ms=0)) == 2
        )
        assert (
            store.write(lambda tx: delete_bindings_of_account(tx, ACCOUNT, logins_since_ms=0)) == 0
        )
        assert store.read(lambda tx: find_binding(tx, APP, OPENID)) is None
        assert store.read(lambda tx: find_binding(tx, APP, "oTwo")) is not None
        assert (found(store, "mine"), found(store, "theirs") is None) == (None, False)
        assert store.read(lambda tx: may_log_in_by_sibling(tx, APP, OPENID))
        assert not store.read(lambda tx: may_log_in_by_sibling(tx, APP, "oTwo"))

    def test_a_dead_session_forgets_whose_it_was(self, store: Store) -> None:
        """Live ones are left alone: they are of one who came back."""
        add_account(store)
        dead, live = (
            start(store, name, username="zhang", display_name="Zhang", unionid="u")
            for name in ("dead", "live")
        )
        store.write(lambda tx: end_session(tx, dead, Cause.ACCOUNT_DELETED, now_ms=NOW))

        def telling(limit: int = 9) -> list[bytes]:
            return [
                each.digest
                for each in store.read(
                    lambda tx: personal_sessions(tx, LEFT, pseudonym_prefix="deleted:", limit=limit)
                )
            ]

        assert (telling(), telling(0)) == ([dead], [])
        before = session_of(store, dead)
        store.write(lambda tx: depersonalise_session(tx, dead, openid="deleted:1"))
        assert telling() == []
        assert session_of(store, dead) == before._replace(
            openid="deleted:1", username=None, display_name=None, unionid=None
        )
        assert session_of(store, live).username == "zhang"

    def test_events_of_before_tell_of_who_left(self, store: Store) -> None:
        """By account or by WeChat user, oldest first, up to the departure."""
        for at, account, openid in (
            (NOW, ACCOUNT, "oGuesser"),
            (NOW - 1, ACCOUNT, OPENID),
            (NOW, None, OPENID),
            (NOW, OTHER_ACCOUNT, "oTwo"),
            (NOW + 1, ACCOUNT, OPENID),
        ):
            store.write(
                partial(
                    record_event,
                    event=Event.LOGIN,
                    now_ms=at,
                    app_id=APP,
                    openid=openid,
                    account=account,
                )
            )

        def ids(departure: Departure, limit: int = 9) -> list[int]:
            found = store.read(lambda tx: personal_events(tx, departure, limit=limit))
            return [each.id for each in found]

        wechat_user = LEFT._replace(app_id=APP, openid=OPENID)
        assert (ids(LEFT), ids(LEFT, 1)) == ([1, 2], [1])
        assert ids(wechat_user) == [2, 3]
        assert ids(wechat_user._replace(app_id=OTHER_APP)) == []

    def test_an_event_forgets_whom_it_tells_of(self, store: Store) -> None:
        """What happened, when and why stays; it counts no more of its kind."""
        store.write(
            lambda tx: record_event(
                tx,
                Event.LOGIN_REFUSED,
                now_ms=NOW,
                reason="CREDENTIALS_INVALID",
                app_id=APP,
                openid=OPENID,
                account=ACCOUNT,
                session_handle="handle",
                client_address="192.0.2.1",
            )
        )
        store.write(lambda tx: tx.execute("UPDATE audit_events SET count_key = :k", {"k": b"k"}))
        [event] = store.read(lambda tx: personal_events(tx, LEFT, limit=9))
        assert event[1:] == (APP, OPENID, "1", "handle")
        pseudonymous = event._replace(account_id="a", openid="o", session_handle="s")
        store.write(lambda tx: depersonalise_event(tx, pseudonymous))
        rows = store.read(
            lambda tx: tx.execute(
                """
                SELECT at, event, reason, app_id, openid, account_source, account_id,
                  session_handle, client_address, count, count_key FROM audit_events
                """
            )
        )
        assert [tuple(row) for row in rows] == [
            (NOW, "LOGIN_REFUSED", "CREDENTIALS_INVALID", APP, "o", "local", "a", "s", *_NOTHING)
        ]

    def test_an_account_forgets_its_user(self, store: Store) -> None:
        """Its row stays, and says since when, and since when its source knows."""
        for source in ("local", "http"):
            add_account(store, source=source, username="zhang", display_name="Zhang", password="p")
        before = account_of(store)

        def delete(source: str, at: int | None) -> None:
            store.write(
                lambda tx: delete_account(
                    tx, source, "1", disabled_at=at, told_at=at, now_ms=NOW + 1
                )
            )

        delete("local", NOW + 1)
        delete("http", None)
        assert account_of(store) == before._replace(
            username=None,
            display_name=None,
            password=None,
            password_version=before.password_version + 1,
            disabled_at=NOW + 1,
        )
        assert account_of(store, ("http", "1")).disabled_at is None
        assert add_account(store, "2", username="zhang"), "the name is free"

        def untold(source: str, limit: int = 9) -> list[UntoldDeletion]:
            return store.read(lambda tx: list_untold_deletions(tx, source, limit=limit))

        deletion = UntoldDeletion("http", "1", NOW + 1)
        assert (untold("local"), untold("http"), untold("http", 0)) == ([], [deletion], [])
        earlier = deletion._replace(deleted_at=NOW)
        store.write(lambda tx: note_deletion_told(tx, earlier, now_ms=NOW + 2))
        assert untold("http") == [deletion], "it was told of an earlier one"
        store.write(lambda tx: note_deletion_told(tx, deletion, now_ms=NOW + 2))
        assert untold("http") == []
