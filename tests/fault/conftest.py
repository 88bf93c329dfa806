"""Fixtures of the fault tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.database_server import running
from tests.pgserver import OWNER, PostgresProcess, create_roles


@pytest.fixture(scope="session")
def fault_postgres() -> Iterator[PostgresProcess]:
    """A PostgreSQL that tests freeze and kill, and start again; each has a database of its own."""
    with running(PostgresProcess) as process:
        assert isinstance(process, PostgresProcess)
        create_roles(process)
        # What an operator may have set; the store does not go along with it.
        process.administer(f"ALTER ROLE {OWNER} SET synchronous_commit = off")
        yield process


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Where a store is: "" for SQLite in a directory, or the URL of a new database."""
    if request.param == "sqlite":
        return ""
    server: PostgresProcess = request.getfixturevalue("fault_postgres")
    return server.new_url()
