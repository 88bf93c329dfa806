"""wxauth doctor: a PostgreSQL server, from the connection to the rights of wxauth's role."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests import pgserver
from tests.canary import CANARY
from tests.database_server import DatabaseServer
from tests.pgserver import OWNER, OWNER_PASSWORD, STRANGER, STRANGER_PASSWORD, PostgresProcess
from tests.running_server import FakeClock
from tests.unit.configured import app, nothing_set
from tests.unit.examined import DATA, Report, examined, refused
from tests.unit.test_doctor_docs import ONLY_POSTGRESQL
from wxauth_server.clock import Clock
from wxauth_server.doctor.findings import Check, Status
from wxauth_server.doctor.postgresql import _tls
from wxauth_server.keyring import create_keyring
from wxauth_server.store.postgresql_inspection import inspected_server
from wxauth_server.store.postgresql_opening import TABLES
from wxauth_server.store.postgresql_url import DatabasePlace
from wxauth_server.store.schema import CODE_VERSION

__all__ = ["nothing_set"]

# Without an answer at 127.0.0.1:9 there is no waiting for it.
ELSEWHERE = '[wechat]\nbase_url = "http://127.0.0.1:9"\n'
for password in (OWNER_PASSWORD, STRANGER_PASSWORD):
    CANARY.keep(password)


@pytest.fixture(autouse=True)
def key_ring(nothing_set: Path) -> None:
    create_keyring(DATA / "keyring.json")


def at(url: str, *, clock: Clock | None = None, offline: bool = False, more: str = "") -> Report:
    text = f'{app()}{ELSEWHERE}[store]\nurl = "{url}"\n{more}'
    return examined(text, clock=clock, offline=offline)


def as_stranger(url: str) -> str:
    return url.replace(f"{OWNER}:{OWNER_PASSWORD}", f"{STRANGER}:{STRANGER_PASSWORD}")


@pytest.fixture(scope="module")
def url(store_postgres: PostgresProcess) -> str:
    """Of a database that each test leaves as it was."""
    return store_postgres.new_url()


def test_a_server_and_what_becomes_of_it(
    own_postgres: PostgresProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = own_postgres.new_url()
    refused(at(url), Check.DATABASE_DURABILITY, "fsync off")
    own_postgres.stop()
    own_postgres.settings = {"fsync": "on"}
    own_postgres.start()

    report = at(url)

    told = {finding.check for finding in report.findings}
    assert told >= ONLY_POSTGRESQL | {Check.DATABASE_SCHEMA, Check.DATABASE_SERVER}
    for check in ONLY_POSTGRESQL | {Check.DATABASE_SCHEMA, Check.KEYRING_NEEDED}:
        assert report.only(check).status is Status.OK, check
    assert {found.status for found in report.of(Check.CLOCK_DATABASE)} == {Status.OK}
    assert len(report.of(Check.CLOCK_DATABASE)) == 2
    assert str(CODE_VERSION) in report.only(Check.DATABASE_SCHEMA).what
    # What is about a file is not there.
    assert not told & {Check.DATABASE_FILE, Check.DATABASE_WAL, Check.DATABASE_SPACE}

    own_postgres.administer(f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = off")
    refused(at(url), Check.DATABASE_DURABILITY, "turns it on for itself", status=Status.OK)
    own_postgres.stop()
    (own_postgres.directory / "data" / "standby.signal").touch()
    monkeypatch.setattr(pgserver, "_STARTED", b"ready to accept read-only connections")
    own_postgres.start()
    advised = refused(at(url), Check.DATABASE_RECOVERY, "is a standby").what_to_do
    assert "target_session_attrs=read-write" in advised

    with own_postgres.frozen():
        begun = time.monotonic()
        refused(at(url), Check.DATABASE_CONNECTION, "does not answer")
        assert time.monotonic() - begun < 20
    own_postgres.stop()
    refused(at(url), Check.DATABASE_CONNECTION, "nothing listens")


def test_a_connection_that_is_refused(url: str) -> None:
    for wrong, says in (
        (url.replace(OWNER_PASSWORD, "another"), "refuses the login"),
        (url.replace(f"//{OWNER}:", "//somebody:"), "refuses the login"),
        (f"{url}x", "no such database"),
    ):
        report = at(wrong)
        refused(report, Check.DATABASE_CONNECTION, says)
        assert report.only(Check.KEYRING_NEEDED).status is Status.SKIPPED
        assert report.only(Check.CLOCK_DATABASE).status is Status.SKIPPED


def test_a_url_in_a_file_that_is_open() -> None:
    Path("url").write_text(f"postgresql://u:{OWNER_PASSWORD}@127.0.0.1/d")
    Path("url").chmod(0o604)
    report = examined(f'{app()}{ELSEWHERE}[store]\nurl_file = "url"\n', offline=False)
    refused(report, Check.DATABASE_CONNECTION, "can be read or changed by others (mode 0604)")


def test_offline_nothing_is_connected_to(url: str, store_postgres: PostgresProcess) -> None:
    report = at(url, offline=True)
    for check in (Check.DATABASE_CONNECTION, Check.KEYRING_NEEDED, Check.CLOCK_DATABASE):
        assert report.only(check).status is Status.SKIPPED
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT 1 FROM pg_stat_activity WHERE application_name = 'wxauth doctor'"
            " AND datname = current_database()"
        ).fetchall()
    assert rows == []


@pytest.mark.parametrize(
    ("statement", "check", "says"),
    [
        ("SET default_transaction_read_only = on", Check.DATABASE_RECOVERY, "does not write"),
        ("CONNECTION LIMIT 13", Check.DATABASE_CONNECTIONS, "takes up to 10"),
    ],
)
def test_settings_of_the_database(
    url: str, store_postgres: PostgresProcess, statement: str, check: Check, says: str
) -> None:
    database = url.rpartition("/")[2]
    store_postgres.administer(f"ALTER DATABASE {database} {statement}")
    try:
        refused(at(url), check, says)
    finally:
        store_postgres.administer(
            f"ALTER DATABASE {database} RESET ALL",
            f"ALTER DATABASE {database} CONNECTION LIMIT -1",
        )


def test_an_encoding_that_cannot_hold_every_name(store_postgres: PostgresProcess) -> None:
    store_postgres.administer(
        f"CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 OWNER {OWNER}"
    )
    report = at(store_postgres.url("latin"))
    refused(report, Check.DATABASE_ENCODING, "LATIN1")
    told = refused(report, Check.DATABASE_SCHEMA, "no tables of wxauth")
    assert told.what_to_do.startswith("wxauth migrate, ")
    assert report.of(Check.DATABASE_PRIVILEGES) == []


def test_the_schema(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        [former] = connection.execute("SELECT version, oldest_compatible FROM schema_state")
        change = "UPDATE schema_state SET version = %s, oldest_compatible = %s"
        for version, oldest, status, says in (
            (99, 98, Status.PROBLEM, "knows schema 98"),
            (99, 1, Status.OK, "schema 99"),
            (1, 1, Status.PROBLEM, "no server migrates by itself"),
        ):
            connection.execute(change, [version, oldest])
            refused(at(url), Check.DATABASE_SCHEMA, says, status=status)
        connection.execute(change, former)


def test_what_the_role_may_do(url: str, store_postgres: PostgresProcess) -> None:
    ours = as_stranger(url)
    refused(at(ours), Check.DATABASE_SCHEMA, "this role may not read them")
    with psycopg.connect(url) as owner:
        owner.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {STRANGER}")
    refused(at(ours), Check.DATABASE_PRIVILEGES, ", ".join(sorted(TABLES)))
    with psycopg.connect(url) as owner:
        owner.execute(f"GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {STRANGER}")
        owner.execute(f"REVOKE DELETE ON sessions FROM {STRANGER}")
    refused(at(ours), Check.DATABASE_PRIVILEGES, "may not read and write sessions")
    with psycopg.connect(url) as owner:
        owner.execute(f"GRANT DELETE ON sessions TO {STRANGER}")
    refused(at(ours), Check.DATABASE_PRIVILEGES, "change no table", status=Status.OK)
    told = refused(at(url), Check.DATABASE_PRIVILEGES, "owns the tables", status=Status.OK)
    assert "a role for servers" in told.what_to_do
    store_postgres.administer(f"ALTER ROLE {STRANGER} SUPERUSER")
    try:
        refused(at(ours), Check.DATABASE_PRIVILEGES, "superuser", status=Status.WARNING)
    finally:
        store_postgres.administer(f"ALTER ROLE {STRANGER} NOSUPERUSER")
        with psycopg.connect(url) as owner:
            owner.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {STRANGER}")


def test_the_clock_of_the_server(url: str) -> None:
    """reliability.md row 15: more than 5 s is too much."""
    for off_s, status, says in (
        (3, Status.OK, "agrees with the PostgreSQL server's"),
        (-3, Status.OK, "agrees with the PostgreSQL server's"),
        (600, Status.PROBLEM, "10 minutes ahead of the PostgreSQL server's"),
        (-600, Status.PROBLEM, "10 minutes behind the PostgreSQL server's"),
    ):
        clock = FakeClock(time.time_ns() // 1_000_000 + off_s * 1000)
        first = at(url, clock=clock).of(Check.CLOCK_DATABASE)[0]
        assert (first.status, says in first.what) == (status, True), first


def test_a_key_ring_of_another_node(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO keys_in_use VALUES ('seal', 'seal-theirs', NULL)")
    refused(at(url), Check.KEYRING_NEEDED, "seal-theirs")
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM keys_in_use")
    (DATA / "keyring.json").unlink()
    told = refused(at(url), Check.KEYRING_FILE, "does not exist")
    assert "the one of another server" in told.what_to_do


@pytest.fixture
def secured(postgres: DatabaseServer) -> Iterator[str]:
    """The URL of a server with TLS, the way to this one included."""
    postgres.administer("CREATE ROLE watched LOGIN PASSWORD 'watched'")
    yield f"postgresql://watched:watched@127.0.0.1:{postgres.port}/postgres"
    postgres.administer("DROP ROLE watched")


@pytest.mark.parametrize(
    ("sslmode", "status", "says"),
    [
        ("disable", Status.WARNING, "is not encrypted"),
        ("require", Status.WARNING, "nobody checks who answers"),
        ("verify-full", Status.OK, "TLSv1.3"),
    ],
)
def test_tls_of_the_connection(
    secured: str, postgres: DatabaseServer, sslmode: str, status: Status, says: str
) -> None:
    away = DatabasePlace((("db.internal", 5432),), "wxauth", sslmode)
    query = f"?sslmode={sslmode}&sslrootcert={postgres.ca_file}"
    if sslmode != "verify-full":
        query = f"?sslmode={sslmode}"
    with inspected_server(secured + query, timeout_s=3) as server:
        finding = _tls(away, server)
    assert (finding.status, says in finding.what) == (status, True)
