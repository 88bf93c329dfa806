"""Database servers, one of each for the run."""

from __future__ import annotations

from tests.mariadb_server import mariadb as mariadb
from tests.postgres_server import postgres as postgres
