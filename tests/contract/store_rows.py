"""Rows for the tests of a store: made, found and changed as the server does it."""

from __future__ import annotations

import hashlib

from wxauth_server.store.accounts import AccountRecord, find_account, insert_account
from wxauth_server.store.bindings import insert_binding
from wxauth_server.store.ended_sessions import end_surplus_sessions
from wxauth_server.store.interface import Store
from wxauth_server.store.sessions import SessionRecord, insert_session, read_session, touch_sessions

NOW = 1_790_000_000_000
IDLE_MS = 60_000
ABSOLUTE_MS = 600_000
APP = "wx0000000000000001"
OTHER_APP = "wx0000000000000002"
OPENID = "oOne"
ACCOUNT = ("local", "1")


def digest(name: object) -> bytes:
    return hashlib.sha256(repr(name).encode()).digest()


def add_account(
    store: Store,
    account_id: str = "1",
    *,
    source: str = "local",
    username: str | None = None,
    display_name: str | None = None,
    password: str | None = None,
    now_ms: int = NOW,
) -> bool:
    return store.write(
        lambda tx: insert_account(
            tx,
            source=source,
            account_id=account_id,
            username=username,
            username_key=username,
            display_name=display_name,
            phone=None,
            password=password,
            now_ms=now_ms,
        )
    )


def account_of(store: Store, account: tuple[str, str] = ACCOUNT) -> AccountRecord:
    record = store.read(lambda tx: find_account(tx, *account))
    assert record is not None
    return record


def bind(
    store: Store,
    openid: str = OPENID,
    account: tuple[str, str] = ACCOUNT,
    *,
    app_id: str = APP,
    exclusive: bool = True,
    unionid: str | None = None,
    now_ms: int = NOW,
) -> bool:
    return store.write(
        lambda tx: insert_binding(
            tx,
            app_id=app_id,
            openid=openid,
            account=account,
            exclusive=exclusive,
            unionid=unionid,
            now_ms=now_ms,
        )
    )


def start(
    store: Store,
    name: object,
    *,
    openid: str = OPENID,
    account: tuple[str, str] = ACCOUNT,
    app_id: str = APP,
    username: str | None = None,
    display_name: str | None = None,
    unionid: str | None = None,
    now_ms: int = NOW,
) -> bytes:
    """Start a session; its digest. Its handle is its name."""
    store.write(
        lambda tx: insert_session(
            tx,
            SessionRecord.beginning(
                digest=digest(name),
                handle=str(name),
                app_id=app_id,
                openid=openid,
                account=account,
                username=username,
                display_name=display_name,
                unionid=unionid,
                now_ms=now_ms,
            ),
        )
    )
    return digest(name)


def session_of(store: Store, session: bytes) -> SessionRecord:
    record = store.read(lambda tx: read_session(tx, session))
    assert record is not None
    return record


def surplus(store: Store, newest: bytes, *, keep: int, now_ms: int) -> set[str]:
    return set(
        store.write(
            lambda tx: end_surplus_sessions(
                tx,
                app_id=APP,
                openid=OPENID,
                newest_digest=newest,
                keep=keep,
                idle_ms=IDLE_MS,
                absolute_ms=ABSOLUTE_MS,
                now_ms=now_ms,
            )
        )
    )


def touch(store: Store, *seen: tuple[bytes, int, int]) -> None:
    store.write(lambda tx: touch_sessions(tx, seen))
