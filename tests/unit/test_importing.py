"""What becomes of imported accounts, over a real SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running_server import FakeClock
from tests.unit.imported import (
    BCRYPT,
    FULL,
    NOW_MS,
    account,
    count_accounts,
    imported_events,
    problem,
)
from wxauth_server.accounts.imports.importing import (
    ADDED,
    MAX_PROBLEM_BYTES,
    UNCHANGED,
    AccountImporter,
    AccountRow,
    Outcome,
)
from wxauth_server.store.audit import Actor
from wxauth_server.store.sqlite import SQLiteStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    opened = SQLiteStore(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_MS)


@pytest.fixture
def importer(store: SQLiteStore, clock: FakeClock) -> AccountImporter:
    return AccountImporter(store, clock, actor=Actor.COMMAND)


def test_every_field_is_stored(importer: AccountImporter, store: SQLiteStore) -> None:
    assert importer.import_batch([FULL], dry_run=False) == [ADDED]
    found = account(store, "1")
    assert found._asdict() == {
        "source": "local",
        "id": "1",
        "username": "ZhangSan",
        "display_name": "张三",
        "phone": "+8613800138000",
        "phone_verified_at": NOW_MS,
        "password": f"bcrypt$${BCRYPT}",
        "password_version": 1,
        "created_at": NOW_MS,
        "disabled_at": NOW_MS,
    }


def test_only_the_id_is_required(importer: AccountImporter, store: SQLiteStore) -> None:
    assert importer.import_batch([AccountRow("1"), AccountRow("2")], dry_run=False) == [ADDED] * 2
    found = account(store, "2")
    assert (found.username, found.phone_verified_at, found.password, found.disabled_at) == (
        None, None, None, None,
    )  # fmt: skip


def test_no_usable_password_is_no_password(importer: AccountImporter, store: SQLiteStore) -> None:
    row = AccountRow("1", "a", password_hash="!")
    assert importer.import_batch([row], dry_run=False) == [ADDED]
    assert account(store, "1").password is None
    assert importer.import_batch([row], dry_run=False) == [UNCHANGED]


def test_one_event_counts_what_was_added(importer: AccountImporter, store: SQLiteStore) -> None:
    rows = [AccountRow("1", "a"), AccountRow("2", "a"), AccountRow("3", "c")]
    for _ in range(2):
        importer.import_batch(rows, dry_run=False)
    assert imported_events(store) == [("ACCOUNTS_IMPORTED", "command", 2)]


def test_a_refused_row_keeps_no_other_from_being_added(
    importer: AccountImporter, store: SQLiteStore
) -> None:
    rows = [
        AccountRow("1", "a"),
        AccountRow("2", "no spaces"),
        AccountRow("3", "c", password_hash="5f4dcc3b5aa765d61d8327deb882cf99"),
        AccountRow("4", "d"),
    ]
    first, second, third, last = importer.import_batch(rows, dry_run=False)
    assert (first, last) == (ADDED, ADDED)
    assert "not allowed" in problem(second)
    assert "MD5" in problem(third)
    assert count_accounts(store) == 2


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (AccountRow(""), "the id is empty"),
        (AccountRow("a\0"), "the id holds a control character"),
        (AccountRow("x" * 129), "longer than 128 bytes"),
        (AccountRow("1", "a\u200bb"), "not allowed"),
        (AccountRow("1", "a\udcff"), "not UTF-8"),
        (AccountRow("1", "a", "x" * 257), "the display name is longer than 256 bytes"),
        (AccountRow("1", "a", phone="13800138000"), "E.164"),
        (AccountRow("1", "a", phone_verified=True), "no phone number that could be verified"),
        (AccountRow("1", "a", password_hash="$2x$10$" + "." * 53), "broken bcrypt"),
    ],
)
def test_what_cannot_be_stored_is_refused(
    importer: AccountImporter, store: SQLiteStore, row: AccountRow, why: str
) -> None:
    [outcome] = importer.import_batch([row], dry_run=False)
    assert why in problem(outcome)
    assert count_accounts(store) == 0
    assert imported_events(store) == []


def test_a_dry_run_says_the_same_and_changes_nothing(
    importer: AccountImporter, store: SQLiteStore
) -> None:
    importer.import_batch([FULL], dry_run=False)
    events = imported_events(store)
    rows = [
        FULL,
        FULL._replace(phone=None, phone_verified=False),
        AccountRow("2", "zhangsan"),
        AccountRow("3", "c"),
        AccountRow("4", "C"),
        AccountRow("", "e"),
    ]
    dry = importer.import_batch(rows, dry_run=True)
    assert (count_accounts(store), imported_events(store)) == (1, events)
    assert dry == importer.import_batch(rows, dry_run=False)
    assert [outcome.result.value for outcome in dry] == [
        "UNCHANGED", "REFUSED", "REFUSED", "ADDED", "REFUSED", "REFUSED",
    ]  # fmt: skip


def test_a_problem_is_never_longer_than_the_contract_allows() -> None:
    long = Outcome.refused("张" * MAX_PROBLEM_BYTES).problem
    assert long == "张" * (MAX_PROBLEM_BYTES // 3)
    assert Outcome.refused("a\udcff").problem == "a?"


def test_no_hash_is_in_a_repr(importer: AccountImporter) -> None:
    assert BCRYPT not in repr(FULL)
    [outcome] = importer.import_batch([FULL._replace(password_hash="$2b$99$x")], dry_run=False)
    assert "$2b$99$x" not in problem(outcome)
