"""Settings of an `sql` account source that cannot work are refused, and say nothing secret."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from tests.contract.company_database import BY_ID, BY_NAME
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.accounts.sources import sql_source_settings
from wxauth_server.accounts.sources.source_settings import SourceSettingsRefused
from wxauth_server.accounts.sources.sql_source import SqlSource
from wxauth_server.accounts.sources.sql_source_settings import SqlSourceSettings
from wxauth_server.keyring import create_keyring, load_keyring
from wxauth_server.pools import BoundedPool

SECRET = "canary-in-the-url"
URL = f"mysql://wxauth:{SECRET}@127.0.0.1:1/shop"


def settings(**changes: Any) -> SqlSourceSettings:
    fields: dict[str, Any] = {
        "kind": "sql",
        "name": "members",
        "url": URL,
        "verify_query": BY_NAME,
        "get_query": BY_ID,
    }
    fields |= changes
    return SqlSourceSettings(**{key: value for key, value in fields.items() if value is not None})


def refusal(**changes: Any) -> str:
    """What pydantic says of these settings; it must not say the URL."""
    with pytest.raises(ValidationError) as refused:
        settings(**changes)
    assert SECRET not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def hasher(tmp_path: Path) -> PasswordHasher:
    create_keyring(tmp_path / "keyring.json")
    return PasswordHasher(load_keyring(tmp_path / "keyring.json"), cost=4)


def opening(hasher: PasswordHasher, given: SqlSourceSettings) -> str:
    """Why no source can be opened."""
    pool = BoundedPool("passwords", threads=1, capacity=1)
    with pytest.raises(SourceSettingsRefused) as refused:
        SqlSource.open(given, hasher, pool)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    return str(refused.value)


def test_defaults() -> None:
    given = settings()
    assert (given.timeout_s, given.connections, given.deleted_statement) == (2.0, 8, None)
    assert SECRET not in repr(given)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"name": "local"}, "own store"),
        ({"name": "Members"}, "name"),
        ({"name": "m" * 33}, "name"),
        ({"url": None}, "exactly one of url and url_file"),
        ({"url_file": "/run/secrets/url"}, "exactly one of url and url_file"),
        ({"timeout_s": 0.05}, "timeout_s"),
        ({"timeout_s": 6}, "timeout_s"),
        ({"connections": 0}, "connections"),
        ({"pool": 3}, "pool"),
        ({"verify_query": "SELECT 1"}, "needs the parameter :username and no other, and has none"),
        ({"verify_query": BY_ID}, "needs the parameter :username and no other, and has :id"),
        ({"get_query": BY_NAME}, "needs the parameter :id and no other, and has :username"),
        ({"deleted_statement": "DELETE FROM users"}, "needs the parameter :id"),
        ({"verify_query": f"{BY_NAME} AND a = ':x'"}, "has :x"),
        # SQLAlchemy reads `:usernam` there.
        ({"verify_query": f"{BY_NAME}::text"}, r"CAST\(:username AS …\)"),
    ],
)
def test_what_is_refused(changes: dict[str, object], complaint: str) -> None:
    assert re.search(complaint, refusal(**changes))


@pytest.mark.parametrize(
    "condition",
    [
        "login = ':username'",
        "login LIKE '%:username%'",
        'login = " :username"',
        "login = 'it''s :username'",
        r"login = 'it\'s :username'",
        "`:username` = 1",
        "login = :username -- not :username",
        "login = :username /* or\n:username */",
    ],
)
def test_a_parameter_in_quotes_is_refused(condition: str) -> None:
    """The driver quotes it too: between two pairs of quotes the value would be SQL."""
    assert "without quotes" in refusal(verify_query=f"SELECT * FROM users WHERE {condition}")


@pytest.mark.parametrize(
    "condition",
    [
        "login = :username OR phone = :username",
        "login = lower(:username) AND 'it''s' <> \"a\" -- it's theirs\n AND kind = 'x'",
        r"login = :username AND at > '12:30' AND x\:y = 1 AND k = 1::int",
    ],
)
def test_what_is_read_as_sqlalchemy_reads_it(condition: str) -> None:
    query = f"SELECT * FROM users WHERE {condition}"
    assert settings(verify_query=query).verify_query == query
    assert set(text(query).compile().params) == {"username"}


def test_parameters_are_found_where_sqlalchemy_finds_them() -> None:
    for query in (BY_NAME, BY_ID, ":a::b", "':a'", r"\:a", "x:a", "a = :b, :c", ":a:b", "::a :é"):
        found = set(sql_source_settings._PARAMETER.findall(query))
        assert found == set(text(query).compile().params), query


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "not a database URL"),
        (SECRET, "not a database URL"),
        (f"mysql://u:{SECRET}@host:port/shop", "not a database URL"),
        (f"oracle://u:{SECRET}@host/shop", "no others"),
        (f"postgresql+psycopg2://u:{SECRET}@host/shop", "no others"),
        (f"mysql+mysqldb://u:{SECRET}@host/shop", "no others"),
        (f"sqlite:///{SECRET}.db", "absolute path"),
        ("sqlite://", "absolute path"),
        (f"sqlite:////{SECRET}.db?mode=rw", "those for this database are: none"),
        (f"{URL}?read_timeout=600", "those for this database are: ssl_ca, "),
        (f"postgresql://u:{SECRET}@host/shop?options=-c", "those for this database are: channel_"),
    ],
)
def test_urls_that_are_refused(url: str, complaint: str, hasher: PasswordHasher) -> None:
    said = opening(hasher, settings(url=url))
    assert said.startswith("account_sources: url of members: ")
    assert complaint in said


def test_a_url_in_a_file(tmp_path: Path, hasher: PasswordHasher) -> None:
    file = tmp_path / "url"
    given = settings(url=None, url_file=file)
    assert f"url_file of members: {file} cannot be read: No such file" in opening(hasher, given)
    file.write_text("")
    assert "url_file of members: not a database URL" in opening(hasher, given)
    file.write_text(f"{URL}\n")
    assert given.database_url() == URL


@pytest.mark.parametrize(
    ("module", "url"),
    [("pymysql", URL), ("psycopg", f"postgresql://u:{SECRET}@h/d")],
)
def test_a_driver_that_is_not_installed(
    module: str, url: str, hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    for loaded in list(sys.modules):
        if loaded.split(".")[0] == module:
            monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    assert f"({module}): pip install 'wxauth[sql]'" in opening(hasher, settings(url=url))


def test_a_database_that_is_away_is_no_reason_to_refuse(hasher: PasswordHasher) -> None:
    """It may come back: nothing is asked at the start."""
    pool = BoundedPool("passwords", threads=1, capacity=1)
    assert SqlSource.open(settings(), hasher, pool).name == "members"


def test_libraries_are_quiet(hasher: PasswordHasher) -> None:
    """Even where somebody wants every log there is."""
    SqlSource.open(settings(), hasher, BoundedPool("passwords", threads=1, capacity=1))
    for library in ("sqlalchemy.engine", "sqlalchemy.pool", "psycopg", "psycopg.pq"):
        assert not logging.getLogger(library).isEnabledFor(logging.ERROR)


def test_the_source_alone_loads_no_database_library() -> None:
    """Who has no such source does not wait for it at the start."""
    assert run(_IMPORT + "print({'sqlalchemy', 'pymysql', 'psycopg'} & set(sys.modules))") == (
        "set()\n"
    )


def test_sqlalchemy_that_is_not_installed() -> None:
    said = run(
        _IMPORT + "sys.modules['sqlalchemy'] = None\n"
        "from wxauth_server.accounts.sources.sql_source_settings import SqlSourceSettings\n"
        f"given = SqlSourceSettings.model_validate_json({settings_json()!r})\n"
        "try: SqlSource.open(given, None, None)\n"
        "except ValueError as refused: print(refused)"
    )
    assert said.endswith("not installed (sqlalchemy): pip install 'wxauth[sql]'\n")


_IMPORT = "import sys\nfrom wxauth_server.accounts.sources.sql_source import SqlSource\n"


def settings_json() -> str:
    given = settings().model_dump(exclude_none=True)
    return json.dumps(given | {"url": URL})


def run(script: str) -> str:
    """What a script in an interpreter of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
