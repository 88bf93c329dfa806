"""Keys and the rows that need them: opening a store, sealing anew, retiring."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.canary import CANARY
from tests.running_server import TEST_COST
from wxauth_server import key_rotation
from wxauth_server.accounts.passwords import PasswordHasher, take_over
from wxauth_server.config import load_configuration
from wxauth_server.key_rotation import StillNeeded, count_rows, release
from wxauth_server.keyring import (
    Key,
    KeyRing,
    KeyRingUnusable,
    Purpose,
    State,
    changing_keyring,
    create_keyring,
    load_keyring,
)
from wxauth_server.sealing import Content, Sealed, Sealer
from wxauth_server.store.interface import Transaction
from wxauth_server.store.keys import (
    SealedRow,
    note_key_in_use,
    noted_keys,
    replace_sealed,
    sealed_bindings,
    sealed_exchanges,
)
from wxauth_server.store.opening import open_store
from wxauth_server.store.sqlite import SQLiteStore

APP, OTHER_APP = "wx0000000000000001", "wx0000000000000002"
FOREIGN = "$2b$04$" + "." * 53


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keyring.json"


@pytest.fixture
def ring(path: Path) -> KeyRing:
    """The ring before the rotation."""
    return create_keyring(path)


@pytest.fixture
def store(path: Path, ring: KeyRing) -> Iterator[SQLiteStore]:
    """A database that was in use with `ring`."""
    del ring
    opened = opened_with(path)
    yield opened
    opened.close()


def opened_with(path: Path) -> SQLiteStore:
    """The database, as a server opens it with the ring of the file."""
    store, _ = open_store(load_configuration(store={"directory": path.parent}))
    assert isinstance(store, SQLiteStore)
    return store


def rotated(path: Path, purpose: Purpose = Purpose.SEAL) -> tuple[Key, KeyRing]:
    """A new key was added, activated, and taken into use; the former key and the ring."""
    with changing_keyring(path) as file:
        former = file.ring.active(purpose)
        file.replace(file.ring.with_key(Key.create(purpose, State.ACTIVE)))
    opened_with(path).close()
    return replace(former, state=State.OLD), load_keyring(path)


def session_key(number: int) -> str:
    return CANARY.keep(base64.b64encode(number.to_bytes(16, "big")).decode())


def sealed_for(keyring: KeyRing, number: int, *, app_id: str = APP) -> Sealed:
    return Sealer(keyring).seal(
        Content.SESSION_KEY, app_id=app_id, openid=f"o{number}", plaintext=session_key(number)
    )


def bind(tx: Transaction, number: int, sealed: Sealed | None, *, app_id: str = APP) -> None:
    """A WeChat user with a session_key, and an account of its own."""
    tx.execute(
        "INSERT INTO accounts (source, id, password_version, created_at)"
        " VALUES ('local', :id, 1, 1) ON CONFLICT DO NOTHING",
        {"id": str(number)},
    )
    tx.execute(
        """
        INSERT INTO bindings (app_id, openid, account_source, account_id, exclusive, bound_at,
          session_key, session_key_id)
        VALUES (:app_id, :openid, 'local', :id, 1, 1, :ciphertext, :key_id)
        """,
        {
            "app_id": app_id,
            "openid": f"o{number}",
            "id": str(number),
            "ciphertext": sealed.ciphertext if sealed else None,
            "key_id": sealed.key_id if sealed else None,
        },
    )


def exchange(tx: Transaction, number: int, sealed: Sealed | None) -> None:
    tx.execute(
        """
        INSERT INTO exchanges (app_id, code_digest, openid, session_key, session_key_id, salt,
          exchanged_at, settled)
        VALUES (:app_id, :digest, :openid, :ciphertext, :key_id, :salt, 1, :settled)
        """,
        {
            "app_id": APP,
            "digest": number.to_bytes(32, "big"),
            "openid": f"o{number}",
            "ciphertext": sealed.ciphertext if sealed else None,
            "key_id": sealed.key_id if sealed else None,
            "salt": bytes(32),
            "settled": None if sealed else "OK",
        },
    )


def account(tx: Transaction, account_id: str, password: str | None) -> None:
    tx.execute(
        "INSERT INTO accounts (source, id, password, password_version, created_at)"
        " VALUES ('local', :id, :password, 1, 1)",
        {"id": account_id, "password": password},
    )


def stored(store: SQLiteStore, table: str = "bindings") -> dict[tuple[str, str], Sealed]:
    """What is sealed in a table, by (app_id, openid)."""
    rows = store.read(
        lambda tx: tx.execute(
            f"SELECT app_id, openid, session_key_id, session_key FROM {table}"
            " WHERE session_key IS NOT NULL"
        )
    )
    return {(app_id, openid): Sealed(*sealed) for app_id, openid, *sealed in rows}


def retire(store: SQLiteStore, keyring: KeyRing, key: Key) -> tuple[int, int, list[int]]:
    """How many were sealed anew and erased, and what the progress said."""
    said: list[int] = []
    done = release(store, keyring, key, progress=said.append)
    return done.sealed, done.erased, said


def store_newer(tx: Transaction, *, openid: str, sealed: Sealed) -> None:
    """As a login does."""
    tx.execute(
        "UPDATE bindings SET session_key_id = :key_id, session_key = :ciphertext"
        " WHERE openid = :openid",
        sealed._asdict() | {"openid": openid},
    )


def after_the_listing(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen each time that bindings were read to be sealed anew."""

    def listing(
        tx: Transaction, key_id: str, *, after: SealedRow | None, limit: int
    ) -> list[SealedRow]:
        rows = sealed_bindings(tx, key_id, after=after, limit=limit)
        happens()
        return rows

    monkeypatch.setattr(key_rotation, "sealed_bindings", listing)


