"""A company's user table on each database that an `sql` account source can read."""

from __future__ import annotations

import itertools
import secrets
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from tests.canary import CANARY
from tests.database_server import DatabaseServer

COLUMNS = "id, login AS username, nick AS display_name, pass AS hash, locked AS disabled"
BY_NAME = f"SELECT {COLUMNS} FROM users WHERE login = :username"
BY_ID = f"SELECT {COLUMNS} FROM users WHERE id = :id"
GONE = "UPDATE users SET gone = 1 WHERE id = :id"

_TABLE = (
    "CREATE TABLE users (id BIGINT PRIMARY KEY, login VARCHAR(64), nick VARCHAR(400),"
    " pass VARCHAR(255), locked SMALLINT DEFAULT 0, gone SMALLINT DEFAULT 0)"
)

_numbers = itertools.count(1)


class Company(ABC):
    """A database, and somebody who may read its table `users` once that is created."""

    #: A query that takes the parameter and half a minute.
    slow_query: str
    #: The class and code that the driver gives for a table that is not there.
    no_such_table: str

    def __init__(self) -> None:
        self.password = CANARY.keep(secrets.token_hex(16))
        self.name = f"company{next(_numbers)}"

    @property
    @abstractmethod
    def url(self) -> str:
        """What wxauth connects with: it may read, and change `gone`."""

    @abstractmethod
    def execute(self, *statements: str) -> None:
        """Run statements as the owner."""

    @abstractmethod
    def rows(self, query: str) -> Sequence[tuple[Any, ...]]:
        """What the owner reads."""

    def create_table(self) -> None:
        """Begin with an empty table."""
        self.execute("DROP TABLE IF EXISTS users", _TABLE)

    def add(
        self,
        user_id: int,
        login: str | None,
        hashed: str | None,
        *,
        nick: str | None = None,
        locked: bool = False,
    ) -> None:
        """A user."""
        values = ", ".join(map(_literal, (login, nick, hashed)))
        self.execute(
            "INSERT INTO users (id, login, nick, pass, locked)"
            f" VALUES ({user_id}, {values}, {int(locked)})"
        )


def _literal(value: str | None) -> str:
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


class OnSQLite(Company):
    """A file."""

    slow_query = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000)"
        " SELECT max(i) AS id, 'a' AS username, :username AS hash FROM n"
    )
    no_such_table = "OperationalError SQLITE_ERROR"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.path = directory / f"{self.name} 用户?.db"  # what a URL has to escape

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}".replace("?", "%3F")

    def execute(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, query: str) -> Sequence[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()


class OnServer(Company):
    """A database of a server."""

    #: As SQLAlchemy writes URLs.
    scheme: str

    def __init__(self, server: DatabaseServer) -> None:
        super().__init__()
        self.server = server

    @property
    def url(self) -> str:
        address = f"127.0.0.1:{self.server.port}"
        return f"{self.scheme}://{self.name}:{self.password}@{address}/{self.name}"

    def execute(self, *statements: str) -> None:
        self.server.administer(*statements, database=self.name)


class OnMariaDB(OnServer):
    """A database of the run's MariaDB server."""

    scheme = "mysql"

    slow_query = "SELECT SLEEP(30) AS id, 'a' AS username, :username AS hash"
    no_such_table = "ProgrammingError 1146"

    def __init__(self, server: DatabaseServer) -> None:
        super().__init__(server)
        server.administer(
            f"CREATE DATABASE {self.name}",
            f"CREATE USER {self.name}@'127.0.0.1' IDENTIFIED BY '{self.password}'",
            f"GRANT SELECT, UPDATE ON {self.name}.* TO {self.name}@'127.0.0.1'",
        )

    def rows(self, query: str) -> Sequence[tuple[Any, ...]]:
        with (
            closing(
                pymysql.connect(
                    unix_socket=f"{self.server.directory}/socket",
                    user="root",
                    ssl_disabled=True,
                    database=self.name,
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(query)
            return list(cursor.fetchall())


class OnPostgreSQL(OnServer):
    """A database of the run's PostgreSQL server."""

    scheme = "postgresql"

    slow_query = (
        "SELECT 1 AS id, 'a' AS username, CAST(:username AS text) AS hash FROM pg_sleep(30)"
    )
    no_such_table = "UndefinedTable 42P01"

    def __init__(self, server: DatabaseServer) -> None:
        super().__init__(server)
        server.administer(
            f"CREATE DATABASE {self.name}",
            f"CREATE ROLE {self.name} LOGIN PASSWORD '{self.password}'",
        )
        self.execute(
            f"ALTER DEFAULT PRIVILEGES GRANT SELECT, UPDATE ON TABLES TO {self.name}",
        )

    def rows(self, query: str) -> Sequence[tuple[Any, ...]]:
        with psycopg.connect(
            host=str(self.server.directory),
            port=self.server.port,
            user="postgres",
            dbname=self.name,
        ) as connection:
            return connection.execute(query.encode()).fetchall()
