"""A MariaDB server of a test run's own, from Debian's packages. It speaks MySQL's protocol."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing

import pymysql
import pytest

from tests.database_server import DatabaseServer, running

_INSTALL = "install MariaDB: apt-get install mariadb-server-core mariadb-client-core"


class MariaDB(DatabaseServer):
    """As Debian configures it, but for its size and for how hard it writes to disk."""

    def create(self) -> None:
        self.run(
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={self.directory}/data",
            "--auth-root-authentication-method=normal",
            "--skip-name-resolve",
            "--skip-test-db",
        )

    def command(self) -> Sequence[str]:
        certificate, key = self.certificate_files
        return (
            _program() or "",
            "--no-defaults",
            f"--datadir={self.directory}/data",
            f"--socket={self.directory}/socket",
            f"--pid-file={self.directory}/pid",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_general_ci",
            "--innodb-buffer-pool-size=16M",
            "--innodb-flush-log-at-trx-commit=2",  # survives a crash of the process
            "--innodb-flush-method=nosync",
            f"--ssl-ca={self.ca_file}",
            f"--ssl-cert={certificate}",
            f"--ssl-key={key}",
        )

    @property
    def stop_signal(self) -> signal.Signals:
        return signal.SIGTERM

    def administer(self, *statements: str, database: str = "") -> None:
        with closing(
            pymysql.connect(
                unix_socket=f"{self.directory}/socket",
                user="root",
                ssl_disabled=True,
                database=database or None,
                charset="utf8mb4",
                autocommit=True,
            )
        ) as connection:
            for statement in statements:
                connection.cursor().execute(statement)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[DatabaseServer]:
    """One server for the run; tests make databases of their own in it."""
    others = ("mariadb-install-db", "my_print_defaults")
    if not (_program() and all(map(shutil.which, others))):
        pytest.skip(_INSTALL)
    with running(MariaDB) as server:
        yield server


def _program() -> str | None:
    return shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
