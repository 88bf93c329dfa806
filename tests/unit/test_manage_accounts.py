"""Account management over a real SQLite file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import bcrypt
import pytest

from tests.running_server import TEST_COST, FakeClock
from wxauth_server.accounts import manage_access
from wxauth_server.accounts.account_fields import AccountRefused
from wxauth_server.accounts.manage import (
    AccountManager,
    ForeignHash,
    IdTaken,
    NewPassword,
    NoSuchAccount,
    UsernameTaken,
)
from wxauth_server.accounts.passwords import PasswordHasher, PasswordRefused
from wxauth_server.accounts.source import LOCAL
from wxauth_server.accounts.throttle import NameDigests
from wxauth_server.keyring import KeyRing, Purpose, create_keyring
from wxauth_server.store.accounts import accounts_of_phone, find_account
from wxauth_server.store.interface import Transaction
from wxauth_server.store.keys import keys_in_use
from wxauth_server.store.sessions import SessionRecord, insert_session, list_sessions
from wxauth_server.store.sqlite import SQLiteStore

APP = "wx1111111111111111"
PASSWORD = NewPassword("correct horse")
NOW_MS = 1_790_000_000_000


class WatchedStore(SQLiteStore):
    """Knows whether a write is under way."""

    writing = False

    def write(self, work: Callable[[Any], Any]) -> Any:
        self.writing = True
        try:
            return super().write(work)
        finally:
            self.writing = False


class WatchedHasher(PasswordHasher):
    """Refuses to work inside a write: every other writer would wait for bcrypt."""

    def __init__(self, keyring: KeyRing, store: WatchedStore) -> None:
        super().__init__(keyring, cost=TEST_COST)
        self._store = store
        self.hashed = 0

    def hash(self, password: str) -> str:
        assert not self._store.writing, "bcrypt inside of a write transaction"
        self.hashed += 1
        return super().hash(password)


@pytest.fixture
def keyring(tmp_path: Path) -> KeyRing:
    return create_keyring(tmp_path / "keyring.json")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WatchedStore]:
    opened = WatchedStore(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def hasher(keyring: KeyRing, store: WatchedStore) -> WatchedHasher:
    return WatchedHasher(keyring, store)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_MS)


@pytest.fixture
def manager(
    store: WatchedStore, hasher: WatchedHasher, clock: FakeClock, keyring: KeyRing
) -> AccountManager:
    return AccountManager(store, hasher, clock, names=NameDigests(keyring))


def events(store: SQLiteStore) -> list[tuple[str, str, int]]:
    rows = store.read(
        lambda tx: tx.execute("SELECT event, account_id, at FROM audit_events ORDER BY id")
    )
    return [(event, account_id, at) for event, account_id, at in rows]


def log_in(store: SQLiteStore, account_id: str, handle: str, at_ms: int = NOW_MS) -> None:
    """A session of the account, as a login leaves it."""
    store.write(
        lambda tx: insert_session(
            tx,
            SessionRecord.beginning(
                digest=hashlib.sha256(handle.encode()).digest(),
                handle=handle,
                app_id=APP,
                openid="openid",
                account=(LOCAL, account_id),
                now_ms=at_ms,
            ),
        )
    )


def causes(store: SQLiteStore) -> dict[str, str | None]:
    """Why each session was ended, by its handle."""
    sessions = store.read(lambda tx: list_sessions(tx, limit=100))
    return {session.handle: session.ended_cause for session in sessions}


# --- Adding ------------------------------------------------------------------


def test_an_account_is_added_as_given(
    manager: AccountManager, store: WatchedStore, hasher: WatchedHasher, keyring: KeyRing
) -> None:
    record = manager.add(
        account_id="10001",
        username="Zhang.San",
        display_name="张三",
        phone="+8613800138000",
        password=PASSWORD,
    )

    assert record.key == (LOCAL, "10001")
    assert record.username == "Zhang.San"
    assert record.display_name == "张三"
    assert record.phone == "+8613800138000"
    assert record.created_at == NOW_MS
    assert record.disabled_at is None
    assert hasher.verify(record.password, PASSWORD.text)
    assert events(store) == [("ACCOUNT_ADDED", "10001", NOW_MS)]
    pepper = keyring.active(Purpose.PEPPER)
    assert store.read(keys_in_use) == [("pepper", pepper.id)]


def test_without_an_id_each_account_gets_a_random_one(manager: AccountManager) -> None:
    ids = {manager.add(username=f"user{number}").id for number in range(20)}

    assert len(ids) == 20
    assert all(len(account_id) == 32 for account_id in ids)


def test_an_account_may_have_no_password(
    manager: AccountManager, store: WatchedStore, hasher: WatchedHasher
) -> None:
    record = manager.add(username="zhangsan")

    assert record.password is None
    assert not hasher.verify(record.password, "")
    assert store.read(keys_in_use) == []


def test_a_foreign_hash_is_taken_over_and_needs_no_key(
    manager: AccountManager, store: WatchedStore, hasher: WatchedHasher
) -> None:
    foreign = bcrypt.hashpw(b"from elsewhere", bcrypt.gensalt(4)).decode()

    record = manager.add(username="zhangsan", password=ForeignHash(foreign))

    assert hasher.verify(record.password, "from elsewhere")
    assert store.read(keys_in_use) == []


def test_a_taken_id_is_named(manager: AccountManager, store: WatchedStore) -> None:
    manager.add(account_id="1", username="zhangsan")

    with pytest.raises(IdTaken, match="id '1'"):
        manager.add(account_id="1", username="lisi")
    assert len(events(store)) == 1


@pytest.mark.parametrize("spelling", ["zhangsan", "ZhangSan", "ｚｈａｎｇｓａｎ"])
def test_a_taken_username_is_named_in_any_spelling(
    manager: AccountManager, store: WatchedStore, spelling: str
) -> None:
    manager.add(account_id="1", username="zhangsan")

    with pytest.raises(UsernameTaken, match=f"username '{spelling}'"):
        manager.add(account_id="2", username=spelling, password=PASSWORD)
    assert store.read(lambda tx: find_account(tx, LOCAL, "2")) is None
    assert store.read(keys_in_use) == []


@pytest.mark.parametrize("username", ["a" * 256, "张三" * 42, "zhang@example.com"])
def test_usernames_that_are_allowed(manager: AccountManager, username: str) -> None:
    assert manager.add(username=username).username == username


@pytest.mark.parametrize(
    ("username", "problem"),
    [
        ("", "the username is empty"),
        ("a" * 257, "longer than 256 bytes"),
        ("zhang san", "not allowed"),
        ("zhang\0san", "control character"),
        ("zhang\nsan", "control character"),
        ("zhang\udcff", "not UTF-8"),
        ("zhang\u200bsan", "not allowed"),
    ],
)
def test_usernames_that_are_refused(manager: AccountManager, username: str, problem: str) -> None:
    with pytest.raises(AccountRefused, match=problem):
        manager.add(username=username)


@pytest.mark.parametrize(
    ("account_id", "problem"),
    [
        ("", "the id is empty"),
        ("a" * 129, "longer than 128 bytes"),
        ("号" * 43, "longer than 128 bytes"),
        ("a\0b", "control character"),
        ("a\x7fb", "control character"),
        ("a\u2028b", "control character"),
        ("a\udc80", "not UTF-8"),
    ],
)
def test_ids_that_are_refused(manager: AccountManager, account_id: str, problem: str) -> None:
    with pytest.raises(AccountRefused, match=problem):
        manager.add(account_id=account_id, username="zhangsan")


@pytest.mark.parametrize("account_id", ["a" * 128, "10001", "user 1", "客户/7", "-1"])
def test_ids_that_are_allowed(manager: AccountManager, account_id: str) -> None:
    assert manager.add(account_id=account_id, username="zhangsan").id == account_id


@pytest.mark.parametrize("name", ["", "a" * 257, "张\n三"])
def test_display_names_that_are_refused(manager: AccountManager, name: str) -> None:
    with pytest.raises(AccountRefused, match="display name"):
        manager.add(username="zhangsan", display_name=name)


@pytest.mark.parametrize(
    "phone",
    ["", "13800138000", "+0613800138000", "+86 138", "+86١٣٨٠٠١٣٨", "+1234567890123456", "+8613x"],
)
def test_phones_that_are_refused(manager: AccountManager, phone: str) -> None:
    with pytest.raises(AccountRefused, match=r"E\.164"):
        manager.add(username="zhangsan", phone=phone)


def test_a_password_is_judged_before_anything_is_done() -> None:
    with pytest.raises(PasswordRefused, match="8 characters"):
        NewPassword("short")
    with pytest.raises(PasswordRefused, match="MD5 or SHA"):
        ForeignHash("5f4dcc3b5aa765d61d8327deb882cf99")


def test_no_password_is_in_a_repr() -> None:
    assert PASSWORD.text not in repr(PASSWORD)
    foreign = "$2b$04$" + "." * 53
    assert foreign not in repr(ForeignHash(foreign))


# --- Passwords ---------------------------------------------------------------


def test_another_password_ends_every_session(
    manager: AccountManager, store: WatchedStore, hasher: WatchedHasher, clock: FakeClock
) -> None:
    before = manager.add(account_id="1", username="zhangsan", password=PASSWORD)
    manager.add(account_id="2", username="lisi")
    for handle in ("a", "b"):
        log_in(store, "1", handle)
    log_in(store, "2", "of lisi")
    clock.ms += 5_000

    change = manager.set_password("1", NewPassword("another one"))

    assert (change.changed, change.sessions_ended) == (True, 2)
    assert hasher.verify(change.account.password, "another one")
    assert not hasher.verify(change.account.password, PASSWORD.text)
    assert change.account.password_version == before.password_version + 1
    assert causes(store) == {"a": "PASSWORD_CHANGED", "b": "PASSWORD_CHANGED", "of lisi": None}
    assert events(store)[-1] == ("PASSWORD_SET", "1", NOW_MS + 5_000)


def test_a_session_keeps_the_first_cause_of_its_end(
    manager: AccountManager, store: WatchedStore
) -> None:
    manager.add(account_id="1", username="zhangsan")
    log_in(store, "1", "a")
    manager.disable("1")

    assert manager.set_password("1", PASSWORD).sessions_ended == 0
    assert causes(store) == {"a": "ACCOUNT_DISABLED"}


# --- Phone numbers -----------------------------------------------------------


def test_a_phone_number_is_verified_unmarked_corrected_and_removed(
    manager: AccountManager, store: WatchedStore, clock: FakeClock
) -> None:
    added = manager.add(account_id="1", username="zhangsan", password=PASSWORD)
    manager.add(account_id="2", username="lisi", phone="+8613900000000", phone_verified=True)
    log_in(store, "1", "a")

    def found_by(phone: str) -> list[str]:
        return [a.id for a in store.read(lambda tx: accounts_of_phone(tx, LOCAL, phone))]

    steps = [
        ("+8613800138000", True),
        ("+8613800138000", False),
        ("+8613800138001", True),
        (None, False),
    ]
    for phone, verified in steps:
        clock.ms += 1
        change = manager.set_phone("1", phone, verified=verified)
        assert (change.changed, change.sessions_ended) == (True, 0)
        verified_at = clock.ms if verified else None
        assert change.account == added._replace(phone=phone, phone_verified_at=verified_at)
        assert manager.find(account_id="1") == change.account
        assert found_by("+8613800138000") == (["1"] if (phone, verified) == steps[0] else [])
        assert events(store)[-1] == ("PHONE_SET", "1", clock.ms)
    assert manager.find(account_id="2").phone_verified_at == NOW_MS
    assert causes(store) == {"a": None}


def test_a_number_that_was_so_before_is_no_change_but_a_new_check_is(
    manager: AccountManager, store: WatchedStore, clock: FakeClock
) -> None:
    manager.add(account_id="1", username="zhangsan")
    assert not manager.set_phone("1", None).changed
    assert manager.set_phone("1", "+8613800138000").changed
    assert not manager.set_phone("1", "+8613800138000").changed
    assert [event for event, _, _ in events(store)] == ["ACCOUNT_ADDED", "PHONE_SET"]

    for _ in range(2):
        clock.ms += 1
        change = manager.set_phone("1", "+8613800138000", verified=True)
        assert (change.changed, change.account.phone_verified_at) == (True, clock.ms)


def test_a_phone_number_that_cannot_be_set_changes_nothing(
    manager: AccountManager, store: WatchedStore
) -> None:
    before = manager.add(username="zhangsan", phone="+8613800138000", phone_verified=True)
    with pytest.raises(AccountRefused, match=r"E\.164"):
        manager.set_phone(before.id, "13800138000")
    with pytest.raises(AccountRefused, match="no phone number that could be verified"):
        manager.set_phone(before.id, None, verified=True)
    assert manager.find(account_id=before.id) == before
    assert len(events(store)) == 1


# --- Disabling and enabling --------------------------------------------------


def test_disabling_ends_every_session_and_enabling_revives_none(
    manager: AccountManager, store: WatchedStore, clock: FakeClock
) -> None:
    manager.add(account_id="1", username="zhangsan")
    log_in(store, "1", "a")
    clock.ms += 1

    disabled = manager.disable("1")
    assert (disabled.changed, disabled.sessions_ended) == (True, 1)
    assert disabled.account.disabled_at == NOW_MS + 1
    clock.ms += 1

    again = manager.disable("1")
    assert (again.changed, again.account.disabled_at) == (False, NOW_MS + 1)

    enabled = manager.enable("1")
    assert (enabled.changed, enabled.account.disabled_at) == (True, None)
    assert not manager.enable("1").changed

    assert causes(store) == {"a": "ACCOUNT_DISABLED"}
    assert [event for event, _, _ in events(store)] == [
        "ACCOUNT_ADDED",
        "ACCOUNT_DISABLED",
        "ACCOUNT_ENABLED",
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda manager: manager.set_password("1", NewPassword("another one")),
        lambda manager: manager.set_phone("1", "+8613800138000", verified=True),
        lambda manager: manager.disable("1"),
    ],
    ids=["set_password", "set_phone", "disable"],
)
def test_a_change_without_its_audit_event_does_not_happen(
    manager: AccountManager,
    store: WatchedStore,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[AccountManager], object],
) -> None:
    before = manager.add(account_id="1", username="zhangsan", password=PASSWORD)
    log_in(store, "1", "a")

    def fail(_tx: Transaction, *_event: object, **_fields: object) -> NoReturn:
        raise RuntimeError("the event cannot be written")

    monkeypatch.setattr(manage_access, "record_event", fail)
    with pytest.raises(RuntimeError, match="the event"):
        change(manager)

    assert store.read(lambda tx: find_account(tx, LOCAL, "1")) == before
    assert causes(store) == {"a": None}


# --- Finding -----------------------------------------------------------------


def test_accounts_are_found_by_username_and_by_id(manager: AccountManager) -> None:
    added = manager.add(account_id="1", username="ZhangSan")

    assert manager.find(username="zhangsan") == added
    assert manager.find(account_id="1") == added


def test_what_is_not_there_is_named(manager: AccountManager) -> None:
    with pytest.raises(NoSuchAccount, match="username 'nobody'"):
        manager.find(username="nobody")
    with pytest.raises(NoSuchAccount, match="username 'no body'"):
        manager.find(username="no body")
    with pytest.raises(NoSuchAccount, match="id '7'"):
        manager.find(account_id="7")
    for change in (manager.disable, manager.enable):
        with pytest.raises(NoSuchAccount, match="id '7'"):
            change("7")
    with pytest.raises(NoSuchAccount, match="id '7'"):
        manager.set_password("7", PASSWORD)
    with pytest.raises(NoSuchAccount, match="id '7'"):
        manager.set_phone("7", "+8613800138000")
