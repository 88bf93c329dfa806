"""A store with many live sessions, before a server opens it."""

from __future__ import annotations

import time
from pathlib import Path

from tests.fault.seeded_store import SOURCE, add_account, seed_accounts
from wxauth_server.config import DEMO_APP_ID, load_configuration
from wxauth_server.session_id import new_session_handle, new_session_id, session_digest
from wxauth_server.store.bindings import insert_binding
from wxauth_server.store.interface import Transaction
from wxauth_server.store.opening import open_store
from wxauth_server.store.sessions import SessionRecord, insert_session


def seed_sessions(directory: Path, count: int) -> list[str]:
    """Make a store with `count` users, each bound and logged in once; the SessionIds."""
    seed_accounts(directory, [], bcrypt_cost=4)
    session_ids = [new_session_id() for _ in range(count)]
    now_ms = time.time_ns() // 1_000_000

    def insert(tx: Transaction) -> None:
        for number, session_id in enumerate(session_ids):
            username = f"user{number:05d}"
            account = (SOURCE, f"id-{username}")
            openid = f"o{number:027d}"
            digest = session_digest(session_id)
            assert digest is not None
            add_account(tx, username, None)
            assert insert_binding(
                tx,
                app_id=DEMO_APP_ID,
                openid=openid,
                account=account,
                exclusive=True,
                unionid=f"u{number:027d}",
                now_ms=now_ms,
            )
            insert_session(
                tx,
                SessionRecord.beginning(
                    digest=digest,
                    handle=new_session_handle(),
                    app_id=DEMO_APP_ID,
                    openid=openid,
                    account=account,
                    username=username,
                    display_name=username.title(),
                    unionid=f"u{number:027d}",
                    now_ms=now_ms,
                ),
            )

    store, _ = open_store(load_configuration(store={"directory": directory}))
    try:
        store.write(insert)
    finally:
        store.close()
    return session_ids
