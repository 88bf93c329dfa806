"""Reading the audit log in SQLite: by index where there is one, and a little at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.audit_log import LOOKED_AT, AuditFilter, list_events
from wxauth_server.store.interface import Row, Transaction
from wxauth_server.store.sqlite import SQLiteStore

NOW = 1_790_000_000_000
APP = "wx0000000000000001"
OPENID = "oOne"
ACCOUNT = ("local", "7")
CALLER = "ops-laptop"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQLiteStore]:
    """Three times the events of a page without index; one in a thousand by CALLER on ACCOUNT."""
    opened = SQLiteStore(tmp_path_factory.mktemp("audit") / "data")

    def fill(tx: Transaction) -> None:
        for number in range(3 * LOOKED_AT):
            record_event(
                tx,
                Event.LOGIN,
                now_ms=NOW + number,
                app_id=APP,
                openid=OPENID if number % 1000 == 0 else f"o{number % 1000}",
                account=ACCOUNT if number % 1000 == 0 else ("local", f"a{number % 1000}"),
                caller=CALLER if number % 1000 == 0 else None,
            )

    opened.write(fill)
    yield opened
    opened.close()


class Explained:
    """Runs statements, and keeps how SQLite finds their rows."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.plans: list[str] = []
        self.revocations = tx.revocations

    def execute(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Row]:
        given = parameters or {}
        steps = self._tx.execute(f"EXPLAIN QUERY PLAN {sql}", given)
        self.plans.append("; ".join(step[3] for step in steps))
        return self._tx.execute(sql, given)


def plan(store: SQLiteStore, *, oldest_first: bool, **wanted: Any) -> str:
    """How the events are found."""

    def work(tx: Transaction) -> str:
        explained = Explained(tx)
        list_events(explained, AuditFilter(**wanted), oldest_first=oldest_first, limit=101)
        return explained.plans[-1]

    return store.read(work)


@pytest.mark.parametrize("oldest_first", [True, False])
@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({"account": ACCOUNT}, "INDEX audit_events_of_an_account"),
        ({"account": ACCOUNT, "events": ("LOGIN",), "since_ms": 1}, "INDEX audit_events_of_an_acc"),
        ({"app_id": APP, "openid": OPENID}, "INDEX audit_events_of_a_wechat_user"),
        ({"app_id": APP, "openid": OPENID, "until_ms": 1}, "INDEX audit_events_of_a_wechat_user"),
        ({"caller": CALLER}, "INDEX audit_events_of_a_caller"),
        ({"caller": CALLER, "events": ("LOGIN",)}, "INDEX audit_events_of_a_caller"),
        ({}, "INTEGER PRIMARY KEY"),
        ({"events": ("BOUND",), "app_id": APP}, "INTEGER PRIMARY KEY"),
    ],
)
def test_events_are_found_by_index(
    store: SQLiteStore, wanted: dict[str, Any], index: str, oldest_first: bool
) -> None:
    """And come in their order from it: nothing is sorted."""
    found = plan(store, oldest_first=oldest_first, **wanted)
    assert f"SEARCH audit_events USING {index}" in found
    assert "SCAN" not in found
    assert "TEMP B-TREE" not in found


@pytest.mark.parametrize("oldest_first", [True, False])
def test_a_page_looks_at_so_many_rows(store: SQLiteStore, oldest_first: bool) -> None:
    """Where no index helps: nothing found is no reason to read a log of years at once."""

    def page(beyond: int | None) -> int | None:
        found = store.read(
            lambda tx: list_events(
                tx,
                AuditFilter(events=("BOUND",)),
                oldest_first=oldest_first,
                limit=100,
                beyond=beyond,
            )
        )
        assert found.events == []
        return found.next

    expected = [LOOKED_AT, 2 * LOOKED_AT] if oldest_first else [2 * LOOKED_AT + 1, LOOKED_AT + 1]
    reached: list[int | None] = [page(None)]
    while reached[-1] is not None:
        reached.append(page(reached[-1]))
    assert reached == [*expected, None]


@pytest.mark.parametrize("wanted", [{"account": ACCOUNT}, {"caller": CALLER}], ids=str)
def test_what_an_index_finds_is_one_page_however_long_the_log(
    store: SQLiteStore, wanted: dict[str, Any]
) -> None:
    found = store.read(
        lambda tx: list_events(tx, AuditFilter(**wanted), oldest_first=True, limit=500)
    )
    assert (len(found.events), found.next) == (3 * LOOKED_AT // 1000, None)
