"""Why a password cannot be set, or a hash of another system not be taken over."""

from __future__ import annotations


class PasswordRefused(ValueError):
    """A password that cannot be set, or a hash that cannot be taken over. Says why."""


class NoUsablePassword(PasswordRefused):
    """The other system says that this user has no password.

    The account can be taken over without one.
    """
