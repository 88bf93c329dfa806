"""The examples of docs/sql-account-source.md work on the tables that they are for."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import django.conf
import pytest
from django.contrib.auth.hashers import make_password
from werkzeug.security import generate_password_hash

from tests.contract.company_database import OnMariaDB, OnPostgreSQL, OnServer
from tests.contract.open_sql_source import HASH, PASSWORD, OpenSource, sources
from tests.database_server import DatabaseServer
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.accounts.sources.source import SourceAccount
from wxauth_server.errors import AccountSourceUnavailable
from wxauth_server.keyring import create_keyring, load_keyring

PAGE = (Path(__file__).parents[2] / "docs" / "sql-account-source.md").read_text("utf-8")

ZHANG = SourceAccount(id="1", username="zhangsan", display_name="张三")


def example(name: str) -> dict[str, Any]:
    """The queries of the example with this name."""
    for block in re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        [source] = tomllib.loads(block)["account_sources"]
        if source["name"] == name:
            return {key: source[key] for key in ("verify_query", "get_query")}
    raise AssertionError(f"no example {name}")


def grants(heading: str) -> list[str]:
    """The statements of the page that make a user of the database."""
    [block] = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    [part] = [part for part in block.split("\n\n") if part.startswith(f"-- {heading}")]
    return [line.rstrip(";") for line in part.splitlines()[1:]]


@pytest.fixture
def open_on(tmp_path: Path) -> Iterator[Any]:
    """Opens sources on a database."""
    create_keyring(tmp_path / "keyring.json")
    hasher = PasswordHasher(load_keyring(tmp_path / "keyring.json"), cost=4)
    with ExitStack() as stack:

        def open_on(company: OnServer) -> OpenSource:
            return stack.enter_context(sources(company, hasher))

        yield open_on


PHP_TABLE = (
    "CREATE TABLE users (id INT PRIMARY KEY, username VARCHAR(50) UNIQUE, nickname VARCHAR(50),"
    " password VARCHAR(255), status SMALLINT)"
)
PHP_ROWS = (
    f"INSERT INTO users VALUES (1, 'zhangsan', '张三', '{HASH}', 1), (2, 'lisi', '', '{HASH}', 0)"
)


@pytest.mark.parametrize("kind", ["MySQL", "PostgreSQL"])
def test_php_with_a_user_of_its_own(
    kind: str, open_on: Any, request: pytest.FixtureRequest
) -> None:
    company: OnServer
    if kind == "MySQL":
        company = OnMariaDB(request.getfixturevalue("mariadb"))
    else:
        company = OnPostgreSQL(request.getfixturevalue("postgres"))
    company.execute(PHP_TABLE, PHP_ROWS, "CREATE TABLE other (id INT)")
    user = f"w{company.name}"
    for statement in grants(kind):
        for told, here in (
            ("wxauth", user), ("10.0.0.5", "127.0.0.1"), ("'…'", f"'{company.password}'"),
            ("shop", company.name),
        ):  # fmt: skip
            statement = statement.replace(told, here)  # noqa: PLW2901
        company.execute(statement)
    url = company.url.replace(f"//{company.name}:", f"//{user}:")
    open_source = open_on(company)

    source = open_source(url=url, **example("members"))
    assert source.verify("zhangsan").account == ZHANG
    assert source.get("1") == ZHANG
    assert source.refuses("lisi")
    account = source.get("2")
    assert account is not None
    assert not account.enabled

    no_right = open_source(url=url, get_query="SELECT id, '' AS username FROM other WHERE id = :id")
    with pytest.raises(AccountSourceUnavailable):
        no_right.get("1")


DJANGO_TABLE = (
    "CREATE TABLE auth_user (id INTEGER PRIMARY KEY, username VARCHAR(150) UNIQUE,"
    " first_name VARCHAR(150), password VARCHAR(128), is_active BOOLEAN)"
)


@pytest.mark.parametrize("kind", ["MySQL", "PostgreSQL"])
def test_django(kind: str, open_on: Any, request: pytest.FixtureRequest) -> None:
    if not django.conf.settings.configured:
        django.conf.settings.configure()
    hashed, unusable = make_password(PASSWORD), make_password(None)
    queries = example("django")
    company: OnServer
    if kind == "MySQL":
        company = OnMariaDB(request.getfixturevalue("mariadb"))
        queries["get_query"] = queries["get_query"].replace("CAST(:id AS integer)", ":id")
    else:
        company = OnPostgreSQL(request.getfixturevalue("postgres"))
    company.execute(
        DJANGO_TABLE,
        f"INSERT INTO auth_user VALUES (1, 'zhangsan', '张三', '{hashed}', true),"
        f" (2, 'lisi', '', '{hashed}', false), (3, 'wangwu', '', '{unusable}', true)",
    )
    if kind == "PostgreSQL":
        company.execute(f"GRANT SELECT ON auth_user TO {company.name}")
    source = open_on(company)(**queries)
    assert source.verify("zhangsan").account == ZHANG
    assert source.refuses("zhangsan", "wrong horse battery")
    assert source.refuses("lisi")
    assert source.refuses("wangwu")
    assert source.get("1") == ZHANG
    assert source.get("3") == SourceAccount("3", "wangwu")


def test_flask(open_on: Any, postgres: DatabaseServer) -> None:
    company = OnPostgreSQL(postgres)
    hashed = generate_password_hash(PASSWORD)
    assert hashed.startswith("scrypt:")
    company.execute(
        'CREATE TABLE "user" (id SERIAL PRIMARY KEY, email TEXT UNIQUE, phone TEXT UNIQUE,'
        " name TEXT, password_hash TEXT, deleted_at TIMESTAMP)",
        'INSERT INTO "user" (email, phone, name, password_hash, deleted_at) VALUES'
        f" ('zhangsan', '13800138000', '张三', '{hashed}', NULL),"
        f" ('lisi', '13800138001', '李四', '{hashed}', now())",
    )
    source = open_on(company)(**example("flask"))
    for name in ("zhangsan", "13800138000"):
        assert source.verify(name).account == ZHANG
    assert source.refuses("13800138001")
    assert source.get("1") == ZHANG


def test_java(open_on: Any, mariadb: DatabaseServer) -> None:
    company = OnMariaDB(mariadb)
    company.execute(
        "CREATE TABLE sys_user (user_id BIGINT PRIMARY KEY, user_name VARCHAR(30),"
        " nick_name VARCHAR(30), password VARCHAR(100), status CHAR(1) DEFAULT '0',"
        " del_flag CHAR(1) DEFAULT '0')",
        "INSERT INTO sys_user VALUES"
        f" (1, 'zhangsan', '张三', '{{bcrypt}}{HASH}', '0', '0'),"
        f" (2, 'lisi', '', '{HASH}', '1', '0'), (3, 'wangwu', '', '{HASH}', '0', '2')",
    )
    source = open_on(company)(**example("java"))
    assert source.verify("zhangsan").account == ZHANG
    assert source.refuses("lisi")
    assert source.refuses("wangwu")
    assert source.get("1") == ZHANG
