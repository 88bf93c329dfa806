"""The engine for several servers: the suite of every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.contract.store_suite import StoreSuite
from tests.pgserver import PostgresProcess
from wxauth_server.store.postgresql import PostgreSQLStore

OpenStore = Callable[[], PostgreSQLStore]

RESTART_LOG = "ALTER SEQUENCE revocations_position_seq RESTART"


@pytest.fixture(scope="module")
def database(store_postgres: PostgresProcess) -> str:
    """The URL of the one database of these tests: to make one for each takes longer."""
    return store_postgres.new_url()


@pytest.fixture(scope="module")
def two_stores(database: str) -> Iterator[list[PostgreSQLStore]]:
    """The same database as two processes have it open."""
    stores = [PostgreSQLStore(database) for _ in range(2)]
    yield stores
    for store in stores:
        store.close()


class TestPostgreSQLStore(StoreSuite):
    """PostgreSQL keeps every promise."""

    @pytest.fixture
    def open_store(
        self, store_postgres: PostgresProcess, database: str, two_stores: list[PostgreSQLStore]
    ) -> OpenStore:
        store_postgres.empty(database)
        two_stores[0].write(lambda tx: tx.execute(RESTART_LOG))
        return iter(two_stores).__next__
