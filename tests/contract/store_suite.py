"""What an engine must keep to be a store. An engine is what passes this suite.

A test class of an engine inherits `StoreSuite` and gives the fixture
`open_store`; it may add tests of its own and leaves none of these out. Nothing
here knows an engine: the SQL is the one that every engine runs.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from wxauth_server.store.accounts import (
    AccountRecord,
    find_account,
    find_account_by_username,
    insert_account,
    list_accounts,
    lock_enabled_account,
    set_disabled,
    update_password,
    update_password_hash,
)
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.bindings import (
    BindingRecord,
    delete_binding,
    find_binding,
    insert_binding,
    list_bindings,
    lock_binding,
)
from wxauth_server.store.interface import READ_AT_ONCE, Store, Transaction
from wxauth_server.store.keys import keys_in_use, note_key_in_use
from wxauth_server.store.sessions import (
    Cause,
    SessionRecord,
    end_session,
    end_sessions_of_account,
    end_sessions_of_wechat_user,
    end_surplus_sessions,
    insert_session,
    list_sessions,
    read_session,
    touch_sessions,
    update_unionid,
)

#: Opens the test's database, which is empty at first, one more time.
OpenStore = Callable[[], Store]

NOW = 1_790_000_000_000
IDLE_MS = 60_000
ABSOLUTE_MS = 600_000
APP = "wx0000000000000001"
OTHER_APP = "wx0000000000000002"
OPENID = "oOne"
ACCOUNT = ("local", "1")

#: Texts that an encoding on the way could spoil.
AWKWARD_TEXTS = [
    "",
    "张三",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e8\U0001f1f3",
    "e\u0301 is not \u00e9",
    'say "hello"',
    "it's; DROP TABLE sessions; --",
    "back\\slash \\u0041 \\n",
    "".join(map(chr, range(1, 32))) + "\x7f\x80\x9b",
    "line\u2028paragraph\u2029next\u0085",
    "\ufeffmark\ufffe\uffff",
    "null",
    '["nested", {"json": 1}]',
    ":named ?1 %s {x}",
]
LARGEST = 2**63 - 1


class Interrupted(BaseException):
    """Something that is not even an Exception."""


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


class StoreSuite:
    """The promises of a store."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """An engine gives its own, which closes what it opened."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, open_store: OpenStore) -> Store:
        return open_store()

    @pytest.fixture
    def second(self, store: Store, open_store: OpenStore) -> Store:
        """The same database as another process has it open."""
        del store  # it is the first
        return open_store()

    # --- Transactions -------------------------------------------------------

    @pytest.mark.parametrize("failure", [ValueError("ours"), Interrupted()])
    def test_a_write_is_all_or_nothing(self, store: Store, failure: BaseException) -> None:
        """What a work did before it raised is undone, and what it raised comes out as it was."""

        def work(tx: Transaction) -> None:
            tx.execute("INSERT INTO keys_in_use (purpose, key_id) VALUES ('pepper', 'a')")
            tx.execute("INSERT INTO keys_in_use (purpose, key_id) VALUES ('pepper', 'b')")
            raise failure

        with pytest.raises(type(failure)) as caught:
            store.write(work)
        assert caught.value is failure
        assert store.read(keys_in_use) == []

    def test_a_store_goes_on_after_a_work_that_raised(self, store: Store) -> None:
        """A failed work, more often than there are connections, leaves nothing behind."""

        def work(tx: Transaction) -> None:
            tx.execute("SELECT 1")
            raise LookupError

        for _ in range(20):
            with pytest.raises(LookupError):
                store.read(work)
            with pytest.raises(LookupError):
                store.write(work)
        assert add_account(store)
        assert account_of(store).id == "1"

    def test_a_work_sees_what_it_wrote(self, store: Store) -> None:
        """Statements of one transaction follow one another."""

        def work(tx: Transaction) -> list[tuple[str, str]]:
            note_key_in_use(tx, "pepper", "a")
            return keys_in_use(tx)

        assert store.write(work) == [("pepper", "a")]

    def test_a_returned_write_is_seen_everywhere(self, store: Store, second: Store) -> None:
        """Once `write` has returned, every read sees it: other threads, other processes."""
        with ThreadPoolExecutor(1) as thread:
            for number in range(20):
                add_account(store, str(number))
                start(store, number, account=("local", str(number)))
                for reader in (store, second):
                    here = reader.read_sessions([digest(number)])
                    there = thread.submit(reader.read_sessions, [digest(number)]).result(10)
                    assert here == there
                    assert list(here) == [digest(number)]
                    assert reader.read(lambda tx: len(list_accounts(tx, "local", limit=99))) == (
                        number + 1
                    )

    def test_a_read_has_one_state_of_the_database(self, store: Store, second: Store) -> None:
        """What is committed while a read goes on does not show in it."""

        def work(tx: Transaction) -> tuple[int, int]:
            before = len(keys_in_use(tx))
            second.write(lambda tx: note_key_in_use(tx, "pepper", "meanwhile"))
            return before, len(keys_in_use(tx))

        assert store.read(work) == (0, 0)
        assert store.read(keys_in_use) == [("pepper", "meanwhile")]

    def test_an_open_write_shows_nowhere_else(self, store: Store) -> None:
        """Nobody sees a transaction before it is committed, and nobody waits for it to read."""
        add_account(store)
        session = start(store, "a")

        def work(tx: Transaction) -> None:
            end_session(tx, session, Cause.LOGOUT, now_ms=NOW)
            assert store.read_sessions([session])[session].ended_at is None
            assert session_of(store, session).ended_at is None

        store.write(work)
        assert store.read_sessions([session])[session].ended_at == NOW

    def test_writes_of_many_threads_lose_nothing(self, store: Store, second: Store) -> None:
        """Read-then-write in one transaction is exact, and none fails (reliability.md F4)."""
        add_account(store)
        threads, each = 4, 60
        together = threading.Barrier(threads)

        def increment(tx: Transaction) -> None:
            [(version,)] = tx.execute("SELECT password_version FROM accounts")
            tx.execute("UPDATE accounts SET password_version = :v", {"v": version + 1})

        def run(number: int) -> None:
            together.wait(10)
            for _ in range(each):
                (store, second)[number % 2].write(increment)

        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(run, number) for number in range(threads)]:
                done.result(60)
        assert account_of(store).password_version == 1 + threads * each

    def test_one_of_many_binds_wins(self, store: Store, second: Store) -> None:
        """However many bind the same WeChat user at once, one does (reliability.md F18)."""
        threads = 8
        for number in range(threads):
            add_account(store, str(number))
        together = threading.Barrier(threads)

        def run(number: int) -> bool:
            together.wait(10)
            return bind((store, second)[number % 2], account=("local", str(number)))

        with ThreadPoolExecutor(threads) as pool:
            outcomes = list(pool.map(run, range(threads)))
        assert sorted(outcomes) == [False] * (threads - 1) + [True]
        [bound] = store.read(lambda tx: list_bindings(tx, limit=99))
        assert bound.account == ("local", str(outcomes.index(True)))

    # --- Accounts -----------------------------------------------------------

    def test_an_account_comes_back_as_it_was_added(self, store: Store) -> None:
        """Every column, by id and by username."""
        added = store.write(
            lambda tx: insert_account(
                tx,
                source="local",
                account_id="10001",
                username="ZhangSan",
                username_key="zhangsan",
                display_name="张三",
                phone="+8613800138000",
                password="scheme$id$hash",
                now_ms=NOW,
            )
        )
        assert added
        expected = AccountRecord(
            source="local",
            id="10001",
            username="ZhangSan",
            display_name="张三",
            phone="+8613800138000",
            password="scheme$id$hash",
            password_version=1,
            created_at=NOW,
            disabled_at=None,
        )
        assert account_of(store, ("local", "10001")) == expected
        found = store.read(lambda tx: find_account_by_username(tx, "local", "zhangsan"))
        assert found == expected
        assert store.read(lambda tx: find_account_by_username(tx, "local", "ZhangSan")) is None
        assert store.read(lambda tx: find_account_by_username(tx, "http", "zhangsan")) is None
        assert store.read(lambda tx: find_account(tx, "http", "10001")) is None

    def test_an_id_or_username_is_taken_once(self, store: Store) -> None:
        """The second insert says no and changes nothing; another source is another world."""
        assert add_account(store, "1", username="zhangsan")
        assert not add_account(store, "1", username="lisi")
        assert not add_account(store, "2", username="zhangsan")
        assert add_account(store, "1", source="http", username="zhangsan")
        assert account_of(store).username == "zhangsan"
        assert len(store.read(lambda tx: list_accounts(tx, "local", limit=99))) == 1

    def test_accounts_without_a_username_do_not_collide(self, store: Store) -> None:
        """No username is no username to be taken."""
        assert add_account(store, "1")
        assert add_account(store, "2")

    def test_the_lock_is_given_for_an_enabled_account(self, store: Store) -> None:
        """The row as it is, for the version that holds, and nothing is changed by it."""
        add_account(store, password="a")
        before = account_of(store)
        assert store.write(lambda tx: lock_enabled_account(tx, *ACCOUNT)) == before
        assert (
            store.write(lambda tx: lock_enabled_account(tx, *ACCOUNT, password_version=1)) == before
        )
        assert account_of(store) == before

    def test_the_lock_is_refused(self, store: Store) -> None:
        """For an account that is absent, disabled, or whose password changed."""
        add_account(store, password="a")
        assert store.write(lambda tx: lock_enabled_account(tx, "local", "2")) is None
        assert store.write(lambda tx: lock_enabled_account(tx, "http", "1")) is None
        store.write(lambda tx: update_password(tx, *ACCOUNT, "b"))
        assert (
            store.write(lambda tx: lock_enabled_account(tx, *ACCOUNT, password_version=1)) is None
        )
        store.write(lambda tx: set_disabled(tx, *ACCOUNT, disabled_at=NOW))
        assert store.write(lambda tx: lock_enabled_account(tx, *ACCOUNT)) is None
        assert (
            store.write(lambda tx: lock_enabled_account(tx, *ACCOUNT, password_version=2)) is None
        )
        store.write(lambda tx: set_disabled(tx, *ACCOUNT, disabled_at=None))
        assert store.write(lambda tx: lock_enabled_account(tx, *ACCOUNT)) is not None

    def test_another_password_is_another_version(self, store: Store) -> None:
        """Every change counts, also one to the same hash; no account, no change."""
        add_account(store, password="a")

        def change(password: str) -> bool:
            return store.write(lambda tx: update_password(tx, *ACCOUNT, password))

        for version, password in enumerate(["b", "b", "c"], start=2):
            assert change(password)
            assert account_of(store)[5:7] == (password, version)
        assert not store.write(lambda tx: update_password(tx, "local", "2", "x"))

    def test_a_rehash_is_the_same_version(self, store: Store) -> None:
        """It is the same password; and it comes too late when another one was set meanwhile."""
        add_account(store, password="old")
        store.write(
            lambda tx: update_password_hash(tx, *ACCOUNT, password="anew", verified_version=1)
        )
        assert account_of(store)[5:7] == ("anew", 1)
        store.write(lambda tx: update_password(tx, *ACCOUNT, "another"))
        store.write(
            lambda tx: update_password_hash(tx, *ACCOUNT, password="late", verified_version=1)
        )
        assert account_of(store)[5:7] == ("another", 2)

    def test_an_account_is_disabled_and_enabled(self, store: Store) -> None:
        """The row as it is then, with the time; None for an account that is not there."""
        add_account(store)
        disabled = store.write(lambda tx: set_disabled(tx, *ACCOUNT, disabled_at=NOW))
        assert disabled == account_of(store)
        assert disabled.disabled_at == NOW
        enabled = store.write(lambda tx: set_disabled(tx, *ACCOUNT, disabled_at=None))
        assert enabled == account_of(store)
        assert enabled.disabled_at is None
        assert store.write(lambda tx: set_disabled(tx, "local", "2", disabled_at=NOW)) is None

    def test_accounts_are_listed_oldest_first(self, store: Store) -> None:
        """Of one source, ties by id, up to the limit."""
        for account_id, created_at in (("c", 1), ("b", 2), ("a", 2), ("d", 0)):
            add_account(store, account_id, now_ms=created_at)
        add_account(store, "z", source="http", now_ms=0)

        def listed(limit: int) -> list[str]:
            return [a.id for a in store.read(lambda tx: list_accounts(tx, "local", limit=limit))]

        assert listed(99) == ["d", "c", "a", "b"]
        assert listed(2) == ["d", "c"]

    def test_keys_in_use_are_noted_once(self, store: Store) -> None:
        """Noting again is no error; purpose and id together are the key."""

        def work(tx: Transaction) -> None:
            for purpose, key_id in (("seal", "a"), ("pepper", "b"), ("pepper", "a")):
                note_key_in_use(tx, purpose, key_id)

        store.write(work)
        store.write(work)
        assert store.read(keys_in_use) == [("pepper", "a"), ("pepper", "b"), ("seal", "a")]

    # --- Bindings -----------------------------------------------------------

    def test_a_binding_comes_back_as_it_was_made(self, store: Store) -> None:
        """Every column, and only for its app and openid."""
        add_account(store)
        assert bind(store, unionid="uOne")
        expected = BindingRecord(APP, OPENID, "local", "1", "uOne", NOW, None, None)
        assert store.read(lambda tx: find_binding(tx, APP, OPENID)) == expected
        assert store.read(lambda tx: find_binding(tx, OTHER_APP, OPENID)) is None
        assert store.read(lambda tx: find_binding(tx, APP, "oTwo")) is None

    @pytest.mark.parametrize("exclusive", [True, False])
    def test_a_wechat_user_is_bound_once(self, store: Store, exclusive: bool) -> None:
        """UNIQUE (app_id, openid) whatever the policy, to this account or another."""
        add_account(store, "1")
        add_account(store, "2")
        assert bind(store, exclusive=exclusive)
        assert not bind(store, account=("local", "2"), exclusive=exclusive)
        assert not bind(store, exclusive=exclusive)
        assert bind(store, account=("local", "2"), app_id=OTHER_APP, exclusive=exclusive)
        bound = store.read(lambda tx: find_binding(tx, APP, OPENID))
        assert bound is not None
        assert bound.account == ACCOUNT

    def test_an_account_is_bound_once_where_that_is_exclusive(self, store: Store) -> None:
        """UNIQUE (app_id, account) in an app that wants it, never across apps."""
        add_account(store)
        assert bind(store, "oOne")
        assert not bind(store, "oTwo")
        assert bind(store, "oTwo", app_id=OTHER_APP)
        assert len(store.read(lambda tx: list_bindings(tx, limit=99))) == 2

    def test_an_account_may_be_bound_to_several_wechat_users(self, store: Store) -> None:
        """In an app that allows it."""
        add_account(store)
        assert all(bind(store, openid, exclusive=False) for openid in ("oOne", "oTwo", "oThree"))

    def test_the_lock_of_a_binding_fills_in_the_unionid(self, store: Store) -> None:
        """When it first appears; a login without one leaves it."""
        add_account(store)
        bind(store)

        def lock(unionid: str | None) -> str | None:
            locked = store.write(lambda tx: lock_binding(tx, APP, OPENID, ACCOUNT, unionid=unionid))
            assert locked == store.read(lambda tx: find_binding(tx, APP, OPENID))
            assert locked is not None
            return locked.unionid

        assert [lock(None), lock("uOne"), lock(None)] == [None, "uOne", "uOne"]

    def test_the_lock_of_a_binding_to_another_account_is_refused(self, store: Store) -> None:
        """And fills nothing in; neither is there one of a WeChat user who is not bound."""
        add_account(store, "1")
        add_account(store, "2")
        bind(store)

        def lock(app_id: str, openid: str, account: tuple[str, str]) -> BindingRecord | None:
            return store.write(lambda tx: lock_binding(tx, app_id, openid, account, unionid="uOne"))

        assert lock(APP, OPENID, ("local", "2")) is None
        assert lock(APP, OPENID, ("http", "1")) is None
        assert lock(APP, "oTwo", ACCOUNT) is None
        assert lock(OTHER_APP, OPENID, ACCOUNT) is None
        bound = store.read(lambda tx: find_binding(tx, APP, OPENID))
        assert bound is not None
        assert bound.unionid is None

    def test_a_binding_ends_once(self, store: Store) -> None:
        """The one that was comes back, then None; account and WeChat user are free again."""
        add_account(store)
        bind(store, unionid="uOne")
        ended = store.write(lambda tx: delete_binding(tx, APP, OPENID))
        assert ended == BindingRecord(APP, OPENID, "local", "1", "uOne", NOW, None, None)
        assert store.write(lambda tx: delete_binding(tx, APP, OPENID)) is None
        assert bind(store, "oTwo")

    def test_bindings_are_listed_newest_first(self, store: Store) -> None:
        """Ties by openid, up to the limit."""
        add_account(store)
        for openid, bound_at in (("oC", 1), ("oB", 2), ("oA", 2), ("oD", 0)):
            bind(store, openid, exclusive=False, now_ms=bound_at)

        def listed(limit: int) -> list[str]:
            return [b.openid for b in store.read(lambda tx: list_bindings(tx, limit=limit))]

        assert listed(99) == ["oA", "oB", "oC", "oD"]
        assert listed(2) == ["oA", "oB"]

    # --- Reading sessions ---------------------------------------------------

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 31, 33, READ_AT_ONCE - 1, READ_AT_ONCE])
    def test_sessions_are_read_together(self, store: Store, count: int) -> None:
        """As many as asked for, those never issued left out."""
        add_account(store)
        issued = [start(store, number) for number in range(count - count // 3)]
        unknown = [digest(("never", number)) for number in range(count // 3)]
        found = store.read_sessions([*unknown, *issued])
        assert found.keys() == set(issued)
        assert all(record.digest == key for key, record in found.items())
        assert found == {key: session_of(store, key) for key in issued}

    def test_no_session_is_read(self, store: Store) -> None:
        """Nothing asked for, nothing found."""
        assert dict(store.read_sessions([])) == {}

    def test_a_session_asked_for_twice_is_found_once(self, store: Store) -> None:
        """Many callers may wait for the same session."""
        add_account(store)
        one, two = start(store, 1), start(store, 2)
        assert store.read_sessions([one, two, one]).keys() == {one, two}
        assert store.read_sessions([one] * READ_AT_ONCE).keys() == {one}

    def test_only_unknown_sessions(self, store: Store) -> None:
        """A digest is compared whole: no prefix, nothing longer, not even empty."""
        add_account(store)
        one = start(store, 1)
        assert dict(store.read_sessions([one[:31], one + b"\0", b"", one.hex().encode()])) == {}

    def test_a_session_comes_with_what_a_validation_answers(self, store: Store) -> None:
        """Account and WeChat user, which the row holds copies of."""
        add_account(store, username="zhangsan", display_name="张三")
        session = start(store, "handle", username="zhangsan", display_name="张三", unionid="uOne")
        expected = SessionRecord(
            digest=session,
            handle="handle",
            app_id=APP,
            openid=OPENID,
            login_at=NOW,
            last_seen_at=NOW,
            ended_at=None,
            ended_cause=None,
            account_source="local",
            account_id="1",
            username="zhangsan",
            display_name="张三",
            unionid="uOne",
        )
        assert store.read_sessions([session]) == {session: expected}
        assert session_of(store, session) == expected

    def test_a_dead_session_is_read_with_its_cause(self, store: Store) -> None:
        """Also when its binding has gone, and without names where there are none."""
        add_account(store)
        bind(store, unionid="uOne")
        session = start(store, "a")
        store.write(lambda tx: end_session(tx, session, Cause.UNBOUND, now_ms=NOW + 1))
        store.write(lambda tx: delete_binding(tx, APP, OPENID))
        record = store.read_sessions([session])[session]
        assert (record.ended_at, record.ended_cause) == (NOW + 1, "UNBOUND")
        assert (record.username, record.display_name, record.unionid) == (None, None, None)

    def test_a_unionid_reaches_the_live_sessions_of_its_user(self, store: Store) -> None:
        """Of this app only: the same openid in two apps are two users (row 26)."""
        add_account(store)
        live, other_user = start(store, 1), start(store, 2, openid="oOther")
        other_app, dead = start(store, 3, app_id=OTHER_APP), start(store, 4)
        store.write(lambda tx: end_session(tx, dead, Cause.LOGOUT, now_ms=NOW + 1))
        store.write(lambda tx: update_unionid(tx, APP, OPENID, "uOne"))
        found = store.read_sessions([live, other_user, other_app, dead])
        unionids = [found[key].unionid for key in (live, other_user, other_app, dead)]
        assert unionids == ["uOne", None, None, None]

    @pytest.mark.parametrize("text", AWKWARD_TEXTS)
    def test_texts_come_back_as_they_are(self, store: Store, text: str) -> None:
        """Whatever a name holds, in every way that it is read."""
        add_account(store, text, username=text, display_name=text)
        session = start(
            store,
            text,
            openid=text,
            account=("local", text),
            app_id=text,
            username=text,
            display_name=text,
            unionid=text,
        )
        record = store.read_sessions([session])[session]
        assert record == session_of(store, session)
        assert record[1:4] == (text, text, text)
        assert record[9:] == (text, text, text, text)

    @pytest.mark.parametrize("value", [0, 1, 2**31, 2**53 + 1, LARGEST, -LARGEST - 1])
    def test_integers_come_back_exactly(self, store: Store, value: int) -> None:
        """All of 64 bits, no rounding through a floating-point number."""
        add_account(store, now_ms=value)
        session = start(store, "a", now_ms=value)
        record = store.read_sessions([session])[session]
        assert (record.login_at, record.last_seen_at) == (value, value)
        assert account_of(store).created_at == value

    @pytest.mark.parametrize("key", [b"\0" * 32, b"\xff" * 32, bytes(range(32)), b"'\"\\%_" * 6])
    def test_digests_are_bytes(self, store: Store, key: bytes) -> None:
        """No byte of a digest means anything."""
        add_account(store)
        store.write(
            lambda tx: insert_session(
                tx,
                SessionRecord.beginning(
                    digest=key,
                    handle="h",
                    app_id=APP,
                    openid=OPENID,
                    account=ACCOUNT,
                    now_ms=NOW,
                ),
                client_address="192.0.2.1",
            )
        )
        assert store.read_sessions([key, b"\1" * 32]).keys() == {key}

    def test_sessions_are_listed_newest_login_first(self, store: Store) -> None:
        """Live and dead, ties by handle, up to the limit."""
        add_account(store)
        for name, login_at in (("c", 1), ("b", 2), ("a", 2), ("d", 0)):
            start(store, name, now_ms=login_at)
        store.write(lambda tx: end_session(tx, digest("c"), Cause.LOGOUT, now_ms=NOW))

        def listed(limit: int) -> list[str]:
            return [s.handle for s in store.read(lambda tx: list_sessions(tx, limit=limit))]

        assert listed(99) == ["a", "b", "c", "d"]
        assert listed(2) == ["a", "b"]

    # --- Ending sessions ----------------------------------------------------

    def test_a_session_ends_once(self, store: Store) -> None:
        """The first cause and time stay; what was never issued does not end."""
        add_account(store)
        session, bystander = start(store, "a"), start(store, "b")

        def end(key: bytes, cause: Cause, now_ms: int) -> bool:
            return store.write(lambda tx: end_session(tx, key, cause, now_ms=now_ms))

        assert end(session, Cause.LOGOUT, NOW + 1)
        assert not end(session, Cause.UNBOUND, NOW + 2)
        assert not end(digest("never"), Cause.LOGOUT, NOW)
        assert session_of(store, session)[6:8] == (NOW + 1, "LOGOUT")
        assert session_of(store, bystander).ended_at is None

    def test_the_oldest_logins_beyond_the_limit_end(self, store: Store) -> None:
        """Oldest first, by login and not by use; their handles come back."""
        add_account(store)
        sessions = [start(store, number, now_ms=NOW + number) for number in range(5)]
        touch(store, (sessions[0], NOW + 50, IDLE_MS))
        assert surplus(store, sessions[4], keep=5, now_ms=NOW + 60) == set()
        assert surplus(store, sessions[4], keep=3, now_ms=NOW + 60) == {"0", "1"}
        assert [session_of(store, key)[6:8] for key in sessions] == (
            [(NOW + 60, "REPLACED")] * 2 + [(None, None)] * 3
        )
        assert surplus(store, sessions[4], keep=3, now_ms=NOW + 60) == set()

    @pytest.mark.parametrize("newest", range(4))
    def test_the_new_session_stays_among_logins_of_one_moment(
        self, store: Store, newest: int
    ) -> None:
        """A tie, or a clock that went back, never ends the login that is being answered."""
        add_account(store)
        sessions = [start(store, number) for number in range(4)]
        touch(store, *((key, NOW + 5, IDLE_MS) for key in sessions))
        later = start(store, "later", now_ms=NOW + 10)
        ended = surplus(store, sessions[newest], keep=2, now_ms=NOW + 10)
        assert len(ended) == 3
        live = [key for key in [*sessions, later] if session_of(store, key).ended_at is None]
        assert set(live) == {sessions[newest], later}

    def test_only_live_sessions_count(self, store: Store) -> None:
        """Expired ones, to the millisecond, and ended ones take no place and get no cause."""
        add_account(store)
        now = NOW + ABSOLUTE_MS
        idle = start(store, "idle", now_ms=now - IDLE_MS)
        absolute = start(store, "absolute", now_ms=now - ABSOLUTE_MS)
        self._keep_in_use(store, absolute, NOW, now - 1)
        ended = start(store, "ended", now_ms=now - 1)
        store.write(lambda tx: end_session(tx, ended, Cause.LOGOUT, now_ms=now - 1))
        start(store, "nearly idle", now_ms=now - IDLE_MS + 1)
        nearly_absolute = start(store, "nearly absolute", now_ms=now - ABSOLUTE_MS + 1)
        self._keep_in_use(store, nearly_absolute, NOW + 1, now - 1)
        newest = start(store, "newest", now_ms=now)
        assert surplus(store, newest, keep=3, now_ms=now) == set()
        assert surplus(store, newest, keep=2, now_ms=now) == {"nearly absolute"}
        assert surplus(store, newest, keep=1, now_ms=now) == {"nearly idle"}
        assert session_of(store, idle).ended_at is None
        assert session_of(store, absolute).ended_at is None
        assert session_of(store, ended).ended_cause == "LOGOUT"

    @staticmethod
    def _keep_in_use(store: Store, session: bytes, login_ms: int, until_ms: int) -> None:
        for seen_at in [*range(login_ms + 1, until_ms, IDLE_MS - 1), until_ms]:
            touch(store, (session, seen_at, IDLE_MS))
        assert session_of(store, session).last_seen_at == until_ms

    def test_other_users_have_a_limit_of_their_own(self, store: Store) -> None:
        """The limit is that of one WeChat user in one app."""
        add_account(store)
        start(store, "other openid", openid="oTwo")
        start(store, "other app", app_id=OTHER_APP)
        newest = start(store, "newest", now_ms=NOW + 1)
        assert surplus(store, newest, keep=1, now_ms=NOW + 1) == set()

    def test_all_sessions_of_a_wechat_user_end(self, store: Store) -> None:
        """Only the live ones count; those past a limit are ended too, others are left alone."""
        add_account(store, "1")
        add_account(store, "2")
        now = NOW + IDLE_MS
        expired = start(store, "expired", now_ms=NOW)
        just_live = start(store, "just live", now_ms=NOW + 1)
        # The former account's: sessions belong to the WeChat user.
        former = start(store, "former", now_ms=now, account=("local", "2"))
        logged_out = start(store, "logged out", now_ms=now)
        store.write(lambda tx: end_session(tx, logged_out, Cause.LOGOUT, now_ms=now))
        others = [
            start(store, "other openid", openid="oTwo", now_ms=now),
            start(store, "other app", app_id=OTHER_APP, now_ms=now),
        ]

        def end() -> list[SessionRecord]:
            return store.write(
                lambda tx: end_sessions_of_wechat_user(
                    tx,
                    APP,
                    OPENID,
                    Cause.UNBOUND,
                    now_ms=now,
                )
            )

        assert {session.handle for session in end()} == {"expired", "just live", "former"}
        assert end() == []
        for key in (expired, just_live, former):
            assert session_of(store, key)[6:8] == (now, "UNBOUND")
        assert session_of(store, logged_out).ended_cause == "LOGOUT"
        assert [session_of(store, key).ended_at for key in others] == [None, None]

    def test_all_sessions_of_an_account_end(self, store: Store) -> None:
        """In all apps and of all WeChat users; others' stay."""
        add_account(store, "1")
        add_account(store, "1", source="http")
        mine = [
            start(store, 1),
            start(store, 2, openid="oTwo"),
            start(store, 3, app_id=OTHER_APP),
        ]
        store.write(lambda tx: end_session(tx, mine[0], Cause.LOGOUT, now_ms=NOW))
        theirs = start(store, 4, account=("http", "1"))

        def end() -> int:
            return store.write(
                lambda tx: end_sessions_of_account(
                    tx, ACCOUNT, Cause.PASSWORD_CHANGED, now_ms=NOW + 1
                )
            )

        assert [end(), end()] == [2, 0]
        assert [session_of(store, key)[6:8] for key in mine] == [
            (NOW, "LOGOUT"),
            (NOW + 1, "PASSWORD_CHANGED"),
            (NOW + 1, "PASSWORD_CHANGED"),
        ]
        assert session_of(store, theirs).ended_at is None

    # --- Use of sessions ----------------------------------------------------

    def test_use_moves_last_seen_forward_only(self, store: Store) -> None:
        """Never back, and nothing else of the row changes."""
        add_account(store)
        session = start(store, "a")
        before = session_of(store, session)
        for seen_at, expected in ((5, 5), (3, 5), (5, 5), (6, 6), (-1, 6)):
            touch(store, (session, NOW + seen_at, IDLE_MS))
            assert session_of(store, session) == before._replace(last_seen_at=NOW + expected)

    def test_use_never_revives_an_expired_session(self, store: Store) -> None:
        """To the millisecond: at the end of the idle limit it is over."""
        add_account(store)
        late, in_time = start(store, "late"), start(store, "in time")
        touch(store, (late, NOW + IDLE_MS, IDLE_MS), (in_time, NOW + IDLE_MS - 1, IDLE_MS))
        assert session_of(store, late).last_seen_at == NOW
        assert session_of(store, in_time).last_seen_at == NOW + IDLE_MS - 1

    def test_use_never_changes_an_ended_session(self, store: Store) -> None:
        """A write that comes after the end finds nothing to do."""
        add_account(store)
        session = start(store, "a")
        store.write(lambda tx: end_session(tx, session, Cause.LOGOUT, now_ms=NOW + 1))
        before = session_of(store, session)
        touch(store, (session, NOW + 2, IDLE_MS), (digest("never"), NOW + 2, IDLE_MS))
        assert session_of(store, session) == before

    # --- The audit log ------------------------------------------------------

    def test_events_are_kept_in_their_order(self, store: Store) -> None:
        """Every column, and nulls where nothing is known."""

        def work(tx: Transaction) -> None:
            record_event(
                tx,
                Event.LOGIN_REFUSED,
                now_ms=NOW,
                reason="CREDENTIALS_INVALID",
                app_id=APP,
                openid=OPENID,
                account=ACCOUNT,
                session_handle="handle",
                client_address="192.0.2.1",
            )
            record_event(tx, Event.LOGOUT, now_ms=NOW - 1, client_address="")

        store.write(work)
        store.write(lambda tx: record_event(tx, Event.BOUND, now_ms=NOW - 2))

        def events(tx: Transaction) -> Sequence[tuple[object, ...]]:
            return tx.execute(
                """
                SELECT at, event, reason, app_id, openid, account_source, account_id,
                  session_handle, client_address FROM audit_events ORDER BY id
                """
            )

        assert [tuple(row) for row in store.read(events)] == [
            (
                NOW,
                "LOGIN_REFUSED",
                "CREDENTIALS_INVALID",
                APP,
                OPENID,
                "local",
                "1",
                "handle",
                "192.0.2.1",
            ),
            (NOW - 1, "LOGOUT", *[None] * 7),
            (NOW - 2, "BOUND", *[None] * 7),
        ]

    @pytest.mark.parametrize("event", Event)
    def test_every_event_can_be_recorded(self, store: Store, event: Event) -> None:
        """No constraint of an engine knows fewer of them than the code."""
        store.write(lambda tx: record_event(tx, event, now_ms=NOW))
        [(name,)] = store.read(lambda tx: tx.execute("SELECT event FROM audit_events"))
        assert name == event.value
