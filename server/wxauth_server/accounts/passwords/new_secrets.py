"""What an operator gives an account to log in with: a password, or another system's hash."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from wxauth_server.accounts.passwords import check_new_password, take_over


class Hashes(Protocol):
    """Hashes passwords, such as a `PasswordHasher`."""

    def hash(self, password: str) -> str:
        """The stored form. Blocking: one bcrypt."""
        ...


@dataclass(frozen=True)
class NewPassword:
    """A password to set, as it is typed. See `ForeignHash` for the alternative."""

    text: str = field(repr=False)

    def stored(self, hasher: Hashes, context: Iterable[str]) -> str:
        """Its stored form; `context` is what it must not be. Blocking: one bcrypt.

        Raises: PasswordRefused when it cannot be set.
        """
        check_new_password(self.text, context)
        return hasher.hash(self.text)


@dataclass(frozen=True)
class ForeignHash:
    """The hash that another system kept of a password."""

    text: str = field(repr=False)

    def stored(self, hasher: Hashes, context: Iterable[str]) -> str:
        """Its stored form. Raises: PasswordRefused when it cannot be taken over."""
        del hasher, context
        return take_over(self.text)
