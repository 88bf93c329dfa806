"""What an import makes of accounts that are there already, over a real SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running_server import FakeClock
from tests.unit.imported import (
    BCRYPT,
    FULL,
    NOW_MS,
    OTHER_BCRYPT,
    account,
    count_accounts,
    problem,
)
from wxauth_server.accounts.imports.importing import (
    ADDED,
    UNCHANGED,
    AccountImporter,
    AccountRow,
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


def test_again_is_unchanged(importer: AccountImporter, store: SQLiteStore) -> None:
    rows = [FULL, AccountRow("2", "b"), AccountRow("3")]
    importer.import_batch(rows, dry_run=False)
    before = account(store, "1")
    assert importer.import_batch(rows, dry_run=False) == [UNCHANGED] * 3
    assert account(store, "1") == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"username": "zhangsan"}, "username"),
        ({"username": None}, "username"),
        ({"display_name": "张三丰"}, "display name"),
        ({"phone": "+8613800138001"}, "phone number"),
        ({"phone_verified": False}, "mark whether its phone number is verified"),
        ({"password_hash": OTHER_BCRYPT}, "password"),
        ({"password_hash": None}, "password"),
        ({"disabled": False}, "mark whether it is disabled"),
        ({"username": "lisi", "display_name": None}, "username and another display name"),
    ],
    ids=[
        "other spelling", "no username", "display name", "phone", "unverified", "password",
        "no password", "enabled", "two",
    ],
)  # fmt: skip
def test_another_account_with_the_id_is_not_overwritten(
    importer: AccountImporter, store: SQLiteStore, change: dict[str, object], named: str
) -> None:
    importer.import_batch([FULL], dry_run=False)
    before = account(store, "1")
    other = FULL._replace(**change)  # type: ignore[arg-type]  # checked by being run
    [outcome] = importer.import_batch([other], dry_run=False)
    assert problem(outcome) == f"there is an account with the id '1' already, with another {named}"
    assert account(store, "1") == before


@pytest.mark.parametrize("spelling", ["zhangsan", "ZHANGSAN", "ｚｈａｎｇｓａｎ"])
def test_a_taken_username_is_named(
    importer: AccountImporter, store: SQLiteStore, spelling: str
) -> None:
    importer.import_batch([FULL], dry_run=False)
    [outcome] = importer.import_batch([AccountRow("2", spelling)], dry_run=False)
    assert f"with the username {spelling!r} already" in problem(outcome)
    assert count_accounts(store) == 1


def test_of_two_in_one_batch_the_first_is_added(
    importer: AccountImporter, store: SQLiteStore
) -> None:
    rows = [
        AccountRow("1", "taken"),
        AccountRow("2", "Taken"),  # the username is
        AccountRow("2", "free"),  # and the id is not
        AccountRow("2", "other"),
        AccountRow("2", "free", "another name"),
        AccountRow("2", "free"),
    ]
    first, *refused, last = importer.import_batch(rows, dry_run=False)
    assert (first, refused.pop(1), last) == (ADDED, ADDED, UNCHANGED)
    assert [problem(outcome).partition("another ")[2] for outcome in refused] == [
        "username", "username", "display name",
    ]  # fmt: skip
    assert (account(store, "2").username, count_accounts(store)) == ("free", 2)


def test_batches_of_every_size(importer: AccountImporter, store: SQLiteStore) -> None:
    """A statement takes a power of two of them."""
    total = 0
    for size in [0, 1, 2, 3, 31, 32, 33, 63, 64, 65, 127, 300]:
        rows = [AccountRow(f"{size}/{n}", f"{size}.{n}") for n in range(size)]
        assert importer.import_batch(rows, dry_run=False) == [ADDED] * size
        assert importer.import_batch(rows, dry_run=False) == [UNCHANGED] * size
        total += size
        assert count_accounts(store) == total


def test_a_password_that_was_hashed_anew_stays(
    importer: AccountImporter, store: SQLiteStore
) -> None:
    importer.import_batch([FULL], dry_run=False)
    ours = "bcrypt-hmac$pepper-1$" + BCRYPT
    store.write(lambda tx: tx.execute("UPDATE accounts SET password = :ours", {"ours": ours}))
    assert importer.import_batch([FULL], dry_run=False) == [UNCHANGED]
    assert account(store, "1").password == ours


def test_a_password_that_was_set_here_is_another_one(
    importer: AccountImporter, store: SQLiteStore
) -> None:
    importer.import_batch([FULL], dry_run=False)
    store.write(
        lambda tx: tx.execute(
            "UPDATE accounts SET password = :ours, password_version = 2",
            {"ours": "bcrypt-hmac$pepper-1$" + BCRYPT},
        )
    )
    [outcome] = importer.import_batch([FULL], dry_run=False)
    assert problem(outcome).endswith("another password")


def test_whoever_has_left_does_not_come_back(importer: AccountImporter, store: SQLiteStore) -> None:
    importer.import_batch([FULL], dry_run=False)
    store.write(
        lambda tx: tx.execute(
            "UPDATE accounts SET username = NULL, username_key = NULL, deleted_at = 1"
        )
    )
    [outcome] = importer.import_batch([FULL], dry_run=False)
    assert problem(outcome) == "the user of the account with the id '1' has left"
    assert account(store, "1").username is None