# --- Opening ------------------------------------------------------------------


def test_the_first_opening_notes_the_keys_that_rows_will_need(
    store: SQLiteStore, ring: KeyRing
) -> None:
    pepper, seal = ring.active(Purpose.PEPPER), ring.active(Purpose.SEAL)
    assert store.read(noted_keys) == [
        ("pepper", pepper.id, pepper.check_value),
        ("seal", seal.id, seal.check_value),
    ]


def test_the_second_opening_writes_nothing(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del store
    monkeypatch.delattr(SQLiteStore, "write")
    opened_with(path).close()


def test_check_values_from_before_are_filled_in(store: SQLiteStore, path: Path) -> None:
    before = store.read(noted_keys)
    store.write(lambda tx: tx.execute("UPDATE keys_in_use SET check_value = NULL"))
    opened_with(path).close()
    assert store.read(noted_keys) == before


def test_a_check_value_is_filled_in_once(store: SQLiteStore) -> None:
    store.write(lambda tx: note_key_in_use(tx, "seal", "x"))
    store.write(lambda tx: note_key_in_use(tx, "seal", "x", check_value=b"first"))
    store.write(lambda tx: note_key_in_use(tx, "seal", "x", check_value=b"second"))
    store.write(lambda tx: note_key_in_use(tx, "seal", "x"))
    assert ("seal", "x", b"first") in store.read(noted_keys)


@pytest.mark.parametrize("purpose", [Purpose.PEPPER, Purpose.SEAL])
def test_another_secret_of_the_same_id_is_refused(
    store: SQLiteStore, path: Path, ring: KeyRing, purpose: Purpose
) -> None:
    del store
    right = ring.active(purpose)
    wrong = replace(Key.create(purpose, State.ACTIVE), id=right.id)
    with changing_keyring(path) as file:
        file.replace(file.ring.without(right).with_key(wrong))
    with pytest.raises(KeyRingUnusable, match=f"{purpose} key {right.id} .*another secret"):
        opened_with(path)
    with changing_keyring(path) as file:
        file.replace(ring)
    opened_with(path).close()


@pytest.mark.parametrize("purpose", [Purpose.PEPPER, Purpose.SEAL])
def test_a_ring_without_a_key_that_was_in_use_is_refused(
    store: SQLiteStore, path: Path, ring: KeyRing, purpose: Purpose
) -> None:
    del store
    lost = ring.active(purpose)
    with changing_keyring(path) as file:
        file.replace(file.ring.without(lost).with_key(Key.create(purpose, State.ACTIVE)))
    with pytest.raises(KeyRingUnusable, match=f"{purpose} key {lost.id}, which the key ring lacks"):
        opened_with(path)


def test_a_ring_without_a_seal_key_is_refused_before_there_is_a_database(path: Path) -> None:
    ring = create_keyring(path)
    with changing_keyring(path) as file:
        file.replace(ring.without(ring.active(Purpose.SEAL)))
    with pytest.raises(KeyRingUnusable, match=f"{path}: .*wxauth keys add seal --activate"):
        opened_with(path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


# --- Counting -----------------------------------------------------------------


def test_passwords_are_counted_by_the_exact_pepper(store: SQLiteStore, ring: KeyRing) -> None:
    """An id may hold what LIKE takes for a wildcard, or look like a part of a hash."""
    hasher = PasswordHasher(ring, cost=TEST_COST)
    active = ring.active(Purpose.PEPPER).id

    def write(tx: Transaction) -> None:
        account(tx, "1", hasher.hash("a good password"))
        account(tx, "2", hasher.hash("another password"))
        account(tx, "3", take_over(FOREIGN))
        account(tx, "4", None)
        account(tx, "5", f"bcrypt-hmac-sha256$a_b${FOREIGN}")
        account(tx, "6", f"bcrypt-hmac-sha256$aXb${FOREIGN}")
        account(tx, "7", f"bcrypt-hmac-sha256$A_B${FOREIGN}")
        account(tx, "8", f"argon2-2027$a_b$a_b${FOREIGN}")

    store.write(write)

    def count(pepper_id: str) -> int:
        return store.read(lambda tx: count_rows(tx, Purpose.PEPPER, pepper_id))

    assert count(active) == 2
    assert count("a_b") == 2
    assert (count("aXb"), count("A_B"), count("a")) == (1, 1, 0)
    assert (count("2b"), count("04"), count("%"), count("")) == (0, 0, 0, 1)


def test_session_keys_are_counted_on_bindings_and_exchanges(
    store: SQLiteStore, ring: KeyRing
) -> None:
    def write(tx: Transaction) -> None:
        bind(tx, 1, sealed_for(ring, 1))
        bind(tx, 2, None)
        exchange(tx, 1, sealed_for(ring, 1))
        exchange(tx, 3, None)

    store.write(write)
    seal = ring.active(Purpose.SEAL).id
    assert store.read(lambda tx: count_rows(tx, Purpose.SEAL, seal)) == 2
    assert store.read(lambda tx: count_rows(tx, Purpose.SEAL, "seal")) == 0
    assert store.read(lambda tx: count_rows(tx, Purpose.DIGEST, seal)) == 0


def test_sealed_rows_come_in_order_and_each_once(store: SQLiteStore, ring: KeyRing) -> None:
    def write(tx: Transaction) -> None:
        for number in range(10):
            for app_id in (APP, OTHER_APP):
                bind(tx, number, sealed_for(ring, number, app_id=app_id), app_id=app_id)
            exchange(tx, number, sealed_for(ring, number))

    store.write(write)
    seal = ring.active(Purpose.SEAL).id
    for listing, expected in ((sealed_bindings, 20), (sealed_exchanges, 10)):
        found: list[SealedRow] = []
        while True:
            last = found[-1] if found else None
            page = store.read(partial(listing, key_id=seal, after=last, limit=3))
            if not page:
                break
            assert len(page) <= 3
            found += page
        assert len({(row.app_id, row.openid) for row in found}) == len(found) == expected
        order = [(row.app_id, row.code_digest or row.openid.encode()) for row in found]
        assert order == sorted(order)


# --- Sealing anew -------------------------------------------------------------


def test_what_a_retired_key_protected_opens_with_the_active_one(
    store: SQLiteStore, path: Path, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_rotation, "BATCH", 4)

    def write(tx: Transaction) -> None:
        for number in range(10):
            bind(tx, number, sealed_for(ring, number))
            bind(tx, number, sealed_for(ring, number, app_id=OTHER_APP), app_id=OTHER_APP)
        bind(tx, 99, None)
        for number in range(5):
            exchange(tx, number, sealed_for(ring, number))
        exchange(tx, 99, None)

    store.write(write)
    former, new = rotated(path)
    before = Sealer(new)
    assert len(stored(store)) == 20

    assert retire(store, new, former) == (25, 0, [4, 4, 4, 4, 4, 4, 1])

    alone = Sealer(new.without(former))
    for table, count in (("bindings", 20), ("exchanges", 5)):
        rows = stored(store, table)
        assert len(rows) == count
        for (app_id, openid), sealed in rows.items():
            text = alone.open(Content.SESSION_KEY, app_id=app_id, openid=openid, sealed=sealed)
            assert text == session_key(int(openid[1:]))
            assert before.open(Content.SESSION_KEY, app_id=app_id, openid=openid, sealed=sealed), (
                "servers that have both keys open it too"
            )
    assert former.id not in {key.key_id for key in store.read(noted_keys)}
    assert retire(store, new, former) == (0, 0, []), "safe to repeat"


def test_a_newer_session_key_is_not_overwritten(
    store: SQLiteStore, path: Path, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login stores one between the reading and the writing of a batch."""
    store.write(lambda tx: bind(tx, 1, sealed_for(ring, 1)))
    store.write(lambda tx: bind(tx, 2, sealed_for(ring, 2)))
    former, new = rotated(path)
    newer = Sealer(new).seal(
        Content.SESSION_KEY, app_id=APP, openid="o1", plaintext=session_key(77)
    )

    def log_in() -> None:
        store.write(partial(store_newer, openid="o1", sealed=newer))

    after_the_listing(monkeypatch, log_in)
    sealed, erased, _ = retire(store, new, former)
    assert (sealed, erased) == (1, 0)
    assert stored(store)[APP, "o1"] == newer


def test_without_the_comparison_it_would_be(store: SQLiteStore, ring: KeyRing) -> None:
    """The control: the same write without what it compares takes the newer one away."""
    old, newer = sealed_for(ring, 1), sealed_for(ring, 1)
    store.write(lambda tx: bind(tx, 1, newer))
    row = SealedRow(APP, "o1", None, old.ciphertext)
    assert not store.write(lambda tx: replace_sealed(tx, row, old.key_id, new=("k", b"c")))
    assert stored(store)[APP, "o1"] == newer
    row = row._replace(ciphertext=newer.ciphertext)
    assert not store.write(lambda tx: replace_sealed(tx, row, "another key", new=("k", b"c")))
    assert store.write(lambda tx: replace_sealed(tx, row, old.key_id, new=("k", b"c")))
    assert stored(store)[APP, "o1"] == ("k", b"c")


def test_logins_go_on_while_a_key_is_retired(
    store: SQLiteStore, path: Path, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What opens in the end is what the last login of each user stored."""
    monkeypatch.setattr(key_rotation, "BATCH", 10)
    users = 300

    def write(tx: Transaction) -> None:
        for number in range(users):
            bind(tx, number, sealed_for(ring, number))

    store.write(write)
    former, new = rotated(path)
    sealer = Sealer(new)
    newest = {number: session_key(number) for number in range(users)}
    server = opened_with(path)
    begun = threading.Event()

    def log_everybody_in() -> None:
        # From the end on, so that the two meet.
        for number in reversed(range(0, users, 2)):
            newest[number] = session_key(users + number)
            openid = f"o{number}"
            sealed = sealer.seal(
                Content.SESSION_KEY, app_id=APP, openid=openid, plaintext=newest[number]
            )
            server.write(partial(store_newer, openid=openid, sealed=sealed))
            begun.set()

    with ThreadPoolExecutor(1) as thread:
        logins = thread.submit(log_everybody_in)
        assert begun.wait(10)
        sealed, erased, _ = retire(store, new, former)
        logins.result(30)
    server.close()
    assert erased == 0
    assert users // 2 <= sealed < users
    alone = Sealer(new.without(former))
    for (app_id, openid), value in stored(store).items():
        text = alone.open(Content.SESSION_KEY, app_id=app_id, openid=openid, sealed=value)
        assert text == newest[int(openid[1:])]


def test_a_retiring_that_was_interrupted_is_done_again(
    store: SQLiteStore, path: Path, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_rotation, "BATCH", 4)

    def write(tx: Transaction) -> None:
        for number in range(10):
            bind(tx, number, sealed_for(ring, number))

    store.write(write)
    former, new = rotated(path)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        release(store, new, former, progress=interrupt)
    ids = [sealed.key_id for sealed in stored(store).values()]
    assert (ids.count(former.id), len(ids)) == (6, 10)
    assert former.id in {key.key_id for key in store.read(noted_keys)}
    opened_with(path).close()
    assert retire(store, new, former)[:2] == (6, 0)


def test_a_binding_that_ended_meanwhile_stays_ended(
    store: SQLiteStore, path: Path, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(lambda tx: bind(tx, 1, sealed_for(ring, 1)))
    former, new = rotated(path)
    after_the_listing(
        monkeypatch, lambda: store.write(lambda tx: tx.execute("DELETE FROM bindings"))
    )
    assert retire(store, new, former)[:2] == (0, 0)
    assert stored(store) == {}


def test_what_does_not_open_is_erased_with_an_alarm(
    store: SQLiteStore, path: Path, ring: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody could have used it; it must not keep a key in the ring for ever."""
    seal = ring.active(Purpose.SEAL).id

    def write(tx: Transaction) -> None:
        bind(tx, 1, sealed_for(ring, 1))
        bind(tx, 2, Sealed(seal, bytes(60)))
        bind(tx, 3, sealed_for(ring, 4))  # moved here from another user
        bind(tx, 5, None)
        tx.execute("UPDATE bindings SET session_key_id = :id WHERE openid = 'o5'", {"id": seal})
        bind(tx, 6, Sealed(seal, b"x" * 60))
        tx.execute(
            "UPDATE bindings SET session_key = CAST(session_key AS TEXT) WHERE openid = 'o6'"
        )

    store.write(write)
    former, new = rotated(path)
    assert retire(store, new, former)[:2] == (1, 4)
    assert list(stored(store)) == [(APP, "o1")]
    assert [record.getMessage() for record in caplog.records] == ["sealed value does not open"] * 4


def test_a_server_with_the_former_ring_is_noticed(
    store: SQLiteStore, path: Path, ring: KeyRing
) -> None:
    """It stores a session_key behind the back of the listing, which has passed there."""
    store.write(lambda tx: bind(tx, 5, sealed_for(ring, 5)))
    former, new = rotated(path)

    def behind(_: int) -> None:
        store.write(lambda tx: bind(tx, 1, sealed_for(ring, 1)))

    with pytest.raises(StillNeeded, match=r"1 session_key came to need .*restart it"):
        release(store, new, former, progress=behind)
    assert former.id in {key.key_id for key in store.read(noted_keys)}
    assert retire(store, new, former)[:2] == (1, 0)


# --- What is refused ----------------------------------------------------------


@pytest.mark.parametrize("purpose", list(Purpose))
def test_an_active_key_is_not_retired(store: SQLiteStore, ring: KeyRing, purpose: Purpose) -> None:
    with pytest.raises(StillNeeded, match=f"is the active {purpose} key"):
        retire(store, ring, ring.active(purpose))


def test_a_pepper_is_not_retired_while_passwords_need_it(
    store: SQLiteStore, path: Path, ring: KeyRing
) -> None:
    before = PasswordHasher(ring, cost=TEST_COST)

    def write(tx: Transaction) -> None:
        account(tx, "1", before.hash("a good password"))
        account(tx, "2", before.hash("another password"))

    store.write(write)
    former, new = rotated(path, Purpose.PEPPER)
    with pytest.raises(StillNeeded, match=f"passwords of 2 accounts need {former.id}.*logs in"):
        retire(store, new, former)

    after = PasswordHasher(new, cost=TEST_COST).hash("a good password")
    store.write(lambda tx: tx.execute("UPDATE accounts SET password = :p", {"p": after}))
    assert retire(store, new, former) == (0, 0, [])
    assert former.id not in {key.key_id for key in store.read(noted_keys)}


@pytest.mark.parametrize("purpose", [Purpose.PEPPER, Purpose.SEAL])
def test_a_key_is_not_retired_before_its_successor_was_in_use(
    store: SQLiteStore, ring: KeyRing, purpose: Purpose
) -> None:
    """A server still runs with the former ring, or this is another database."""
    former = ring.active(purpose)
    new = ring.with_key(Key.create(purpose, State.ACTIVE))
    with pytest.raises(StillNeeded, match="restart it first"):
        retire(store, new, replace(former, state=State.OLD))


def test_a_digest_key_is_retired_since_nothing_uses_it(store: SQLiteStore, ring: KeyRing) -> None:
    former = replace(ring.active(Purpose.DIGEST), state=State.OLD)
    new = ring.with_key(Key.create(Purpose.DIGEST, State.ACTIVE))
    assert retire(store, new, former) == (0, 0, [])


def test_a_ring_that_is_not_the_one_of_the_database_retires_nothing(
    store: SQLiteStore, path: Path, ring: KeyRing
) -> None:
    """With a wrong secret nothing opens, and everything would be erased."""
    store.write(lambda tx: bind(tx, 1, sealed_for(ring, 1)))
    former, new = rotated(path)
    wrong = replace(Key.create(Purpose.SEAL, State.OLD), id=former.id)
    keys = [wrong if key.id == former.id else key for key in new]
    with pytest.raises(KeyRingUnusable, match="another secret"):
        retire(store, KeyRing(keys), wrong)
    assert len(stored(store)) == 1
