"""Copies, both ways: every row as it is, and what differs is found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings

from tests.contract.copied_databases import (
    Content,
    Unwatched,
    contents,
    in_postgresql,
    in_sqlite,
    new_sqlite,
    not_null,
    postgresql_end,
    run_in_postgresql,
    run_in_sqlite,
    sqlite_end,
)
from wxauth_server.store.copy_end import CopyEnd
from wxauth_server.store.copy_tables import COPIED, CopiedTable
from wxauth_server.store.copying import CopyDiffers, compare, copy_all
from wxauth_server.store.interface import Row
from wxauth_server.store.sqlite import SQLiteStore

T = TypeVar("T")

NewUrl = Callable[[], str]

#: A row in every table, some with what is easily lost on the way.
EXAMPLE: Content = {
    "accounts": [
        ("local", "1", "Zhāng\\N\t'%s\n", "k1", "", None, None, None, 2**63 - 1, -1, None, None, 0),
        ("local", "2", None, None, "🙂", "+86", 1, "$p$", 1, 2, 3, 4, 5),
    ],
    "bindings": [("wx1", "o1", "local", "1", 1, None, 7, bytes(range(256)), "k", 0)],
    "sessions": [
        (
            b"\x00\xff\\x",
            "h1",
            "wx1",
            "o1",
            "local",
            "1",
            *(None, "", "u"),
            *(1, 2, None, None),
            *("::1", "", None),
        ),
        (
            b"",
            "h2",
            "wx1",
            "o1",
            "local",
            "2",
            *(None, None, None),
            *(1, 2, 3, "LOGOUT"),
            *(None, None, None),
        ),
    ],
    "sessions_valid_after": [("", 1, 2, "ADMIN")],
    "exchanges": [("wx1", b"\0", None, "o1", None, b"", None, b"salt", 5, None)],
    "no_sibling": [("wx1", "o1")],
    "throttles": [(b"\xfe", "", "", 1, 2, 3, 4)],
    "departures": [("local", "2", "", "", 9)],
    "keys_in_use": [("seal", "k", None), ("pepper", "p", b"check")],
    "audit_events": [
        (41, 1, "LOGIN", *[None] * 7, "user", 1, None, None),
        (7, 1, "BOUND", *[None] * 7, None, 2, b"\0", "ops"),
    ],
}


def next_event(run: Callable[..., list[tuple[int]]]) -> int:
    """The number that the next audit event gets."""
    run("INSERT INTO audit_events (at, event, count) VALUES (1, 'X', 1)")
    return run("SELECT MAX(id) FROM audit_events")[0][0]


def test_from_sqlite_to_postgresql(tmp_path: Path, postgres_url: NewUrl) -> None:
    url = postgres_url()
    source = new_sqlite(tmp_path / "source", EXAMPLE)
    run_in_sqlite(
        source,
        "UPDATE revocation_log SET position = 77",
        "INSERT INTO revocations (position, digest, logged_at) VALUES (77, x'00', 1)",
    )
    log = "SELECT database_id, position FROM revocation_log"
    before = run_in_postgresql(url, log)
    comparisons = copy_all(sqlite_end(source), postgresql_end(url), Unwatched())
    assert {each.table: (each.equal, each.source.rows) for each in comparisons} == {
        table: (True, len(rows)) for table, rows in EXAMPLE.items()
    }
    assert in_postgresql(url) == in_sqlite(source)
    # Another database, whose log begins anew: nobody takes a position of the source for its.
    [(database_id, position)] = run_in_postgresql(url, log)
    assert (len(database_id), position) == (32, 0)
    assert (database_id, position) not in [*before, *run_in_sqlite(source, log)]
    assert run_in_postgresql(url, "SELECT * FROM revocations") == []
    assert next_event(lambda sql: run_in_postgresql(url, sql)) == 42


def test_from_postgresql_to_sqlite(tmp_path: Path, postgres_url: NewUrl) -> None:
    url = postgres_url()
    source = new_sqlite(tmp_path / "source", EXAMPLE)
    copy_all(sqlite_end(source), postgresql_end(url), Unwatched())
    back = tmp_path / "back"
    copy_all(postgresql_end(url), sqlite_end(back, create=True), Unwatched())
    assert in_sqlite(back) == in_sqlite(source)
    assert run_in_sqlite(back, "PRAGMA integrity_check") == [("ok",)]
    assert run_in_sqlite(back, "PRAGMA foreign_key_check") == []
    assert next_event(lambda sql: run_in_sqlite(back, sql)) == 42
    SQLiteStore(back).close()


def test_an_empty_installation(tmp_path: Path, postgres_url: NewUrl) -> None:
    url = postgres_url()
    copy_all(sqlite_end(new_sqlite(tmp_path)), postgresql_end(url), Unwatched())
    assert next_event(lambda sql: run_in_postgresql(url, sql)) == 1


def test_any_rows_there_and_back(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: NewUrl
) -> None:
    required = not_null(new_sqlite(tmp_path_factory.mktemp("schema")))

    @settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(contents(required))
    def there_and_back(content: Content) -> None:
        directory, url = tmp_path_factory.mktemp("copied"), postgres_url()
        source = new_sqlite(directory / "source", content)
        copy_all(sqlite_end(source), postgresql_end(url), Unwatched())
        copy_all(postgresql_end(url), sqlite_end(directory / "back", create=True), Unwatched())
        assert in_postgresql(url) == in_sqlite(source) == in_sqlite(directory / "back")
        assert in_sqlite(source) == {
            table: sorted(rows, key=repr) for table, rows in content.items()
        }

    there_and_back()


def test_more_rows_than_a_page(tmp_path: Path, postgres_url: NewUrl) -> None:
    """Keys of two columns, of which the first stays the same."""
    events = [(number, 1, "LOGIN", *[None] * 7, "user", 1, None, None) for number in range(10_001)]
    accounts = [("local", f"{n}", *[None] * 6, 1, 1, None, None, None) for n in range(10_001)]
    url = postgres_url()
    source = new_sqlite(tmp_path, {"audit_events": events, "accounts": accounts})
    copy_all(sqlite_end(source), postgresql_end(url), Unwatched())
    assert in_postgresql(url) == in_sqlite(source)


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE bindings SET session_key = set_byte(session_key, 200, 1)", "bindings"),
        ("UPDATE accounts SET username = '' WHERE id = '2'", "accounts"),
        ("UPDATE accounts SET display_name = NULL WHERE id = '1'", "accounts"),
        ("UPDATE sessions SET login_at = last_seen_at, last_seen_at = login_at", "sessions"),
        ("UPDATE sessions SET handle = CASE handle WHEN 'h1' THEN 'h2' ELSE 'h3' END", "sessions"),
        ("DELETE FROM no_sibling", "no_sibling"),
        ("INSERT INTO throttles VALUES (E'\\\\x00', '', '', 1, 2, 3, 4)", "throttles"),
        ("UPDATE audit_events SET id = 8 WHERE id = 7", "audit_events"),
    ],
)
def test_what_differs_is_found(
    tmp_path: Path, postgres_url: NewUrl, change: str, table: str
) -> None:
    url = postgres_url()
    ends = sqlite_end(new_sqlite(tmp_path, EXAMPLE)), postgresql_end(url)
    copy_all(*ends, Unwatched())
    assert [each.table for each in compare(*ends, Unwatched()) if not each.equal] == []
    run_in_postgresql(url, change)
    assert [each.table for each in compare(*ends, Unwatched()) if not each.equal] == [table]


class Faulty:
    """A database that writes something else than it was given."""

    def __init__(self, end: CopyEnd, spoil: Callable[[list[Row]], list[Row]]) -> None:
        self._end = end
        self._spoil = spoil

    def __getattr__(self, name: str) -> object:
        return getattr(self._end, name)

    def insert(self, table: CopiedTable, rows: Iterable[Row]) -> None:
        written = [*rows]
        self._end.insert(table, self._spoil(written) if table.name == "no_sibling" else written)


@pytest.mark.parametrize(
    "spoil", [lambda rows: [], lambda rows: [("wx1", "O1")]], ids=["a row is lost", "one letter"]
)
def test_what_was_written_wrong_is_not_kept(
    tmp_path: Path, postgres_url: NewUrl, spoil: Callable[[list[Row]], list[Row]]
) -> None:
    url = postgres_url()

    def faulty(work: Callable[[CopyEnd], T]) -> T:
        return postgresql_end(url)(lambda end: work(Faulty(end, spoil)))  # type: ignore[arg-type]

    source = sqlite_end(new_sqlite(tmp_path, EXAMPLE))
    with pytest.raises(CopyDiffers, match="no_sibling"):
        copy_all(source, faulty, Unwatched())
    assert in_postgresql(url) == {table.name: [] for table in COPIED}
    copy_all(source, postgresql_end(url), Unwatched())
