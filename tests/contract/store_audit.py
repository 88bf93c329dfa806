"""What a store keeps of the audit log."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.contract.store_rows import ACCOUNT, APP, NOW, OPENID
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.interface import Store, Transaction


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
            )
            record_event(tx, Event.LOGOUT, now_ms=NOW - 1, client_address="")

        store.write(work)
        store.write(lambda tx: record_event(tx, Event.BOUND, now_ms=NOW - 2))

        def events(tx: Transaction) -> Sequence[tuple[object, ...]]:
            return tx.execute(
                """
                SELECT at, event, reason, app_id, openid, account_source, account_id,
                  session_handle, client_address FROM audit_events ORDER BY id
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
            ),
            (NOW - 1, "LOGOUT", *[None] * 7),
            (NOW - 2, "BOUND", *[None] * 7),
        ]

    @pytest.mark.parametrize("event", Event)
    def test_every_event_can_be_recorded(self, store: Store, event: Event) -> None:
        """No constraint of an engine knows fewer of them than the code."""
        store.write(lambda tx: record_event(tx, event, now_ms=NOW))
        [(name,)] = store.read(lambda tx: tx.execute("SELECT event FROM audit_events"))
        assert name == event.value
