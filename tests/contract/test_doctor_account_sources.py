"""wxauth doctor: the company's services and tables."""

from __future__ import annotations

import socket
import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.canary import CANARY
from tests.certificates import Authority
from tests.scripted_wechat import Server, serving
from tests.unit.configured import app, nothing_set
from tests.unit.examined import Report, examined, refused
from wxauth_server.doctor.findings import Check, Status

__all__ = ["nothing_set"]

CHECK = Check.ACCOUNT_SOURCES_CONNECTION
KEY = CANARY.keep("k" * 32)
QUERY = "SELECT id, login AS username, pass AS hash FROM users WHERE login = :username"


def found(source: str) -> Report:
    text = (
        f'{app()}[gateway]\nserver = "unix:///none"\n[wechat]\nbase_url = "http://127.0.0.1:9"\n'
        f'[[account_sources]]\nname = "company"\n{source}'
    )
    return examined(text, offline=False)


def service(url: str, more: str = f'key = "{KEY}"\n') -> Report:
    return found(f'kind = "http"\nurl = "{url}"\n{more}')


def table(url: str, query: str = QUERY) -> Report:
    return found(
        f'kind = "sql"\nurl = "{url}"\nverify_query = "{query}"\n'
        'get_query = "SELECT id, login AS username, pass AS hash FROM users WHERE id = :id"\n'
    )


@pytest.fixture
def company() -> Iterator[Server]:
    """A service that is never asked anything."""

    def silent(connection: socket.socket) -> None:
        assert connection.recv(1) == b""

    with serving(silent) as server:
        yield server


def test_no_sources() -> None:
    assert examined(offline=False).only(CHECK).status is Status.SKIPPED


def test_a_service_is_connected_to_and_not_asked(company: Server) -> None:
    assert service(company.base_url).only(CHECK).status is Status.OK
    company.finish()
    assert company.connections == 1


def test_a_service_that_is_not_there() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert "start it" in refused(service(url), CHECK, "company: ", "nothing listens").what_to_do


def test_a_service_with_tls(nothing_set: Path) -> None:
    authority = Authority(nothing_set)
    issued = authority.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)

    def speak(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    with serving(speak) as server:
        url = server.base_url.replace("http://127.0.0.1", "https://localhost")
        refused(service(url), CHECK, "another authority")
        report = service(url, f'key = "{KEY}"\nca_file = "{authority.ca}"\n')
        assert report.only(CHECK).status is Status.OK
        address = url.replace("localhost", "127.0.0.1")
        report = service(address, f'key = "{KEY}"\nca_file = "{authority.ca}"\n')
        refused(report, CHECK, "other names")


@pytest.mark.parametrize("more", ['key_file = "none"\n', f'key = "{KEY}"\nca_file = "none"\n'])
def test_files_of_a_service_that_cannot_be_used(more: str) -> None:
    refused(service("http://127.0.0.1:9", more), CHECK, "company", "none")


def test_a_table(nothing_set: Path) -> None:
    file = nothing_set / "company.db"
    url = f"sqlite:///{file}"
    refused(table(url), CHECK, "company: ", "SQLITE_CANTOPEN")
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE users (id INTEGER, login TEXT, pass TEXT)")

    assert table(url).only(CHECK).status is Status.OK
    refused(table(url, QUERY.replace("users", "people")), CHECK, "refuses verify_query")
    refused(table(url, QUERY.replace("AS hash", "")), CHECK, "no column hash")
    refused(table("oracle://user@host/x"), CHECK, "mysql://")


def test_a_database_server_that_is_not_there() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    secret = CANARY.keep("the password of the company's database")
    for scheme in ("mysql", "postgresql"):
        url = f"{scheme}://wxauth:{secret.replace(' ', '%20')}@127.0.0.1:{port}/users"
        refused(table(url), CHECK, "no answer")
