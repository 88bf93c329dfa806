"""kill -9 in the middle of an import, and run it again: as if it had never been killed."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.import_command import imported, working_directory, write_users
from tests.fault.seeded_store import rows
from tests.wxauth_command import RunningCommand, running
from wxauth_server.store.sqlite import DATABASE_NAME

USERS = 10_000
COLUMNS = "id, username, username_key, display_name, phone, password, password_version"


def accounts(work: Path) -> list[tuple[Any, ...]]:
    return rows(work / ".wxauth", f"SELECT {COLUMNS} FROM accounts ORDER BY id")


def count_added(work: Path) -> int:
    """How many accounts there are, while an import runs or after it was killed."""
    with contextlib.suppress(sqlite3.OperationalError):  # not made yet
        [(count,)] = rows(work / ".wxauth", "SELECT COUNT(*) FROM accounts")
        return int(count)
    return 0


def faults(work: Path, expected: list[tuple[Any, ...]]) -> Iterator[str]:
    """What is not as after an import that nobody killed."""
    if accounts(work) != expected:
        yield "accounts"
    # An account and the event that counts it are of one transaction.
    [(counted,)] = rows(
        work / ".wxauth",
        "SELECT COALESCE(SUM(count), 0) FROM audit_events WHERE event = 'ACCOUNTS_IMPORTED'",
    )
    if counted != count_added(work):
        yield "events"
    if rows(work / ".wxauth", "PRAGMA integrity_check") != [("ok",)]:
        yield "integrity"


def kill_after(work: Path, command: RunningCommand, added: int) -> None:
    while count_added(work) < added:
        assert "Added" not in command.said(), "it came to its end"
    command.send(signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """The accounts after an import that nobody killed."""
    work = working_directory(tmp_path_factory.mktemp("whole"))
    write_users(work / "users.csv", USERS)
    imported(work, "users.csv")
    return accounts(work)


def test_a_killed_import_goes_on(
    tmp_path: Path, expected: list[tuple[Any, ...]], long: bool
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    work = working_directory(tmp_path)
    write_users(work / "users.csv", USERS)
    added = [0]
    for _ in range(10 if long else 3):
        most = USERS * 9 // 10
        with running("accounts", "import", "users.csv", cwd=work) as command:
            kill_after(work, command, added[-1] + chance.randint(1, (most - added[-1]) // 2))
        added.append(count_added(work))
        assert added[-2] < added[-1] < USERS
        # Whole transactions: what there is is there with its events.
        assert [fault for fault in faults(work, expected) if fault != "accounts"] == []
    print(added)
    said = imported(work, "users.csv")
    assert f"Added {USERS - added[-1]:,}, unchanged {added[-1]:,}, refused 0" in said
    assert [*faults(work, expected)] == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("DELETE FROM accounts WHERE id = 'u7'", {"accounts", "events"}),
        ("UPDATE accounts SET phone = NULL WHERE id = 'u7'", {"accounts"}),
        ("DELETE FROM audit_events WHERE id = 1", {"events"}),
    ],
    ids=["an account lost", "a field lost", "an event lost"],
)
def test_control_what_is_missing_is_found(
    tmp_path: Path, expected: list[tuple[Any, ...]], change: str, fault: set[str]
) -> None:
    work = working_directory(tmp_path)
    write_users(work / "users.csv", USERS)
    imported(work, "users.csv")
    assert [*faults(work, expected)] == []
    with closing(sqlite3.connect(work / ".wxauth" / DATABASE_NAME)) as database, database:
        assert database.execute(change).rowcount == 1
    assert set(faults(work, expected)) == fault
