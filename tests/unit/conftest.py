"""A store, and who manages the accounts in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.running_server import FakeClock
from tests.unit.managed_accounts import NOW_MS, WatchedHasher, WatchedStore
from wxauth_server.accounts.manage import AccountManager
from wxauth_server.accounts.throttle import NameDigests
from wxauth_server.keyring import KeyRing, create_keyring


def pytest_configure() -> None:
    # Each run has other examples: what they find together matters more than one run's.
    settings.register_profile("unit", max_examples=50)
    settings.load_profile("unit")


@pytest.fixture
def keyring(tmp_path: Path) -> KeyRing:
    return create_keyring(tmp_path / "keyring.json")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WatchedStore]:
    opened = WatchedStore(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def hasher(keyring: KeyRing, store: WatchedStore) -> WatchedHasher:
    return WatchedHasher(keyring, store)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_MS)


@pytest.fixture
def manager(
    store: WatchedStore, hasher: WatchedHasher, clock: FakeClock, keyring: KeyRing
) -> AccountManager:
    return AccountManager(
        store, hasher, clock, names=NameDigests(keyring), context_words=("MegaCorp",)
    )
