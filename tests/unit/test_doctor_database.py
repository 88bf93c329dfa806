"""wxauth doctor: the database, and the clock against what it holds."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.running_server import FakeClock
from tests.unit.configured import app, nothing_set
from tests.unit.examined import DATA, do, examined, make_installation, refused
from tests.unit.test_doctor_docs import ONLY_POSTGRESQL
from wxauth_server.doctor import database
from wxauth_server.doctor.database import free_space
from wxauth_server.doctor.findings import Check, Status
from wxauth_server.server_lock import only_server
from wxauth_server.store.inspection import InspectionFailed, inspected
from wxauth_server.store.schema import CODE_VERSION
from wxauth_server.store.sqlite import SQLiteStore

__all__ = ["nothing_set"]

FILE = DATA / "wxauth.db"
EVENT = "INSERT INTO audit_events (at, event) VALUES (1, 'LOGIN')"


@pytest.fixture(autouse=True)
def installation(nothing_set: Path) -> None:
    make_installation()


def execute(statement: str) -> None:
    with closing(sqlite3.connect(FILE, isolation_level=None)) as connection:
        connection.execute(statement)


def test_a_database_in_order() -> None:
    report = examined()
    for check in set(Check) - ONLY_POSTGRESQL:
        if check.value.startswith("database.") and check is not Check.DATABASE_SPACE:
            assert report.only(check).status is Status.OK, check
    assert str(CODE_VERSION) in report.only(Check.DATABASE_SCHEMA).what


def test_no_database() -> None:
    report = examined(store={"directory": Path("new")})
    told = refused(report, Check.DATABASE_FILE, "does not exist", status=Status.WARNING)
    assert "--data" in told.what_to_do
    development = examined("", store={"directory": Path("new")})
    assert development.only(Check.DATABASE_FILE).status is Status.SKIPPED


def test_a_link_to_itself() -> None:
    FILE.unlink()
    FILE.symlink_to(FILE.name)
    told = refused(examined(), Check.DATABASE_FILE, "Too many levels of symbolic links")
    assert "store.directory" in told.what_to_do


@pytest.mark.parametrize("content", [b"", b"this is no database" * 1_000])
def test_what_is_no_database(content: bytes) -> None:
    FILE.write_bytes(content)
    refused(examined(), Check.DATABASE_FILE, "no database of wxauth", "SQLITE_")


def test_a_log_without_its_index() -> None:
    """As after copying two of the three files."""
    copy = Path("copy")
    copy.mkdir(0o700)
    store = SQLiteStore(DATA)
    try:
        store.write(lambda tx: tx.execute(EVENT))
        for name in ("wxauth.db", "wxauth.db-wal"):
            shutil.copy(DATA / name, copy)
    finally:
        store.close()

    report = examined(store={"directory": copy})
    told = refused(report, Check.DATABASE_FILE, "wxauth.db-shm", status=Status.WARNING)
    assert "start the server" in told.what_to_do
    assert not (copy / "wxauth.db-shm").exists()

    SQLiteStore(copy).close()
    assert examined(store={"directory": copy}).only(Check.DATABASE_FILE).status is Status.OK


@pytest.mark.parametrize(
    ("version", "oldest", "status", "says"),
    [
        (99, 98, Status.PROBLEM, "knows schema 98"),
        (99, 1, Status.OK, "schema 99"),
        (1, 1, Status.WARNING, "schema 1;"),
    ],
)
def test_the_schema(version: int, oldest: int, status: Status, says: str) -> None:
    execute(f"UPDATE schema_state SET version = {version}, oldest_compatible = {oldest}")
    refused(examined(), Check.DATABASE_SCHEMA, says, status=status)


def overwritten(content: bytes) -> bytes:
    return content[: 5 * 4096] + b"secret name ...." * 256 + content[6 * 4096 :]


def cut_off(content: bytes) -> bytes:
    return content[: 9 * 4096]


@pytest.mark.parametrize("damage", [overwritten, cut_off])
def test_a_damaged_database(damage: Callable[[bytes], bytes]) -> None:
    content = FILE.read_bytes()
    FILE.write_bytes(damage(content))

    told = refused(examined(), Check.DATABASE_CONTENT, "is damaged")

    assert "secret" not in told.what
    FILE.write_bytes(content)
    assert examined().only(Check.DATABASE_CONTENT).status is Status.OK


def test_a_database_that_is_too_large_to_be_looked_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    execute(
        "INSERT INTO accounts (source, id, display_name, password_version, created_at)"
        " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
        " SELECT 'local', i, 'name', 1, 1 FROM n"
    )
    monkeypatch.setattr(database, "CONTENT_CHECK_S", -1.0)
    told = refused(examined(), Check.DATABASE_CONTENT, "file is large", status=Status.SKIPPED)
    assert "PRAGMA quick_check" in told.what


@pytest.mark.parametrize("name", ["wxauth.db", "wxauth.db-wal", "wxauth.db-shm"])
def test_files_that_others_can_read(name: str) -> None:
    store = SQLiteStore(DATA)
    try:
        (DATA / name).chmod(0o604)
        do(refused(examined(), Check.DATABASE_MODES, f"{name} is open to others", "0604"))
        assert examined().only(Check.DATABASE_MODES).status is Status.OK
    finally:
        store.close()


@pytest.mark.parametrize(("mode", "status"), [(0o750, Status.WARNING), (0o770, Status.PROBLEM)])
def test_a_directory_that_others_can_use(mode: int, status: Status) -> None:
    DATA.chmod(mode)
    do(refused(examined(), Check.DATABASE_MODES, f"{mode:04o}", status=status))
    assert examined().only(Check.DATABASE_MODES).status is Status.OK


# Defined only where it can be provoked: CI, which may not be root, forbids skips.
if os.geteuid() == 0:

    def test_files_of_two_users() -> None:
        store = SQLiteStore(DATA)
        try:
            os.chown(DATA / "wxauth.db-wal", 1234, -1)
            do(refused(examined(), Check.DATABASE_MODES, "belongs to another user"))
            assert examined().only(Check.DATABASE_MODES).status is Status.OK
        finally:
            store.close()


@pytest.mark.parametrize(
    ("free_gib", "total_gib", "status"),
    [(0.9, 2, Status.WARNING), (9, 100, Status.WARNING), (11, 100, Status.OK)],
)
def test_free_space(free_gib: float, total_gib: float, status: Status) -> None:
    gib = 1024**3
    assert free_space(int(free_gib * gib), int(total_gib * gib)).status is status


def test_a_log_that_has_grown() -> None:
    wal = DATA / "wxauth.db-wal"
    wal.touch(0o600)
    os.truncate(wal, 65 * 1024 * 1024)
    refused(examined(), Check.DATABASE_WAL, "65 MiB", status=Status.WARNING)


def test_a_server_on_it() -> None:
    with only_server(DATA):
        running = examined().only(Check.DATABASE_SERVER)
        assert running.what == f"a server runs on it, process {os.getpid()}"
    assert examined().only(Check.DATABASE_SERVER).what == "no server runs on it"


def test_a_server_that_writes_meanwhile_keeps_its_rows_and_its_files() -> None:
    store = SQLiteStore(DATA)
    try:
        store.write(lambda tx: tx.execute(EVENT))
        before = {file: file.stat().st_mtime_ns for file in DATA.iterdir()}
        report = examined()
        assert report.only(Check.DATABASE_CONTENT).status is Status.OK
        assert {file: file.stat().st_mtime_ns for file in DATA.iterdir()} == before
        store.write(lambda tx: tx.execute(EVENT))
    finally:
        store.close()


def test_an_inspection_cannot_write_and_notices_who_does() -> None:
    with inspected(DATA) as inspection:
        with pytest.raises(InspectionFailed, match="READONLY"):
            inspection.execute(EVENT)
        store = SQLiteStore(DATA)
        try:
            before = inspection.overtaken
            store.write(lambda tx: tx.execute(EVENT))
            assert (before, inspection.overtaken) == (False, True)
            with inspected(DATA) as another:
                assert another.execute("SELECT COUNT(*) FROM audit_events") == [(1,)]
                store.write(lambda tx: tx.execute(EVENT))
                assert another.execute("SELECT COUNT(*) FROM audit_events") == [(1,)]
                assert not another.overtaken
        finally:
            store.close()


@pytest.mark.parametrize(
    ("ahead_s", "status"), [(4, Status.OK), (30, Status.WARNING), (3_600, Status.PROBLEM)]
)
def test_rows_from_the_future(ahead_s: int, status: Status) -> None:
    now_ms = time.time_ns() // 1_000_000
    execute(f"INSERT INTO audit_events (at, event) VALUES ({now_ms + ahead_s * 1000}, 'LOGIN')")
    refused(examined(clock=FakeClock(now_ms)), Check.CLOCK_DATABASE, status=status)
    assert (
        examined(clock=FakeClock(now_ms + ahead_s * 1000)).only(Check.CLOCK_DATABASE).status
        is Status.OK
    )


def test_a_database_that_nobody_can_reach() -> None:
    Path("file").touch()
    report = examined(app(), store={"directory": Path("file")})
    assert report.only(Check.DATABASE_FILE).status is Status.WARNING
    assert report.only(Check.CLOCK_DATABASE).status is Status.SKIPPED
