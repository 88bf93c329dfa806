"""A store with accounts, before a server opens it: in a directory, or at a PostgreSQL's URL."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from wechat_sandbox.world import openid_of
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.config import DEMO_APP_ID, load_configuration
from wxauth_server.keyring import create_keyring
from wxauth_server.store.accounts import insert_account
from wxauth_server.store.bindings import insert_binding
from wxauth_server.store.interface import Transaction
from wxauth_server.store.opening import open_store
from wxauth_server.store.sqlite import DATABASE_NAME

SOURCE = "local"
PASSWORD = "the right password"
WRONG_PASSWORD = "a wrong password"


def store_table(directory: Path, url: str = "") -> dict[str, Any]:
    """The table [store] of a configuration; without a URL it is SQLite."""
    return {"directory": directory} | ({"url": url} if url else {})


def seed_accounts(
    directory: Path, usernames: Sequence[str], *, bcrypt_cost: int, url: str = ""
) -> None:
    """Make a store and its key ring, with these accounts, all of them with PASSWORD."""
    configuration = load_configuration(store=store_table(directory, url))
    keyring = create_keyring(configuration.keyring_file)
    # One hash for all: what is tested is not the hashing of new passwords.
    stored = PasswordHasher(keyring, cost=bcrypt_cost).hash(PASSWORD)

    def insert(tx: Transaction) -> None:
        for username in usernames:
            add_account(tx, username, stored)

    store, _ = open_store(configuration)
    try:
        store.write(insert)
    finally:
        store.close()


def seed_bindings(directory: Path, usernames: Sequence[str], *, url: str = "") -> None:
    """Bind each account to the sandbox's user of the same name, in the demo app."""

    def insert(tx: Transaction) -> None:
        for username in usernames:
            assert insert_binding(
                tx,
                app_id=DEMO_APP_ID,
                openid=openid_of(DEMO_APP_ID, username),
                account=(SOURCE, f"id-{username}"),
                exclusive=True,
                unionid=None,
                now_ms=1,
            )

    store, _ = open_store(load_configuration(store=store_table(directory, url)))
    try:
        store.write(insert)
    finally:
        store.close()


def add_account(tx: Transaction, username: str, stored: str | None) -> None:
    """An account with this stored password hash; its id is `id-` and its username."""
    added = insert_account(
        tx,
        source=SOURCE,
        account_id=f"id-{username}",
        username=username,
        username_key=username,
        display_name=username.title(),
        phone=None,
        password=stored,
        now_ms=1,
    )
    assert added


def rows(directory: Path, sql: str, *, url: str = "") -> list[tuple[Any, ...]]:
    """What the database holds, read by a connection of its own."""
    if url:
        # Not above: servers start with this module, and most without the driver.
        import psycopg

        with psycopg.connect(url, autocommit=True) as reader:
            return reader.execute(sql.encode()).fetchall()
    path = directory / DATABASE_NAME
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()
