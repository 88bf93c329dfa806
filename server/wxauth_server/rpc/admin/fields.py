"""Fields that several requests of AdminService have: accounts, secrets, pages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

from wxauth.v1.admin_service_pb2 import AccountKey
from wxauth_server.accounts.account_fields import MAX_ID_BYTES, AccountRefused
from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.accounts.usernames import MAX_USERNAME_BYTES, username_key
from wxauth_server.errors import NotFound, RequestInvalid
from wxauth_server.rpc.violations import Violations
from wxauth_server.store.accounts import find_account_by_username
from wxauth_server.store.interface import Transaction

#: The limits that the contract states, in bytes of UTF-8.
MAX_SOURCE_BYTES = 32
MAX_APP_ID_BYTES = 64
MAX_OPENID_BYTES = 64
MAX_HANDLE_BYTES = 22
MAX_HASH_BYTES = 512
MAX_TOKEN_BYTES = 512
#: Rows of a page.
MAX_PAGE_SIZE = 500
DEFAULT_PAGE_SIZE = 100

_OTHER_SOURCE = 'only accounts of our own store, "local", have that here'


class AdminViolations(Violations):
    """Gathers what is wrong with a request of AdminService."""

    def account(self, key: AccountKey, *, required: bool = True, local: bool = False) -> None:
        """Which account is meant; `local` asks for one of our own store."""
        self.text("account.source", key.source, MAX_SOURCE_BYTES)
        if local and source_of(key) != LOCAL:
            self.add("account.source", _OTHER_SOURCE)
        named = key.WhichOneof("account")
        if named == "username":
            self.text("account.username", key.username, MAX_USERNAME_BYTES, required=True)
            if source_of(key) != LOCAL:
                self.add("account.username", "accounts of another source are named by their id")
        elif named == "id":
            self.text("account.id", key.id, MAX_ID_BYTES, required=True)
        elif required or key.source:
            self.add("account", "required: id or username")

    def check(self, field: str, check: Callable[[], object]) -> None:
        """What a check of the domain says about a field."""
        try:
            check()
        except AccountRefused as refused:
            self.add(field, str(refused))

    def page(self, size: int, token: str) -> None:
        if not 0 <= size <= MAX_PAGE_SIZE:
            self.add("page_size", f"not 1 to {MAX_PAGE_SIZE}")
        self.text("page_token", token, MAX_TOKEN_BYTES)


def source_of(key: AccountKey) -> str:
    return key.source or LOCAL


def find_key(tx: Transaction, key: AccountKey) -> tuple[str, str]:
    """(source, id) of an account that is there if it is named by its username.

    Raises: NotFound for a username that no account has.
    """
    if key.WhichOneof("account") == "id":
        return (source_of(key), key.id)
    mapped = username_key(key.username)
    found = find_account_by_username(tx, LOCAL, mapped) if mapped is not None else None
    if found is None:
        raise NotFound("account")
    return found.key


def find_filter(tx: Transaction, key: AccountKey) -> tuple[str, str] | None:
    """The account that a list is about; None if it is about all.

    Raises: RequestInvalid for a username that no account has: an empty list would
    look as if there was nothing.
    """
    if key.WhichOneof("account") is None:
        return None
    try:
        return find_key(tx, key)
    except NotFound:
        raise RequestInvalid(("account.username", "no account has this username")) from None


def page_token(*position: str | int) -> str:
    """Where the next page begins, as a caller hands it back."""
    text = json.dumps(position, ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode()


def read_page_token(token: str, *first: Any) -> tuple[Any, ...]:
    """The position of a token, of the types of `first`, which is that of the first page.

    Raises: RequestInvalid.
    """
    if not token:
        return first
    try:
        position = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        position = None
    if not isinstance(position, list) or [*map(type, position)] != [*map(type, first)]:
        raise RequestInvalid(("page_token", "not the next_page_token of a page of this list"))
    return tuple(position)
