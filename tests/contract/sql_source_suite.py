"""What an `sql` account source must do on every database. A test class of one inherits it.

It gives the fixture `company`; the tests are by subject in sql_source_*.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.company_database import Company
from tests.contract.open_sql_source import OpenedSource, OpenSource, sources
from tests.contract.sql_source_answers import AnswerPromises
from tests.contract.sql_source_limits import LimitPromises
from tests.contract.sql_source_users import UserPromises
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.keyring import create_keyring, load_keyring


class SqlSourceSuite(UserPromises, AnswerPromises, LimitPromises):
    """The promises of an `sql` account source."""

    @pytest.fixture
    def company(self) -> Company:
        """Each database gives its own, with an empty table."""
        raise NotImplementedError

    @pytest.fixture
    def hasher(self, tmp_path: Path) -> PasswordHasher:
        create_keyring(tmp_path / "keyring.json")
        return PasswordHasher(load_keyring(tmp_path / "keyring.json"), cost=4)

    @pytest.fixture
    def open_source(self, company: Company, hasher: PasswordHasher) -> Iterator[OpenSource]:
        with sources(company, hasher) as open_source:
            yield open_source

    @pytest.fixture
    def source(self, open_source: OpenSource) -> OpenedSource:
        return open_source()
