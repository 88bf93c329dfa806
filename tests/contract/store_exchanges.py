"""What a store keeps of exchanges: what WeChat said about a code, and what came of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.store_rows import APP, NOW, OPENID, OTHER_APP, digest
from wxauth_server.store.exchanges import (
    ExchangeRecord,
    find_exchange,
    forget_exchanges,
    insert_exchange,
    settle_exchange,
)
from wxauth_server.store.interface import Store


def exchange(code: object = "code", **changes: object) -> ExchangeRecord:
    """One that goes on, with everything that may be there."""
    return ExchangeRecord(
        app_id=APP,
        code_digest=digest(code),
        request_digest=digest("request"),
        openid=OPENID,
        unionid="uOne",
        session_key=b"\0sealed\xff",
        session_key_id="seal-1",
        salt=bytes(range(32)),
        exchanged_at=NOW,
        settled=None,
    )._replace(**changes)  # type: ignore[arg-type]


def insert(store: Store, record: ExchangeRecord) -> bool:
    return store.write(lambda tx: insert_exchange(tx, record))


def settle(store: Store, code: object, settled: str, app_id: str = APP) -> bool:
    return store.write(lambda tx: settle_exchange(tx, app_id, digest(code), settled))


def found(store: Store, code: object = "code", app_id: str = APP) -> ExchangeRecord | None:
    return store.read(lambda tx: find_exchange(tx, app_id, digest(code)))


class ExchangePromises:
    """What a store keeps of exchanges."""

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"request_digest": None, "unionid": None},
            {"settled": "LOGGED_IN", "session_key": None, "session_key_id": None},
        ],
    )
    def test_an_exchange_comes_back_as_it_was(
        self, store: Store, changes: dict[str, object]
    ) -> None:
        """Every column, for its app and code only."""
        record = exchange(**changes)
        assert insert(store, record)
        assert found(store) == record
        assert found(store, "other") is None
        assert found(store, app_id=OTHER_APP) is None

    def test_a_code_has_one_exchange(self, store: Store) -> None:
        """The first stays as it is, whatever the second says; in another app it is another."""
        assert insert(store, exchange())
        assert not insert(store, exchange(openid="oTwo", salt=bytes(32), settled="LOGGED_IN"))
        assert found(store) == exchange()
        assert insert(store, exchange(app_id=OTHER_APP))

    def test_one_of_many_exchanges_of_a_code_is_stored(self, store: Store, second: Store) -> None:
        """However many servers heard of the code at once."""
        threads = 8
        together = threading.Barrier(threads)

        def run(number: int) -> bool:
            together.wait(10)
            return insert((store, second)[number % 2], exchange(openid=f"o{number}"))

        with ThreadPoolExecutor(threads) as pool:
            outcomes = list(pool.map(run, range(threads)))
        assert sorted(outcomes) == [False] * (threads - 1) + [True]
        stored = found(store)
        assert stored is not None
        assert stored.openid == f"o{outcomes.index(True)}"

    def test_an_exchange_is_settled_once(self, store: Store) -> None:
        """What was said first stays; the session_key goes with it, nothing else does."""
        insert(store, exchange())
        insert(store, exchange("bystander"))
        assert settle(store, "code", "LOGGED_IN")
        assert not settle(store, "code", "CREDENTIALS_INVALID")
        assert found(store) == exchange(settled="LOGGED_IN", session_key=None, session_key_id=None)
        assert found(store, "bystander") == exchange("bystander")

    def test_what_is_not_there_is_not_settled(self, store: Store) -> None:
        insert(store, exchange())
        assert not settle(store, "other", "LOGGED_IN")
        assert not settle(store, "code", "LOGGED_IN", OTHER_APP)
        assert found(store) == exchange()

    def test_the_oldest_exchanges_are_forgotten(self, store: Store) -> None:
        """From before a time, oldest first, at most so many; settled or not."""
        for number in range(5):
            settled = "LOGGED_IN" if number % 2 else None
            insert(store, exchange(number, exchanged_at=NOW + number, settled=settled))

        def forget(before_ms: int, limit: int) -> int:
            return store.write(lambda tx: forget_exchanges(tx, before_ms=before_ms, limit=limit))

        def left() -> list[int]:
            return [number for number in range(5) if found(store, number) is not None]

        assert forget(NOW, 9) == 0
        assert forget(NOW + 4, 1) == 1
        assert left() == [1, 2, 3, 4]
        assert forget(NOW + 4, 9) == 3
        assert left() == [4]
        assert forget(NOW + 5, 9) == 1
        assert forget(NOW + 5, 9) == 0
