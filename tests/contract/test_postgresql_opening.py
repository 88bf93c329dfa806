"""What an operator is told of a PostgreSQL that cannot be used."""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from tests.contract.store_rows import add_account
from tests.pgserver import (
    OWNER,
    OWNER_PASSWORD,
    STRANGER,
    STRANGER_PASSWORD,
    PostgresProcess,
    has_ipv6,
)
from wxauth_server.store.interface import StoreTooNew, StoreUnusable
from wxauth_server.store.postgresql import PostgreSQLStore
from wxauth_server.store.schema import CODE_VERSION


@pytest.fixture(scope="module")
def unchanged(store_postgres: PostgresProcess) -> str:
    """The name of a database that no test changes."""
    return store_postgres.new_url().rpartition("/")[2]


@pytest.fixture
def database(postgres_url: Callable[[], str]) -> str:
    return postgres_url().rpartition("/")[2]


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], int]]:
    """Listens and answers whoever speaks with these bytes, with none never: its port."""
    with ExitStack() as sockets:

        def listen(answer: bytes) -> int:
            listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve() -> None:
                while True:
                    try:
                        connection, _ = listener.accept()
                    except OSError:
                        return
                    sockets.callback(connection.close)
                    if answer:
                        connection.recv(1024)
                        connection.sendall(answer)
                        connection.close()

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            sockets.callback(thread.join, 10)
            sockets.callback(listener.shutdown, socket.SHUT_RDWR)
            return int(listener.getsockname()[1])

        yield listen


def refusal(url: str, kind: type[Exception] = StoreUnusable) -> str:
    """The text of the refusal. What others say is neither in it nor in what a log would print."""
    with pytest.raises(kind) as refused:
        PostgreSQLStore(url)
    printed = "".join(traceback.format_exception(refused.value))
    assert "canary" not in printed
    assert "psycopg" not in printed
    return str(refused.value)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_url_that_is_none() -> None:
    """As the configuration says it."""
    assert "postgresql://user:password@host:5432/database" in refusal("mysql://canary@db/wxauth")


def test_nobody_listens() -> None:
    """The text says where, and what to do."""
    port = closed_port()
    assert refusal(f"postgresql://canary:canary@127.0.0.1:{port}/wxauth") == (
        f"the PostgreSQL database 127.0.0.1:{port}/wxauth: nothing listens there: "
        "start PostgreSQL, or check host and port of the URL"
    )


def test_a_host_that_is_not_known() -> None:
    url = "postgresql://u:canary@nowhere.invalid/wxauth?sslmode=require"
    assert "nowhere.invalid:5432/wxauth: the host's name is not known" in refusal(url)


@pytest.mark.parametrize("sslmode", ["disable", "prefer"])
@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH\r\n"])
def test_something_else_listens(
    answering: Callable[[bytes], int], answer: bytes, sslmode: str
) -> None:
    port = answering(answer)
    url = f"postgresql://u:canary@127.0.0.1:{port}/wxauth?sslmode={sslmode}"
    assert "what answers there is no PostgreSQL: check host and port" in refusal(url)


def test_something_listens_and_says_nothing(answering: Callable[[bytes], int]) -> None:
    url = f"postgresql://u:canary@127.0.0.1:{answering(b'')}/wxauth"
    assert "it does not answer: check host and port" in refusal(url)


def test_a_login_that_is_refused(store_postgres: PostgresProcess, unchanged: str) -> None:
    """A wrong password, an unknown user, no password: the text does not say which."""
    texts = {
        refusal(store_postgres.url(unchanged, password="canary")),
        refusal(store_postgres.url(unchanged, role="nobody")),
        refusal(f"postgresql://{OWNER}@127.0.0.1:{store_postgres.port}/{unchanged}"),
    }
    [text] = texts
    assert "check user and password of the URL, and the server's pg_hba.conf" in text


def test_a_database_that_is_not_there(store_postgres: PostgresProcess) -> None:
    assert "there is no such database" in refusal(store_postgres.url("nowhere"))


def test_a_database_that_nobody_may_connect_to(
    store_postgres: PostgresProcess, database: str
) -> None:
    store_postgres.administer(f"REVOKE CONNECT ON DATABASE {database} FROM public")
    url = store_postgres.url(database, role=STRANGER, password=STRANGER_PASSWORD)
    assert "grant CONNECT" in refusal(url)


