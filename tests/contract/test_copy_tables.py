"""What a copy takes is all there is, in either engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.contract.copied_databases import new_sqlite, run_in_postgresql, run_in_sqlite
from wxauth_server.store.copy_tables import COPIED, LEFT

#: Of columns, by the types that the engines give them. Nothing else can be copied.
SQLITE_KINDS = {"TEXT": str, "BIGINT": int, "INTEGER": int, "BLOB": bytes}
POSTGRESQL_KINDS = {"text": str, "bigint": int, "integer": int, "smallint": int, "bytea": bytes}

Schema = dict[str, tuple[tuple[str, ...], dict[str, type]]]


def copied() -> Schema:
    return {table.name: (table.key, dict(table.columns)) for table in COPIED}


def without_left(schema: Schema) -> Schema:
    assert schema.keys() >= LEFT.keys()
    return {name: told for name, told in schema.items() if name not in LEFT}


def test_the_schema_of_sqlite(tmp_path: Path) -> None:
    new_sqlite(tmp_path)
    schema: Schema = {}
    for (table,) in run_in_sqlite(tmp_path, "SELECT name FROM sqlite_schema WHERE type = 'table'"):
        info = run_in_sqlite(tmp_path, f"PRAGMA table_info({table})")
        keyed = sorted((key, name) for _, name, _, _, _, key in info if key)
        columns = {name: SQLITE_KINDS[kind] for _, name, kind, _, _, _ in info}
        schema[table] = (tuple(name for _, name in keyed), columns)
    assert without_left(schema) == copied()


def test_the_schema_of_postgresql(postgres_url: Callable[[], str]) -> None:
    url = postgres_url()
    schema: Schema = {}
    for table, column, kind in run_in_postgresql(
        url,
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
    ):
        schema.setdefault(table, ((), {}))[1][column] = POSTGRESQL_KINDS[kind]
    keys: dict[str, list[str]] = {}
    for table, column in run_in_postgresql(
        url,
        "SELECT table_name, column_name FROM information_schema.table_constraints"
        " JOIN information_schema.key_column_usage USING (constraint_name, table_name)"
        " WHERE constraint_type = 'PRIMARY KEY' ORDER BY table_name, ordinal_position",
    ):
        keys.setdefault(table, []).append(column)
    assert without_left(
        {table: (tuple(keys[table]), columns) for table, (_, columns) in schema.items()}
    ) == {name: (key, columns) for name, (key, columns) in copied().items()}


def test_parents_come_before_their_children(tmp_path: Path) -> None:
    new_sqlite(tmp_path)
    names = [table.name for table in COPIED]
    parents = [
        (table, parent)
        for table in names
        for _, _, parent, *_ in run_in_sqlite(tmp_path, f"PRAGMA foreign_key_list({table})")
    ]
    assert ("sessions", "accounts") in parents
    assert [pair for pair in parents if names.index(pair[0]) <= names.index(pair[1])] == []


def test_rows_are_read_by_their_key_and_not_sorted(tmp_path: Path) -> None:
    """A page of a large table costs as much as one of a small one."""
    new_sqlite(tmp_path)
    for table in COPIED:
        last = ", ".join(["'x'"] * len(table.key))
        [*plan] = run_in_sqlite(
            tmp_path,
            f"EXPLAIN QUERY PLAN SELECT {table.column_list} FROM {table.name}"
            f" WHERE ({table.key_list}) > ({last}) ORDER BY {table.key_list}",
        )
        [(_, _, _, how)] = plan
        assert "SEARCH" in how
