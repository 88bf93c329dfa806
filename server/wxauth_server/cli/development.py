"""What the development setting makes by itself: a key ring and a demo account."""

from __future__ import annotations

import contextlib
import logging

from wxauth_server.accounts.account_fields import AccountRefused
from wxauth_server.accounts.manage import AccountManager, NewPassword
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.accounts.throttle import NameDigests
from wxauth_server.cli.options import database_exists
from wxauth_server.clock import SystemClock
from wxauth_server.config import Configuration
from wxauth_server.keyring import (
    Key,
    KeyRing,
    Purpose,
    State,
    changing_keyring,
    create_keyring,
    load_keyring,
)
from wxauth_server.store.accounts import list_accounts
from wxauth_server.store.opening import open_store

log = logging.getLogger("wxauth.command")

DEMO_ID = "10001"
DEMO_USERNAME = "zhangsan"
#: Known to everybody who reads this: for the sandbox only.
DEMO_PASSWORD = "pwd123456"  # noqa: S105
DEMO_DISPLAY_NAME = "张三"


def make_first_keyring(configuration: Configuration) -> bool:
    """Make the key ring if neither it nor a database is there; whether it was made.

    Beside a database another ring would be the wrong one: what is missing then
    is the one that was in use. A ring of an earlier version gets the purposes
    that it lacks. Raises: KeyRingUnusable, CommandFailed.
    """
    if configuration.keyring_file.exists():
        _add_missing_purposes(configuration)
        return False
    if database_exists(configuration):
        return False
    create_keyring(configuration.keyring_file)
    return True


def _add_missing_purposes(configuration: Configuration) -> None:
    def missing(ring: KeyRing) -> list[Purpose]:
        return sorted(set(Purpose) - {key.purpose for key in ring})

    if not missing(load_keyring(configuration.keyring_file)):
        return
    with changing_keyring(configuration.keyring_file) as file:
        for purpose in missing(file.ring):
            key = Key.create(purpose, State.ACTIVE)
            file.replace(file.ring.with_key(key))
            log.warning("a key was added to the key ring", extra={"key_id": key.id})


def make_demo_account(configuration: Configuration) -> bool:
    """Add the demo account to a store without accounts; whether it was added.

    So a password that was changed, or an account that was disabled, stays so.
    Raises: what `open_store` raises; StoreUnavailable.
    """
    store, keyring = open_store(configuration)
    try:
        if store.read(lambda tx: list_accounts(tx, LOCAL, limit=1)):
            return False
        hasher = PasswordHasher(keyring, cost=configuration.passwords.bcrypt_cost)
        with contextlib.suppress(AccountRefused):  # another process has just added it
            AccountManager(store, hasher, SystemClock(), names=NameDigests(keyring)).add(
                account_id=DEMO_ID,
                username=DEMO_USERNAME,
                display_name=DEMO_DISPLAY_NAME,
                password=NewPassword(DEMO_PASSWORD),
            )
    finally:
        store.close()
    return True
