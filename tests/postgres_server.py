"""A PostgreSQL server of a test run's own, from Debian's packages."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from tests.database_server import DatabaseServer, running

_INSTALL = "install PostgreSQL: apt-get install postgresql"


class PostgreSQL(DatabaseServer):
    """As it comes, but for how hard it writes to disk."""

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
        certificate, key = self.certificate_files
        return (
            str(_programs() / "postgres"),
            "-D", f"{self.directory}/data",
            "-k", str(self.directory),
            "-h", "127.0.0.1",
            "-p", str(self.port),
            "-F",
            "-c", "ssl=on",
            "-c", f"ssl_cert_file={certificate}",
            "-c", f"ssl_key_file={key}",
        )  # fmt: skip

    @property
    def stop_signal(self) -> signal.Signals:
        return signal.SIGINT

    @property
    def crash_signal(self) -> signal.Signals:
        # "Immediate shutdown": after SIGKILL it would not start before its children are gone.
        return signal.SIGQUIT

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


@pytest.fixture(scope="session")
def postgres() -> Iterator[DatabaseServer]:
    """One server for the run; tests make databases of their own in it."""
    if not (_programs() / "initdb").exists():
        pytest.skip(_INSTALL)
    with running(PostgreSQL) as server:
        yield server


def _programs() -> Path:
    """Where Debian puts them, the newest version; else where PATH leads."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)
    return found[-1] if found else Path(shutil.which("initdb") or "/nonexistent").parent
