"""What an operator can set of the database, and that nothing tells its password."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.unit.configured import SECRET, app, load, nothing_set, refused
from wxauth_server.cli.dev import _configuration as of_dev
from wxauth_server.config import load_configuration
from wxauth_server.secret_files import secrets_open_to_others
from wxauth_server.store.interface import StoreUnusable
from wxauth_server.store.postgresql_url import DatabaseUrlRefused, read_database_url
from wxauth_server.store.settings import StoreSettings

__all__ = ["nothing_set"]

URL = f"postgresql://wxauth:{SECRET}@127.0.0.1:5433/auth"


def of_store(**keys: str | int) -> str:
    return "[store]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())


def test_without_a_url_it_is_sqlite() -> None:
    store = load(of_store(directory="data")).store
    assert (store.is_postgresql, store.database_url(), store.place) == (False, "", "in data")
    assert store.writers == 1


def test_a_url_by_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    least = load(of_store(url=URL, connections=4)).store
    assert (least.database_url(), least.writers) == (URL, 1)
    file = Path("database.url")
    file.touch(0o600)
    file.write_text(f" {URL}\n")
    given = load(of_store(url_file=str(file))).store
    assert (given.is_postgresql, given.database_url()) == (True, URL)
    assert (given.connections, given.writers) == (10, 5)
    monkeypatch.setenv("WXAUTH_STORE__URL", URL)
    monkeypatch.setenv("WXAUTH_STORE__CONNECTIONS", "25")
    by_variable = load_configuration().store
    assert (by_variable.database_url(), by_variable.connections) == (URL, 25)


def test_what_is_tried_out_is_always_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WXAUTH_STORE__URL", URL)
    Path("wxauth.toml").write_text(of_store(url_file="gone"))
    tried = of_dev("127.0.0.1:0", "127.0.0.1:0", Path("data")).store
    assert (tried.is_postgresql, tried.directory) == (False, Path("data"))


def test_no_text_holds_the_password() -> None:
    configuration = load(of_store(url=URL))
    shown = [configuration, configuration.store, configuration.store.place]
    assert not any(SECRET in f"{what!r} {what}" for what in shown)
    assert SECRET not in configuration.model_dump_json()
    assert SECRET not in f"{read_database_url(URL)!r} {read_database_url(URL)}"
    for keys in ({"url": URL, "url_file": "x"}, {"url": f"mysql://{SECRET}"}, {"connection": URL}):
        with pytest.raises(ValueError, match=r"url|connection") as wrong:
            StoreSettings(**keys)
        assert SECRET not in f"{wrong.value!r} {wrong.value}"


def test_one_url() -> None:
    said = refused(of_store(url=URL, url_file="x"))
    assert said == "store: give one of url and url_file, or none for SQLite"
    assert refused(of_store(connections=3)).startswith("store.connections: ")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "not a URL"),
        (SECRET, "not a URL"),
        (f"mysql://u:{SECRET}@h/d", "not a URL"),
        (f"postgresql+psycopg://u:{SECRET}@h/d", "not a URL"),
        # What the driver would take for another host, or for a database.
        (f"postgresql://u:{SECRET}@x@localhost/d", "%-escapes"),
        (f"postgresql://u:{SECRET}/x@localhost/d", "%-escapes"),
        (f"postgresql://u:{SECRET}%@localhost/d", "%-escapes"),
        (f"postgresql://u:{SECRET}#@localhost/d", "%-escapes"),
        (f"postgresql://u:{SECRET}@localhost", "not a URL"),
        (f"postgresql://u:{SECRET}@localhost/", "not a URL"),
        (f"postgresql://u:{SECRET}@localhost/d\n", "not a URL"),
        (f"postgresql://u:{SECRET}@/d", "name the host"),
        (f"postgresql://u:{SECRET}@h/d?host=/run", "name the host"),
        (f"postgresql://u:{SECRET}@/d?host=db", "name the host"),
        (f"postgresql://u:{SECRET}@::1/d", "one of IPv6 in brackets"),
        (f"postgresql://u:{SECRET}@h:x/d", "a host is a name"),
        (f"postgresql://u:{SECRET}@h:70000/d", "a port is"),
        (f"postgresql://u:{SECRET}@localhost:0/d", "a port is"),
        (f"postgresql://u@localhost/d?password={SECRET}", "not known; those are: host"),
        (f"postgresql://u@localhost/d?sslmode={SECRET}", "sslmode is one of allow"),
        ("postgresql://u@localhost/d?sslmode", "option=value"),
        ("postgresql://u@localhost/d?sslmode=require&sslmode=disable", "more than once"),
        ("postgresql://u@localhost/d?connect_timeout=9", "not known"),
        ("postgresql://u@localhost,localhost:1/d", "target_session_attrs=read-write"),
        ("postgresql://u@localhost/d?target_session_attrs=any", "is one of primary, read-write"),
        ("postgresql://u@db.internal/d", "db.internal is not this machine"),
        ("postgresql://u@localhost,10.0.0.5/d?target_session_attrs=primary", "10.0.0.5 is not"),
    ],
)
def test_urls_that_are_refused(url: str, said: str) -> None:
    with pytest.raises(DatabaseUrlRefused) as why:
        read_database_url(url)
    assert said in str(why.value)
    assert SECRET not in f"{why.value!r}"
    assert refused(of_store(url=url)) == f"store.url: {why.value}"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgres://localhost/wx%20auth", "localhost:5432/wx auth"),
        ("postgresql://u:p%40@[::1]:5433/d", "[::1]:5433/d"),
        ("postgresql://u@/d?host=/run/postgresql&port=6432", "/run/postgresql:6432/d"),
        ("postgresql://u@db.internal/d?sslmode=disable", "db.internal:5432/d"),
        (
            "postgresql://u@a,b:1/d?sslmode=verify-ca&target_session_attrs=read-write",
            "a:5432,b:1/d",
        ),
    ],
)
def test_where_a_database_is(url: str, place: str) -> None:
    assert str(read_database_url(url)) == place


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (None, 0o600, "database.url cannot be read: No such file"),
        (URL.encode(), 0o604, "can be read or changed by others (mode 0604): run chmod 600"),
        (URL.encode(), 0o620, "can be read or changed by others (mode 0620)"),
        (b"\xff" + URL.encode(), 0o600, "is not UTF-8"),
        (b"", 0o600, "not a URL"),
        (URL.replace("127.0.0.1", "db").encode(), 0o600, "db is not this machine"),
    ],
)
def test_a_file_that_is_of_no_use(content: bytes | None, mode: int, said: str) -> None:
    file = Path("database.url")
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    store = load(of_store(url_file=str(file))).store
    with pytest.raises(StoreUnusable, match=r"^store: url_file: database.url") as why:
        store.database_url()
    assert said in str(why.value)
    assert SECRET not in f"{why.value!r}"
    assert why.value.__suppress_context__


def test_a_pipe_is_not_waited_for() -> None:
    os.mkfifo("database.url", 0o600)
    with pytest.raises(StoreUnusable, match="no regular file"):
        load(of_store(url_file="database.url")).store.database_url()


def test_files_with_a_url_are_secrets() -> None:
    """`wxauth serve` warns of them."""
    Path("database.url").touch(0o640)
    given = load(app() + of_store(url_file="database.url"))
    Path("given.toml").chmod(0o600)
    assert list(secrets_open_to_others(given)) == [(Path("database.url"), 0o640)]
    given = load(of_store(url=URL))
    Path("given.toml").chmod(0o644)
    assert list(secrets_open_to_others(given)) == [(Path("given.toml"), 0o644)]
    Path("given.toml").write_text(of_store(directory="x"))
    assert list(secrets_open_to_others(given)) == []
