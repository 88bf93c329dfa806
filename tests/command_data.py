"""A data directory as commands find it."""

from __future__ import annotations

from pathlib import Path

from tests.canary import CANARY
from tests.running_server import TEST_COST
from wxauth_server.accounts.manage import AccountManager, NewPassword
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.accounts.throttle import NameDigests
from wxauth_server.clock import SystemClock
from wxauth_server.keyring import create_keyring
from wxauth_server.store.sqlite import SQLiteStore

#: Where to listen: on any free port of the loopback.
ANY_PORT = "127.0.0.1:0"
#: Variables for a command that hashes passwords.
CHEAP = {"WXAUTH_PASSWORDS__BCRYPT_COST": str(TEST_COST)}
PASSWORD = CANARY.keep("a password of the command tests")


def make_data(working_directory: Path) -> None:
    """A .wxauth with a key ring and the account zhangsan, id 1."""
    directory = working_directory / ".wxauth"
    keyring = create_keyring(directory / "keyring.json")
    store = SQLiteStore(directory)
    hasher = PasswordHasher(keyring, cost=TEST_COST)
    AccountManager(store, hasher, SystemClock(), names=NameDigests(keyring)).add(
        account_id="1", username="zhangsan", password=NewPassword(PASSWORD)
    )
    store.close()
