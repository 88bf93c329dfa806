"""Transactions that fail, what is told of it, and statements as the driver wants them."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import psycopg
import pytest
from pydantic import SecretStr

from tests.contract.store_rows import add_account, bind, digest, start
from tests.pgserver import PostgresProcess
from wxauth_server.errors import StoreUnavailable
from wxauth_server.store.interface import Transaction
from wxauth_server.store.keys import keys_in_use, note_key_in_use
from wxauth_server.store.opening import COMMAND_PATIENCE_S, open_database
from wxauth_server.store.postgresql import PostgreSQLStore
from wxauth_server.store.postgresql_connection import GRACE_S, connection_options
from wxauth_server.store.postgresql_statements import with_named_parameters
from wxauth_server.store.settings import StoreSettings


@pytest.fixture(scope="module")
def url(store_postgres: PostgresProcess) -> str:
    """Of the one database of these tests: to make one for each takes longer."""
    return store_postgres.new_url()


@pytest.fixture(scope="module")
def open_store(url: str) -> Iterator[PostgreSQLStore]:
    with closing(PostgreSQLStore(url)) as store:
        yield store


@pytest.fixture
def store(
    store_postgres: PostgresProcess, url: str, open_store: PostgreSQLStore
) -> PostgreSQLStore:
    """Without a row."""
    store_postgres.empty(url)
    return open_store


def test_a_failed_statement_is_no_success(store: PostgreSQLStore) -> None:
    """Of a work that swallows the failure: the server undoes it and calls that a success."""

    def work(tx: Transaction) -> None:
        note_key_in_use(tx, "pepper", "a")
        with suppress(psycopg.Error):
            tx.execute("SELECT nothing")

    with pytest.raises(StoreUnavailable):
        store.write(work)
    assert store.read(keys_in_use) == []


def test_a_broken_promise_of_our_own(store: PostgreSQLStore) -> None:
    """It is no failure of the store, and its text has the constraint but not a value."""
    calls: list[Callable[[], object]] = [
        lambda: bind(store, account=("local", "canary")),
        lambda: start(store, "a", account=("local", "canary")),
        lambda: store.read(lambda tx: tx.execute("SELECT :missing", {"canary": 1})),
        lambda: add_account(store, display_name="canary\0"),
    ]
    for call in calls:
        with pytest.raises(psycopg.Error) as broken:
            call()
        assert "canary" not in str(broken.value)
        assert broken.value.__context__ is None
    with pytest.raises(psycopg.IntegrityError, match="23503 ForeignKeyViolation bindings_"):
        calls[0]()
    assert add_account(store)


@contextmanager
def sessions_elsewhere(url: str) -> Iterator[None]:
    """Somebody has moved the table of the sessions."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE sessions RENAME TO elsewhere")
        try:
            yield
        finally:
            connection.execute("ALTER TABLE elsewhere RENAME TO sessions")


@pytest.mark.parametrize("way", ["read", "write", "read_sessions"])
def test_what_the_server_says_stays_here(
    store: PostgreSQLStore, url: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the error nor the log holds SQL, a name or a value: the code only."""

    def work(tx: Transaction) -> object:
        return tx.execute("SELECT 'canary' FROM sessions WHERE openid = :o", {"o": "canary"})

    ways: dict[str, Callable[[], object]] = {
        "read": lambda: store.read(work),
        "write": lambda: store.write(work),
        "read_sessions": lambda: store.read_sessions([digest("a")]),
    }
    with (
        sessions_elsewhere(url),
        caplog.at_level(logging.DEBUG),
        pytest.raises(StoreUnavailable) as refusal,
    ):
        ways[way]()
    printed = "".join(traceback.format_exception(refusal.value))
    assert "UndefinedTable" not in printed
    [record] = [record for record in caplog.records if record.name.startswith(("wx", "psycopg"))]
    assert vars(record)["postgresql_error"] == "42P01 UndefinedTable"
    assert "canary" not in repr(vars(record)) + printed


def test_a_read_cannot_write(store: PostgreSQLStore) -> None:
    with pytest.raises(StoreUnavailable):
        store.read(lambda tx: note_key_in_use(tx, "pepper", "a"))


def test_a_store_that_is_closed(postgres_url: Callable[[], str]) -> None:
    """It says that it is not available, and has left no connection and no thread."""
    url = postgres_url()
    threads = threading.active_count()
    store = PostgreSQLStore(url)
    add_account(store)
    store.close()
    store.close()
    for call in (lambda: add_account(store), lambda: store.read_sessions([digest("a")])):
        with pytest.raises(StoreUnavailable):
            call()
    assert threading.active_count() == threads
    with psycopg.connect(url) as connection:
        others = connection.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND application_name = 'wxauth'"
        )
        assert others.fetchall() == []


def test_what_a_pool_says_of_a_database_that_went_away(
    store_postgres: PostgresProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the advice that a start would give, and not a word of the server's."""
    url = store_postgres.new_url()
    with closing(PostgreSQLStore(url)) as store:
        store_postgres.administer(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
        with caplog.at_level(logging.DEBUG), pytest.raises(Exception, match="not available"):
            add_account(store)
    assert {record.name for record in caplog.records} == {"wxauth.store"}
    said = [vars(record).get("why") for record in caplog.records]
    assert "there is no such database: create it, or correct the URL" in said
    assert "canary" not in repr([vars(record) for record in caplog.records])


@pytest.mark.parametrize(("connections", "patience_s"), [(None, COMMAND_PATIENCE_S), (3, 1.25)])
def test_a_command_has_more_patience_than_a_server(
    url: str, connections: int | None, patience_s: float
) -> None:
    """With statements and with the network; `keys list` reads whole tables."""
    settings = StoreSettings(url=SecretStr(url))
    with closing(open_database(settings, connections=connections)) as store:
        [(limit,)] = store.read(
            lambda tx: tx.execute(
                "SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout'"
            )
        )
    assert limit == 1000 * (patience_s - GRACE_S)
    assert connection_options(url, patience_s)["tcp_user_timeout"] == 1000 * patience_s


# --- Statements ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("a = :a AND b=:b_2", "a = %(a)s AND b=%(b_2)s"),
        ("'a :b ''c'' :d' || :e", "'a :b ''c'' :d' || %(e)s"),
        ('":a" = :a', '":a" = %(a)s'),
        ("x::text = :a::bytea", "x::text = %(a)s::bytea"),
        ("x LIKE '%:a' AND 7 % :b = 0", "x LIKE '%%:a' AND 7 %% %(b)s = 0"),
        ("-- it's :a\n:b /* :c ' */", "-- it's :a\n%(b)s /* :c ' */"),
        ("f(x := :a)", "f(x := %(a)s)"),
    ],
)
def test_parameters_are_found(ours: str, theirs: str) -> None:
    """And nothing else is taken for one."""
    assert with_named_parameters(ours) == theirs


def test_signs_of_the_driver_in_statements(store: PostgreSQLStore) -> None:
    """They mean to the server what they say."""
    rows = store.read(
        lambda tx: tx.execute(
            """
            SELECT '%(a)s %s ''', 7 % :b, 'ab' LIKE '%b', :text::text, ':b'  -- 100 % :b's
            """,
            {"b": 4, "text": "%(b)s"},
        )
    )
    assert rows == [("%(a)s %s '", 3, True, "%(b)s", ":b")]
