"""What a store keeps of the audit log."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from tests.contract.store_rows import ACCOUNT, APP, NOW, OPENID, OTHER_APP
from wxauth_server.store import audit_log
from wxauth_server.store.audit import Actor, Event, count_refusals, record_event
from wxauth_server.store.audit_log import AuditFilter, AuditPage, AuditRecord, list_events
from wxauth_server.store.interface import Store, Transaction


def listed(
    store: Store, *, oldest_first: bool = True, limit: int = 500, **wanted: Any
) -> list[AuditRecord]:
    """All events that fit, page by page."""
    found: list[AuditRecord] = []
    beyond: int | None = None

    def page(tx: Transaction) -> AuditPage:
        return list_events(
            tx, AuditFilter(**wanted), oldest_first=oldest_first, limit=limit, beyond=beyond
        )

    while True:
        events, beyond = store.read(page)
        assert len(events) <= limit
        found += events
        if beyond is None:
            return found


def ids(records: Sequence[AuditRecord]) -> list[int]:
    return [record.id for record in records]


def counted(store: Store, key: str, count: int, *, minute_ms: int = NOW, openid: str = "") -> None:
    store.write(
        lambda tx: count_refusals(
            tx,
            Event.THROTTLED,
            count_key=key.encode().ljust(32),
            minute_ms=minute_ms,
            count=count,
            reason="ADDRESS",
            app_id=APP,
            openid=openid,
            client_address="192.0.2.1",
        )
    )


class AuditPromises:
    """What a store keeps of the audit log."""

    def test_events_are_kept_in_their_order(self, store: Store) -> None:
        """Every column, and nulls where nothing is known."""

        def work(tx: Transaction) -> None:
            record_event(
                tx,
                Event.LOGIN_REFUSED,
                now_ms=NOW,
                reason="CREDENTIALS_INVALID",
                app_id=APP,
                openid=OPENID,
                account=ACCOUNT,
                session_handle="handle",
                client_address="192.0.2.1",
                caller="ops-laptop",
            )
            record_event(tx, Event.LOGOUT, now_ms=NOW - 1, client_address="", caller="")

        store.write(work)
        store.write(lambda tx: record_event(tx, Event.BOUND, now_ms=NOW - 2))

        def events(tx: Transaction) -> Sequence[tuple[object, ...]]:
            return tx.execute(
                """
                SELECT at, event, reason, app_id, openid, account_source, account_id,
                  session_handle, client_address, caller FROM audit_events ORDER BY id
                """
            )

        assert [tuple(row) for row in store.read(events)] == [
            (
                NOW,
                "LOGIN_REFUSED",
                "CREDENTIALS_INVALID",
                APP,
                OPENID,
                "local",
                "1",
                "handle",
                "192.0.2.1",
                "ops-laptop",
            ),
            (NOW - 1, "LOGOUT", *[None] * 8),
            (NOW - 2, "BOUND", *[None] * 8),
        ]

    @pytest.mark.parametrize("event", Event)
    def test_every_event_can_be_recorded(self, store: Store, event: Event) -> None:
        """No constraint of an engine knows fewer of them than the code."""
        store.write(lambda tx: record_event(tx, event, now_ms=NOW))
        [(name,)] = store.read(lambda tx: tx.execute("SELECT event FROM audit_events"))
        assert name == event.value

    def test_an_event_says_who_and_how_many(self, store: Store) -> None:
        """A user and one, unless it is said."""

        def work(tx: Transaction) -> None:
            record_event(tx, Event.LOGIN, now_ms=NOW)
            record_event(tx, Event.ACCOUNTS_IMPORTED, now_ms=NOW, actor=Actor.COMMAND, count=250)

        store.write(work)
        assert [(e.event, e.actor, e.times) for e in listed(store)] == [
            ("LOGIN", "user", 1),
            ("ACCOUNTS_IMPORTED", "command", 250),
        ]

    def test_refusals_with_one_key_are_one_event(self, store: Store) -> None:
        """With the last count that was said: writing it again changes nothing."""
        for count in (3, 3, 41, 41):
            counted(store, "a", count, openid=OPENID)
        counted(store, "b", 5)
        first, second = listed(store)
        assert first[1:] == (
            NOW,
            "THROTTLED",
            "ADDRESS",
            41,
            "user",
            None,
            APP,
            OPENID,
            None,
            None,
            None,
            "192.0.2.1",
        )
        assert (second.times, second.openid) == (5, None)

    def test_events_without_a_key_are_never_one(self, store: Store) -> None:
        """The key is unique, its absence is not."""
        for _ in range(3):
            store.write(lambda tx: record_event(tx, Event.LOGIN, now_ms=NOW))
        assert len(listed(store)) == 3

    def test_an_empty_log(self, store: Store) -> None:
        """Nothing, in both orders and beyond any id."""
        for oldest_first in (True, False):
            assert listed(store, oldest_first=oldest_first) == []
            assert listed(store, oldest_first=oldest_first, after_id=7) == []

    @pytest.mark.parametrize("looked_at", [1, 7, 100_000])
    def test_filters_and_pages_miss_nothing(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, looked_at: int
    ) -> None:
        """Compared with a filter in Python, whatever a page looks at at once."""
        # One at a time is a read for each event, and no limit beyond 1 is ever met.
        count, limits = (40, (1,)) if looked_at == 1 else (120, (1, 3, 500))
        monkeypatch.setattr(audit_log, "LOOKED_AT", looked_at)
        chance = random.Random(7)

        def fill(tx: Transaction) -> None:
            for _ in range(count):
                record_event(
                    tx,
                    chance.choice([Event.LOGIN, Event.LOGOUT, Event.BOUND]),
                    now_ms=NOW + chance.randrange(count // 6),
                    app_id=chance.choice([APP, OTHER_APP, None]),
                    openid=chance.choice(["oOne", "oTwo", None]),
                    account=chance.choice([("local", "1"), ("crm", "1"), ("local", "2"), None]),
                    caller=chance.choice(["ops-laptop", "ops-laptop-2", None]),
                )
            # A purge leaves a log that does not begin with 1; nothing else makes gaps.
            tx.execute("DELETE FROM audit_events WHERE id <= 10")

        store.write(fill)
        everything = listed(store)
        assert ids(everything) == list(range(11, count + 1))
        wanted: list[dict[str, Any]] = [
            {},
            {"events": ("LOGIN",)},
            {"events": ("LOGIN", "BOUND")},
            {"events": ("UNLOCKED",)},
            {"since_ms": NOW + 5},
            {"until_ms": NOW + 5},
            {"since_ms": NOW + 3, "until_ms": NOW + 5, "events": ("LOGOUT",)},
            {"account": ("local", "1")},
            {"account": ("crm", "1"), "since_ms": NOW + 9},
            {"app_id": APP},
            {"app_id": APP, "openid": "oOne"},
            {"app_id": APP, "openid": "oOne", "account": ("local", "2")},
            {"caller": "ops-laptop"},
            {"caller": "ops-laptop", "account": ("local", "1")},
            {"caller": "ops"},
            {"after_id": count // 2},
            {"after_id": count // 2, "events": ("BOUND",)},
            {"after_id": count},
            {"after_id": 5_000},
        ]
        for some in wanted:
            expected = [record.id for record in everything if fits(record, **some)]
            for limit in limits:
                assert ids(listed(store, limit=limit, **some)) == expected, some
                newest = listed(store, limit=limit, oldest_first=False, **some)
                assert ids(newest) == expected[::-1], some
        assert any(fits(record, **wanted[6]) for record in everything)

    def test_what_comes_between_two_pages_disturbs_neither_order(self, store: Store) -> None:
        """Oldest first sees it at the end; newest first does not begin anew."""
        for _ in range(4):
            store.write(lambda tx: record_event(tx, Event.LOGIN, now_ms=NOW))

        def page(oldest_first: bool, beyond: int | None) -> list[int]:
            return ids(
                store.read(
                    lambda tx: list_events(
                        tx, AuditFilter(), oldest_first=oldest_first, limit=2, beyond=beyond
                    )
                ).events
            )

        assert (page(True, None), page(False, None)) == ([1, 2], [4, 3])
        store.write(lambda tx: record_event(tx, Event.LOGOUT, now_ms=NOW))
        assert (page(True, 2), page(True, 4), page(False, 3)) == ([3, 4], [5], [2, 1])


def fits(
    record: AuditRecord,
    *,
    since_ms: int = 0,
    until_ms: int = 2**62,
    events: tuple[str, ...] = tuple(Event),
    account: tuple[str, str] | None = None,
    app_id: str | None = None,
    openid: str | None = None,
    caller: str | None = None,
    after_id: int = 0,
) -> bool:
    """What a filter means."""
    return (
        since_ms <= record.at < until_ms
        and record.event in events
        and account in {None, (record.account_source, record.account_id)}
        and app_id in {None, record.app_id}
        and openid in {None, record.openid}
        and caller in {None, record.caller}
        and record.id > after_id
    )
