"""The seam to where the company's accounts live: our own table, its table, its own service.

Each mini-program names one source. A source says who it is, never who they are
in WeChat; `local_source.py`, `sql_source.py` and `http_source.py` are beside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from wxauth_server.deadline import Deadline

#: The source of the accounts in our own store.
LOCAL = "local"


@dataclass(frozen=True)
class SourceAccount:
    """One of the company's accounts as its source has it now."""

    #: The company's own user id, unique within its source; 1 to 128 bytes.
    id: str
    #: The name to log in with; None if it has none. At most 256 bytes.
    username: str | None = None
    #: The name to show; None if unknown. At most 256 bytes.
    display_name: str | None = None
    #: False: the company has locked the user out.
    enabled: bool = True


@dataclass(frozen=True)
class VerifiedAccount:
    """An account whose password was right a moment ago."""

    account: SourceAccount
    #: Which password that was, where the account is in our own store.
    password_version: int | None = None
    #: The password hashed anew, where the stored hash is not what we write now.
    new_hash: str | None = field(default=None, repr=False)


class AccountSource(Protocol):
    """Where accounts live. For one event loop; each wait is in the pool of its kind.

    Every method raises AccountSourceUnavailable when the source does not answer as
    it should, which is never taken for a yes or a no; StoreUnavailable where the
    source is our own store; Overloaded.
    """

    #: The name that mini-programs and accounts carry; at most 32 bytes.
    name: str

    @property
    def places(self) -> int | None:
        """Passwords that may be looked at at a time.

        None: as many as our own pool for that has room for, all such sources together.
        """
        ...

    @property
    def full(self) -> bool:
        """Whether `verify` would be Overloaded now: then no code needs to be spent."""
        ...

    async def verify(
        self, username: str, password: str, deadline: Deadline, *, allowed: bool = True
    ) -> VerifiedAccount:
        """The enabled account with this username and password.

        With `allowed` False, and for an unknown user, a wrong password, a disabled
        account and one without a password it is CredentialsInvalid, as slow as a
        wrong password where the source can see to that.
        """
        ...

    async def verify_owner(
        self,
        account_id: str,
        username: str | None,
        password: str,
        deadline: Deadline,
        *,
        allowed: bool = True,
    ) -> VerifiedAccount:
        """The same for an account that is known. `username` is the last one we heard of."""
        ...

    async def get(self, account_id: str, deadline: Deadline) -> SourceAccount | None:
        """The account with this id, disabled ones too; None if there is none."""
        ...

    async def tell_deleted(self, account_id: str, deadline: Deadline) -> None:
        """Say that the user has left, if the source wants to know. Safe to repeat."""
        ...

    async def close(self) -> None:
        """Let go of connections. Not called while a method runs."""
        ...
