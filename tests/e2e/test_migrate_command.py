"""wxauth migrate: what it does to both databases, and how it says what is in its way."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.canary import CANARY
from tests.pgserver import OWNER_PASSWORD, STRANGER, STRANGER_PASSWORD, PostgresProcess
from tests.wxauth_command import done_well, refused, running, wxauth
from wxauth_server.store import schema
from wxauth_server.store.migrations import MIGRATIONS
from wxauth_server.store.postgresql_schema import _MIGRATION_LOCK
from wxauth_server.store.schema import CODE_VERSION
from wxauth_server.store.sqlite import SQLiteStore

CANARY.keep(OWNER_PASSWORD)
CANARY.keep(STRANGER_PASSWORD)


def of_url(url: str) -> dict[str, str]:
    return {"WXAUTH_STORE__URL": url}


def test_sqlite_is_migrated_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(wxauth("migrate", cwd=tmp_path), "holds no wxauth database")
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", MIGRATIONS[:-2])
        SQLiteStore(tmp_path / ".wxauth").close()

    before = f"schema {CODE_VERSION - 2}, and this wxauth needs schema {CODE_VERSION}"
    refused(wxauth("migrate", "--check", cwd=tmp_path), before, "run wxauth migrate")
    now, its_own = done_well(wxauth("migrate", cwd=tmp_path)).splitlines()
    assert now == f"The database has schema {CODE_VERSION} now; it took 2 migrations."
    assert "the server does that by itself" in its_own
    assert "nothing is to be done" in done_well(wxauth("migrate", "--check", cwd=tmp_path))
    assert "nothing was to be done" in done_well(wxauth("migrate", cwd=tmp_path))

    with closing(sqlite3.connect(tmp_path / ".wxauth" / "wxauth.db")) as database:
        database.execute("UPDATE schema_state SET version = 99, oldest_compatible = 98")
        database.commit()
    for options in ((), ("--check",)):
        refused(wxauth("migrate", *options, cwd=tmp_path), "knows schema 98 or later")


def test_postgresql_waits_for_another_one(tmp_path: Path, store_postgres: PostgresProcess) -> None:
    url = store_postgres.new_url(migrated=False)
    with psycopg.connect(url) as another:
        another.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
        with running("migrate", cwd=tmp_path, variables=of_url(url)) as waiting:
            waiting.wait_for("another wxauth migrate, which is waited for")
            assert waiting.out == []
            another.rollback()
            assert waiting.wait() == 0
            [said] = waiting.out
    assert said == f"The database has schema {CODE_VERSION} now; it took {CODE_VERSION} migrations."


def test_what_is_in_its_way(tmp_path: Path, store_postgres: PostgresProcess) -> None:
    """The canary listens for passwords."""
    url = store_postgres.new_url(migrated=False)
    ours = url.replace("wxauth:", f"{STRANGER}:").replace(OWNER_PASSWORD, STRANGER_PASSWORD)
    place = url.rpartition("@")[2]
    for wrong, says in (
        (ours, "migrate as the owner of the tables"),
        (url.replace(OWNER_PASSWORD, "another"), "refuses the login"),
        (f"{url}x", "no such database"),
        (url.replace(f":{store_postgres.port}/", ":1/"), "nothing listens"),
        (url.replace("127.0.0.1", "db.internal"), "store.url: db.internal is not this machine"),
        (url.replace("postgresql", "mysql"), "store.url: not a URL of a PostgreSQL database"),
    ):
        refused(wxauth("migrate", cwd=tmp_path, variables=of_url(wrong)), says)
    # A server looks and never migrates.
    done_well(wxauth("keys", "init", cwd=tmp_path))
    said = refused(wxauth("serve", cwd=tmp_path, variables=of_url(url)), "run wxauth migrate")
    assert place in said
