"""What the development setting makes by itself: a key ring and a demo account."""

from __future__ import annotations

import contextlib

from wxauth_server.accounts.manage import LOCAL, AccountManager, AccountRefused, NewPassword
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.cli.options import database_exists
from wxauth_server.clock import SystemClock
from wxauth_server.config import Configuration
from wxauth_server.keyring import create_keyring
from wxauth_server.store.accounts import list_accounts

DEMO_ID = "10001"
DEMO_USERNAME = "zhangsan"
#: Known to everybody who reads this: for the sandbox only.
DEMO_PASSWORD = "pwd123456"  # noqa: S105
DEMO_DISPLAY_NAME = "张三"


def make_first_keyring(configuration: Configuration) -> bool:
    """Make the key ring if neither it nor a database is there; whether it was made.

    Beside a database another ring would be the wrong one: what is missing then
    is the one that was in use. Raises: KeyRingUnusable, CommandFailed.
    """
    if database_exists(configuration) or configuration.keyring_file.exists():
        return False
    create_keyring(configuration.keyring_file)
    return True


def make_demo_account(configuration: Configuration) -> bool:
    """Add the demo account to a store without accounts; whether it was added.

    So a password that was changed, or an account that was disabled, stays so.
    Raises: what `open_store` raises; StoreUnavailable.
    """
    from wxauth_server.wiring import open_store

    store, keyring = open_store(configuration)
    try:
        if store.read(lambda tx: list_accounts(tx, LOCAL, limit=1)):
            return False
        hasher = PasswordHasher(keyring, cost=configuration.passwords.bcrypt_cost)
        with contextlib.suppress(AccountRefused):  # another process has just added it
            AccountManager(store, hasher, SystemClock()).add(
                account_id=DEMO_ID,
                username=DEMO_USERNAME,
                display_name=DEMO_DISPLAY_NAME,
                password=NewPassword(DEMO_PASSWORD),
            )
    finally:
        store.close()
    return True
