"""How the company's database is connected to: URL, driver, time limits, reading only.

Imported when an `sql` source is configured only: SQLAlchemy takes a while to load.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, NullPool, QueuePool, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError

from wxauth_server.accounts.sources.sql_source_settings import UrlRefused
from wxauth_server.accounts.sources.sql_watchdog import GRACE_S

log = logging.getLogger("wxauth.accounts")

#: A connection is used this long. Firewalls and balancers drop idle ones without
#: a word, the earliest in common use after 350 s.
_RECYCLE_S = 240

#: One more than there may be.
MOST_ROWS = 2

#: The databases by their names in SQLAlchemy; MariaDB is a kind of MySQL.
MYSQL, POSTGRESQL, SQLITE = "mysql", "postgresql", "sqlite"
_DRIVERS = {
    "mysql": "mysql+pymysql",
    "mysql+pymysql": "mysql+pymysql",
    # The same dialect: SQLAlchemy sees by itself which of the two answers.
    "mariadb": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "sqlite": "sqlite",
}
#: What may stand in the URL's query. The rest is ours, or has no effect.
_URL_OPTIONS = {
    MYSQL: {"ssl_ca", "ssl_capath", "ssl_cert", "ssl_key", "ssl_check_hostname", "unix_socket"},
    POSTGRESQL: {
        "host", "port", "target_session_attrs", "load_balance_hosts", "channel_binding",
        "require_auth", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl",
    },
    SQLITE: set(),
}  # fmt: skip


@dataclass(frozen=True)
class Engines:
    """The two ways to the database: one reads and is pooled, one writes, now and then."""

    #: mysql, postgresql or sqlite.
    backend: str
    reading: Engine = field(repr=False)
    writing: Engine = field(repr=False)
    #: What PostgreSQL forgets with each transaction, for its beginning.
    time_limit: str | None = None

    def begin(self, connection: Connection) -> None:
        """Begin a transaction of the time that there is."""
        if self.time_limit is not None:
            connection.exec_driver_sql(self.time_limit, execution_options={"stream_results": False})

    def dispose(self) -> None:
        """Close the connections."""
        self.reading.dispose()
        self.writing.dispose()


def open_engines(
    url: str,
    *,
    timeout_s: float,
    connections: int,
    checked_out: Callable[[DBAPIConnection], None],
) -> Engines:
    """The engines of a URL. Nothing is connected to yet.

    `checked_out` is told of every connection before it is used, in the thread that
    uses it. Raises: UrlRefused, ModuleNotFoundError for a driver that is not there.
    """
    # Their messages quote statements, hosts and what the server said. We say what matters.
    for library in ("sqlalchemy", "psycopg"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    target = _parse(url)
    backend = target.get_backend_name()
    reading_pool = {
        "poolclass": QueuePool,
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": timeout_s,
        "pool_recycle": _RECYCLE_S,
        "pool_use_lifo": True,
    }

    def engine(*, reads: bool) -> Engine:
        mode, options, set_up = _settings(backend, timeout_s, reads=reads)
        made = create_engine(
            _sqlite_url(target, mode) if backend == SQLITE else target,
            hide_parameters=True,
            **(reading_pool if reads else {"poolclass": NullPool}),
            **options,
        )

        def connected(connection: DBAPIConnection, _: object) -> None:
            checked_out(connection)
            set_up(connection)

        # Before SQLAlchemy's own first questions, which can stall too.
        event.listen(made, "connect", connected, insert=True)
        event.listen(made, "checkout", lambda connection, *_: checked_out(connection))
        return made

    limit = f"SET LOCAL statement_timeout = {_ms(timeout_s)}" if backend == POSTGRESQL else None
    return Engines(backend, engine(reads=True), engine(reads=False), limit)


def _parse(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise UrlRefused(
            "not a database URL; write it as mysql://user:password@host/database, "
            "with %-escapes for signs like @ : / % in the password"
        ) from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise UrlRefused("mysql://, mariadb://, postgresql:// and sqlite:// are known, no others")
    url = url.set(drivername=driver)
    known = _URL_OPTIONS[url.get_backend_name()]
    if not known.issuperset(url.query):
        raise UrlRefused(
            "there is an option behind the ? that is not known; those for this database are: "
            + (", ".join(sorted(known)) or "none")
        )
    if driver == "sqlite" and not (url.database or "").startswith("/"):
        raise UrlRefused("SQLite needs an absolute path: sqlite:// and then /path, so four slashes")
    return url


def _sqlite_url(url: URL, mode: str) -> URL:
    # rw, and not the default rwc: a file that is not there is a mistake, not an empty table.
    path = f"file:{quote(url.database or '')}"
    return url.set(database=path, query={"mode": mode, "uri": "true"})


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _settings(
    backend: str, timeout_s: float, *, reads: bool
) -> tuple[str, Mapping[str, Any], Callable[[Any], None]]:
    """The mode to open a file in, arguments of create_engine, what a new connection needs."""
    patience_s = timeout_s + GRACE_S
    options: dict[str, Any]
    if backend == SQLITE:
        options = {"connect_args": {"timeout": timeout_s, "check_same_thread": False}}
        return "ro" if reads else "rw", options, lambda _: None
    if backend == POSTGRESQL:
        arguments = {
            "connect_timeout": math.ceil(timeout_s),  # psycopg makes 2 s of 1
            "tcp_user_timeout": _ms(patience_s),
            "client_encoding": "UTF8",
            # Poolers such as PgBouncer give each transaction another session.
            "prepare_threshold": None,
        }

        def set_up(connection: Any) -> None:
            # There is a driver by now; a server without PostgreSQL does without it.
            from psycopg.types.string import TextLoader

            connection.read_only = reads
            connection.adapters.register_loader("uuid", TextLoader)

        options = {"connect_args": arguments, "use_native_hstore": False}
        if reads:
            # A cursor of the server's: the driver would take in all rows there are.
            options["execution_options"] = {"stream_results": True, "max_row_buffer": MOST_ROWS}
        return "", options, set_up
    arguments = {
        "charset": "utf8mb4",
        "connect_timeout": patience_s,
        "read_timeout": patience_s,
        "write_timeout": patience_s,
    }
    options = {"connect_args": arguments}
    if reads:
        # Every statement is a transaction of its own, so there is nothing to roll back.
        options |= {"isolation_level": "AUTOCOMMIT", "pool_reset_on_return": None}
    return "", options, lambda connection: _set_up_mysql(connection, timeout_s, reads=reads)


def _set_up_mysql(connection: Any, timeout_s: float, *, reads: bool) -> None:
    if "mariadb" in connection.get_server_info().lower():
        time_limit = f"max_statement_time = {timeout_s:.3f}"
    else:
        time_limit = f"max_execution_time = {_ms(timeout_s)}"  # for SELECT only
    settings = [time_limit, f"innodb_lock_wait_timeout = {math.ceil(timeout_s)}"]
    if reads:
        # The driver reads all rows there are before it hands out the first.
        settings += [f"sql_select_limit = {MOST_ROWS}", "TRANSACTION READ ONLY"]
    for setting in settings:
        with connection.cursor() as cursor:
            try:
                cursor.execute(f"SET SESSION {setting}")
            except connection.Error:
                if not connection.open:
                    raise
                # A server that speaks MySQL's protocol and is another.
                log.warning("the database refuses a setting", extra={"setting": setting})
