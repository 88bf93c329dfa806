"""What an engine must keep to be a store. An engine is what passes this suite.

A test class of an engine inherits `StoreSuite` and gives the fixture
`open_store`; it may add tests of its own and leaves none of these out. The tests
are by subject in store_*.py. Nothing there knows an engine: the SQL is the one
that every engine runs.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.store_accounts import AccountPromises
from tests.contract.store_administration import AdministrationPromises
from tests.contract.store_app_ends import AppEndPromises
from tests.contract.store_audit import AuditPromises
from tests.contract.store_bindings import BindingPromises
from tests.contract.store_departures import DeparturePromises
from tests.contract.store_ending import EndingPromises
from tests.contract.store_exchanges import ExchangePromises
from tests.contract.store_keys import KeyPromises
from tests.contract.store_own_sessions import OwnSessionPromises
from tests.contract.store_purging import PurgePromises
from tests.contract.store_reading import ReadingPromises
from tests.contract.store_revocations import RevocationPromises
from tests.contract.store_session_keys import SessionKeyPromises
from tests.contract.store_throttles import ThrottlePromises
from tests.contract.store_transactions import TransactionPromises
from wxauth_server.store.interface import Store

#: Opens the test's database, which is empty at first, one more time.
OpenStore = Callable[[], Store]


class StoreSuite(
    TransactionPromises,
    AccountPromises,
    BindingPromises,
    ExchangePromises,
    SessionKeyPromises,
    ReadingPromises,
    EndingPromises,
    KeyPromises,
    AuditPromises,
    ThrottlePromises,
    OwnSessionPromises,
    DeparturePromises,
    PurgePromises,
    AdministrationPromises,
    RevocationPromises,
    AppEndPromises,
):
    """The promises of a store."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """An engine gives its own, which closes what it opened."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, open_store: OpenStore) -> Store:
        return open_store()

    @pytest.fixture
    def second(self, store: Store, open_store: OpenStore) -> Store:
        """The same database as another process has it open."""
        del store  # it is the first
        return open_store()