def test_a_server_without_tls(store_postgres: PostgresProcess, unchanged: str) -> None:
    url = store_postgres.url(unchanged) + "?sslmode=require"
    assert "the TLS connection fails: check sslmode and sslrootcert" in refusal(url)


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ("REVOKE USAGE ON SCHEMA public FROM public",
         "may not use the schema public, in which the tables are: GRANT USAGE ON SCHEMA public"),
        ("REVOKE ALL ON schema_state FROM stranger", "may not SELECT on the table schema_state"),
        ("REVOKE DELETE ON exchanges FROM stranger", "may not DELETE on the table exchanges"),
    ],
)  # fmt: skip
def test_a_role_that_may_not(
    store_postgres: PostgresProcess, database: str, change: str, advice: str
) -> None:
    """Each right that a server needs where another role has migrated, and no more."""
    store_postgres.administer(
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {STRANGER}",
        f"REVOKE INSERT, UPDATE, DELETE ON schema_state FROM {STRANGER}",
        database=database,
    )
    url = store_postgres.url(database, role=STRANGER, password=STRANGER_PASSWORD)
    with closing(PostgreSQLStore(url)) as store:
        add_account(store)
    store_postgres.administer(change, database=database)
    assert advice in refusal(url)


@pytest.mark.parametrize(
    ("change", "kind", "advice"),
    [
        ("DROP TABLE schema_state", StoreUnusable, "has no schema of wxauth: run wxauth migrate"),
        ("ALTER TABLE exchanges RENAME TO was", StoreUnusable, "exchanges is missing: restore"),
        ("UPDATE schema_state SET version = 2", StoreUnusable, "older wxauth: run wxauth migrate"),
        (f"UPDATE schema_state SET version = 99, oldest_compatible = {CODE_VERSION + 1}",
         StoreTooNew, f"has schema 99, .* schema {CODE_VERSION + 1} or later"),
    ],
)  # fmt: skip
def test_a_schema_that_does_not_fit(
    store_postgres: PostgresProcess,
    database: str,
    change: str,
    kind: type[Exception],
    advice: str,
) -> None:
    store_postgres.administer(change, database=database)
    with pytest.raises(kind, match=advice):
        PostgreSQLStore(store_postgres.url(database))


def test_a_newer_schema_that_this_code_can_live_with(
    store_postgres: PostgresProcess, database: str
) -> None:
    """A rollback works."""
    store_postgres.administer("UPDATE schema_state SET version = 99", database=database)
    with closing(PostgreSQLStore(store_postgres.url(database))) as store:
        assert add_account(store)


def test_a_database_that_takes_no_writes(store_postgres: PostgresProcess, database: str) -> None:
    store_postgres.administer(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    assert "default_transaction_read_only is on" in refusal(store_postgres.url(database))


def test_a_database_that_is_not_utf_8(store_postgres: PostgresProcess) -> None:
    store_postgres.administer(
        "DROP DATABASE IF EXISTS latin",
        f"CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 OWNER {OWNER}",
    )
    assert "its encoding is LATIN1: create the database with" in refusal(
        store_postgres.url("latin")
    )


@pytest.mark.parametrize(
    ("configured", "used"), [("off", "on"), ("on", "on"), ("remote_apply", "remote_apply")]
)
def test_an_acknowledged_write_is_on_disk(
    store_postgres: PostgresProcess, database: str, configured: str, used: str
) -> None:
    """Whatever the server's configuration says; what is stronger stays."""
    store_postgres.administer(f"ALTER DATABASE {database} SET synchronous_commit = {configured}")
    with closing(PostgreSQLStore(store_postgres.url(database))) as store:
        assert store.write(lambda tx: tx.execute("SHOW synchronous_commit")) == [(used,)]


def test_the_first_of_several_hosts_that_serves(
    store_postgres: PostgresProcess, unchanged: str
) -> None:
    """As highly available set-ups name them."""
    hosts = f"127.0.0.1:{closed_port()},127.0.0.1:{store_postgres.port}"
    login = f"{OWNER}:{OWNER_PASSWORD}"
    url = f"postgresql://{login}@{hosts}/{unchanged}?target_session_attrs=read-write"
    with closing(PostgreSQLStore(url)) as store:
        assert store.read_sessions([b""]) == {}


def test_an_address_of_ipv6(store_postgres: PostgresProcess, unchanged: str) -> None:
    if not has_ipv6():
        pytest.skip("there is no IPv6 here")
    url = store_postgres.url(unchanged).replace("127.0.0.1", "[::1]")
    with closing(PostgreSQLStore(url)) as store:
        assert store.read_sessions([b""]) == {}
