"""Database servers, one of each for the run."""

from __future__ import annotations

from pathlib import Path

import pytest

# The modules of the suite, before the first test imports one of them.
pytest.register_assert_rewrite(
    *(f"tests.contract.{path.stem}" for path in Path(__file__).parent.glob("store_*.py"))
)

from tests.mariadb_server import mariadb as mariadb  # noqa: E402
from tests.pgserver import own_postgres as own_postgres  # noqa: E402
from tests.pgserver import postgres_url as postgres_url  # noqa: E402
from tests.pgserver import store_postgres as store_postgres  # noqa: E402
from tests.postgres_server import postgres as postgres  # noqa: E402
